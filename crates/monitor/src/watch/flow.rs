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
    put: u64,
    held: u64,
}

impl Flow {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, samples: VecDeque::new() }
    }

    /// Notes that `put` tasks were ever put into the queue, and that it holds `held`, waiting or in flight.
    pub(crate) fn note(&mut self, at: Instant, put: u64, held: u64) {
        self.samples.push_back(Sample { at, put, held });
        // One sample from before the window stays: rates are measured from there.
        while self.samples.len() > MAX_SAMPLES
            || self.samples.get(1).is_some_and(|second| at.duration_since(second.at) >= self.window)
        {
            self.samples.pop_front();
        }
    }

    /// The rates; `None` until two looks were taken. What is neither in the queue nor was put there has been served.
    pub(crate) fn rates(&self) -> Option<Rates> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let put = last.put.saturating_sub(first.put) as f64;
        // The two counts are not of the same moment, so a task between them may make this a little too small.
        let served = (put + first.held as f64 - last.held as f64).max(0.0);
        Some(Rates { arrivals: put / seconds, served: served / seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(looks: &[(u64, u64, u64)]) -> Flow {
        let start = Instant::now();
        let mut flow = Flow::new(Duration::from_secs(60));
        for (second, put, held) in looks {
            flow.note(start + Duration::from_secs(*second), *put, *held);
        }
        flow
    }

    #[test]
    fn one_look_has_no_rate() {
        assert_eq!(flow(&[]).rates(), None);
        assert_eq!(flow(&[(0, 100, 100)]).rates(), None);
    }

    #[test]
    fn what_came_and_is_not_there_was_served() {
        let rates = flow(&[(0, 100, 10), (10, 150, 30)]).rates().unwrap();
        assert_eq!(rates, Rates { arrivals: 5.0, served: 3.0 });
    }

    #[test]
    fn only_the_window_counts() {
        let rates = flow(&[(0, 0, 0), (50, 1_000, 0), (110, 1_000, 0)]).rates().unwrap();
        assert_eq!(rates, Rates::default(), "the thousand are longer ago than a minute");
    }

    #[test]
    fn a_task_between_two_counts_is_no_negative_rate() {
        assert_eq!(flow(&[(0, 0, 0), (10, 0, 1)]).rates().unwrap().served, 0.0);
    }

    #[test]
    fn samples_are_bounded() {
        let start = Instant::now();
        let mut flow = Flow::new(Duration::from_secs(1_000_000));
        (0..10_000).for_each(|second| flow.note(start + Duration::from_secs(second), second, 0));
        assert_eq!(flow.samples.len(), MAX_SAMPLES);
        assert_eq!(flow.rates().unwrap().arrivals, 1.0);
    }
}
