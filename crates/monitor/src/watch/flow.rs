//! How fast a queue fills and empties, measured over a window. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Looks that are kept, whatever the window: at one a second that is an hour.
const MAX_SAMPLES: usize = 3_600;

/// Tasks a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates {
    /// Put into the queue.
    pub(crate) arrivals: f64,
    /// Out of it for good.
    pub(crate) served: f64,
}

/// The last looks at one queue.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    window: Duration,
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    counts: Counts,
}

/// What is known of a queue at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Decisions ever made for it. Too many where a lane is full: a task that finds no room is decided again.
    pub(crate) put: u64,
    /// Tasks in it, waiting or in flight.
    pub(crate) held: u64,
    /// Attempts that its workers ever ended. Too many where tasks are tried again.
    pub(crate) ended: u64,
}

impl Flow {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, samples: VecDeque::new() }
    }

    /// Notes what is known of the queue at `at`.
    pub(crate) fn note(&mut self, at: Instant, counts: Counts) {
        self.samples.push_back(Sample { at, counts });
        // One sample from before the window stays: rates are measured from there.
        while self.samples.len() > MAX_SAMPLES
            || self.samples.get(1).is_some_and(|second| at.duration_since(second.at) >= self.window)
        {
            self.samples.pop_front();
        }
    }

    /// The rates; `None` until two looks were taken. No more was served than what came and is not there any more, and no
    /// more than workers have ended: each bound is too high where the other is not.
    pub(crate) fn rates(&self) -> Option<Rates> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let (first, last) = (first.counts, last.counts);
        let put = last.put.saturating_sub(first.put) as f64;
        let ended = last.ended.saturating_sub(first.ended) as f64;
        let grown = last.held as f64 - first.held as f64;
        // The counts are not of the same moment, so a task between them may make this a little too small.
        let served = (put - grown).min(ended).max(0.0);
        Some(Rates { arrivals: (served + grown).max(0.0) / seconds, served: served / seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks as second, put, held, ended.
    fn flow(looks: &[(u64, u64, u64, u64)]) -> Flow {
        let start = Instant::now();
        let mut flow = Flow::new(Duration::from_secs(60));
        for (second, put, held, ended) in looks.iter().copied() {
            flow.note(start + Duration::from_secs(second), Counts { put, held, ended });
        }
        flow
    }

    #[test]
    fn one_look_has_no_rate() {
        assert_eq!(flow(&[]).rates(), None);
        assert_eq!(flow(&[(0, 100, 100, 0)]).rates(), None);
    }

    #[test]
    fn what_came_and_is_not_there_was_served() {
        let rates = flow(&[(0, 100, 10, 0), (10, 150, 30, 30)]).rates().unwrap();
        assert_eq!(rates, Rates { arrivals: 5.0, served: 3.0 });
    }

    #[test]
    fn a_full_lane_whose_tasks_are_decided_again_and_again_serves_what_its_workers_end() {
        let rates = flow(&[(0, 1_000, 600, 100), (10, 1_200, 600, 107)]).rates().unwrap();
        assert_eq!(rates, Rates { arrivals: 0.7, served: 0.7 });
    }

    #[test]
    fn attempts_that_are_made_again_serve_nobody() {
        let rates = flow(&[(0, 100, 50, 0), (10, 110, 60, 80)]).rates().unwrap();
        assert_eq!(rates, Rates { arrivals: 1.0, served: 0.0 });
    }

    #[test]
    fn only_the_window_counts() {
        let rates = flow(&[(0, 0, 0, 0), (50, 1_000, 0, 1_000), (110, 1_000, 0, 1_000)]).rates().unwrap();
        assert_eq!(rates, Rates::default(), "the thousand are longer ago than a minute");
    }

    #[test]
    fn a_task_between_two_counts_is_no_negative_rate() {
        assert_eq!(flow(&[(0, 0, 0, 0), (10, 0, 1, 0)]).rates().unwrap().served, 0.0);
    }

    #[test]
    fn samples_are_bounded() {
        let start = Instant::now();
        let mut flow = Flow::new(Duration::from_secs(1_000_000));
        for second in 0..10_000 {
            flow.note(start + Duration::from_secs(second), Counts { put: second, held: 0, ended: second });
        }
        assert_eq!(flow.samples.len(), MAX_SAMPLES);
        assert_eq!(flow.rates().unwrap().arrivals, 1.0);
    }
}
