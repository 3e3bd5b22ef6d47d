//! What to do about a lane that is too slow: how many workers would do, by Little's law. Pure.

use trilane_protocol::Zone;

use crate::watch::fleet::Lane;

/// Share of the slots that should be busy: beyond it queues grow out of mere chance.
const TARGET_UTILISATION: f64 = 0.8;

/// More workers than this are not advised at once: what was measured says nothing about a fleet so different.
const MOST_GROWTH: f64 = 16.0;

/// How many workers would serve what arrives and what waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wanted {
    /// Workers that should serve the lane.
    pub(crate) workers: u32,
    /// Whether more would be wanted than can be told from what was measured.
    pub(crate) is_capped: bool,
    /// Seconds that one task takes, as measured.
    pub(crate) run_s: f64,
    /// Tasks that one worker runs at once.
    pub(crate) slots: f64,
}

/// The workers that serve what arrives, and what waits within `within_s` seconds. By Little's law a task takes as many
/// seconds as slots are busy for each task that is served a second. `None` where that cannot be measured: nobody works.
pub(crate) fn wanted(lane: &Lane, within_s: f64) -> Option<Wanted> {
    let (arrivals, served) = (lane.arrivals_per_s?, lane.served_per_s?);
    if served <= 0.0 || lane.busy == 0 || lane.workers == 0 || lane.slots == 0 {
        return None;
    }
    let run_s = f64::from(lane.busy) / served;
    let slots = f64::from(lane.slots) / f64::from(lane.workers);
    let demand = arrivals + lane.waiting as f64 / within_s.max(1.0);
    let needed = (demand * run_s / (slots * TARGET_UTILISATION)).ceil();
    let most = f64::from(lane.workers) * MOST_GROWTH;
    Some(Wanted { workers: needed.min(most) as u32, is_capped: needed > most, run_s, slots })
}

/// Says how many workers a lane needs, and how to get them.
pub(crate) fn more_workers(lane: &Lane, within_s: f64) -> String {
    let Some(Wanted { workers, is_capped, run_s, slots }) = wanted(lane, within_s) else {
        return match lane.workers {
            0 => start_one(lane),
            _ => format!(
                "too little was finished lately to say how many workers `{}` needs; look at the logs of those it has",
                lane.name
            ),
        };
    };
    let measured = format!(
        "{} arrive, one takes {}, a worker runs {slots:.0} at once",
        rate(lane.arrivals_per_s),
        length(run_s)
    );
    if workers <= lane.workers {
        return format!(
            "its {} workers suffice for what arrives ({measured}): wait, or lower what is published",
            lane.workers
        );
    }
    let least = if is_capped { "at least " } else { "" };
    format!(
        "scale `{}` from {} to {least}{workers} workers ({measured}): {}",
        lane.name,
        lane.workers,
        how(lane, workers)
    )
}

/// Says how a first worker is started.
pub(crate) fn start_one(lane: &Lane) -> String {
    format!("start a worker: {}", how(lane, 1))
}

fn how(lane: &Lane, workers: u32) -> String {
    let name = &lane.name;
    let compose = format!("`docker compose up --detach --scale {name}={workers}`");
    match lane.zone {
        Zone::Local => format!("{compose}, or start `trilane-local-worker --lane {name}` on other hosts"),
        Zone::Cloud => format!(
            "`docker compose --profile cloud up --detach --scale {name}={workers}`; where the provider's limits are \
             what holds it up (providers.<name>.requests_per_minute), more keys help and more workers do not"
        ),
    }
}

/// A rate for people.
pub(crate) fn rate(per_s: Option<f64>) -> String {
    match per_s {
        None => "an unknown number".to_owned(),
        Some(per_s) if per_s >= 1.0 => format!("{per_s:.1} a second"),
        Some(per_s) => format!("{:.1} a minute", per_s * 60.0),
    }
}

/// A length of time for people.
pub(crate) fn length(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(arrivals: f64, waiting: u64) -> Lane {
        Lane { waiting, arrivals_per_s: Some(arrivals), ..crate::sample::lane("local-fast") }
    }

    #[test]
    fn the_number_of_workers_follows_from_little_s_law() {
        // 32 tasks a second of one second each need 32 slots, 40 at 80 %, 10 workers of four.
        assert_eq!(wanted(&lane(32.0, 0), 60.0).unwrap().workers, 10);
        // 600 that wait and are to be gone in a minute are ten more a second.
        assert_eq!(wanted(&lane(32.0, 600), 60.0).unwrap().workers, 14);
        let text = more_workers(&lane(32.0, 0), 60.0);
        assert!(text.contains("from 2 to 10 workers") && text.contains("--scale local-fast=10"), "{text}");
        assert!(text.contains("32.0 a second arrive, one takes 1.0 s, a worker runs 4 at once"), "{text}");
    }

    #[test]
    fn what_suffices_is_said_and_what_cannot_be_measured_is_not_made_up() {
        assert!(more_workers(&lane(2.0, 10), 60.0).contains("suffice"));
        let idle = Lane { busy: 0, served_per_s: Some(0.0), ..lane(2.0, 10) };
        assert_eq!(wanted(&idle, 60.0), None);
        assert!(more_workers(&idle, 60.0).contains("look at the logs"));
        assert!(more_workers(&Lane { workers: 0, ..idle }, 60.0).contains("start a worker"));
        let far = wanted(&lane(1e9, 0), 60.0).unwrap();
        assert_eq!((far.workers, far.is_capped), (32, true), "no advice beyond what was measured");
        assert!(more_workers(&lane(1e9, 0), 60.0).contains("to at least 32 workers"));
    }
}
