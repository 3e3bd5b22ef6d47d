//! What a lane's numbers mean, in a word and a sentence: whether it fills, and why. Pure.

use serde::Serialize;

use crate::alerts::advice;
use crate::watch::fleet::Lane;

/// Share of arrivals by which what is served may differ and still count as keeping up.
const EVEN: f64 = 0.05;

/// Share of slots from which on workers count as fully busy.
const FULLY_BUSY: f64 = 0.9;

/// Seconds within which a lane that will be full needs a person.
const FULL_SOON_S: f64 = 24.0 * 3_600.0;

/// Seconds in which what waits is to be gone with the workers that are proposed.
const CLEARED_WITHIN_S: f64 = 900.0;

/// What a lane's numbers mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reading {
    /// Its state, one word.
    pub(super) word: &'static str,
    /// How much it needs a person.
    pub(super) tone: Tone,
    /// Why, for people.
    pub(super) sentence: String,
}

/// How much something needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    /// Not at all.
    Calm,
    /// A look now and then.
    Watch,
    /// Soon.
    Bad,
}

/// Reads a lane.
pub(super) fn of(lane: &Lane) -> Reading {
    if lane.is_paused {
        return paused(lane);
    }
    if lane.waiting == 0 {
        return keeping_up(lane);
    }
    if lane.workers == 0 {
        let sentence = format!("{} and no worker takes any: start one.", wait(lane.waiting));
        return Reading { word: "unserved", tone: Tone::Bad, sentence };
    }
    let (Some(arrivals), Some(served)) = (lane.arrivals_per_s, lane.served_per_s) else {
        let sentence = format!("{}; its rates are being measured.", wait(lane.waiting));
        return Reading { word: "measuring", tone: Tone::Calm, sentence };
    };
    let rates = Rates { arrivals, served };
    if lane.fullest >= lane.capacity {
        let sentence = format!("{} Full: classifiers wait for room. {}", rates.told(), remedy(lane, rates));
        return Reading { word: "full", tone: Tone::Bad, sentence: sentence.trim_end().to_owned() };
    }
    if rates.grows() { filling(lane, rates) } else { shrinking(lane, rates) }
}

#[derive(Debug, Clone, Copy)]
struct Rates {
    arrivals: f64,
    served: f64,
}

impl Rates {
    fn told(self) -> String {
        format!("{}/s arrive, {}/s are served.", rate(self.arrivals), rate(self.served))
    }

    fn grows(self) -> bool {
        self.arrivals > self.served * (1.0 + EVEN)
    }

    fn is_even(self) -> bool {
        !self.grows() && self.served < self.arrivals * (1.0 + EVEN)
    }
}

fn paused(lane: &Lane) -> Reading {
    let arriving = match lane.arrivals_per_s {
        Some(arrivals) if arrivals > 0.0 => format!(", {}/s arrive", rate(arrivals)),
        _ => String::new(),
    };
    let sentence =
        format!("{}{arriving}. Workers finish what they have and take no more.", wait(lane.waiting));
    let tone = if lane.waiting > 0 { Tone::Watch } else { Tone::Calm };
    Reading { word: "paused", tone, sentence }
}

fn keeping_up(lane: &Lane) -> Reading {
    let running = lane.in_flight;
    if running == 0 {
        let sentence = match lane.workers {
            0 => "Nothing waits; no worker is there to take anything.".to_owned(),
            _ => format!("Nothing waits; {} free.", counted(lane.slots, "slot is", "slots are")),
        };
        let tone = if lane.workers == 0 { Tone::Watch } else { Tone::Calm };
        return Reading { word: "idle", tone, sentence };
    }
    let sentence = format!("{} in hand, nothing waits.", counted(running, "task is", "tasks are"));
    Reading { word: "flowing", tone: Tone::Calm, sentence }
}

fn filling(lane: &Lane, rates: Rates) -> Reading {
    let full = lane.full_s.map(|seconds| format!(" Full in {}.", length(seconds))).unwrap_or_default();
    let sentence = format!("{}{full} {}", rates.told(), remedy(lane, rates));
    // What will be full in days is a burst, or somebody's plan.
    let tone = if lane.full_s.is_some_and(|seconds| seconds > FULL_SOON_S) { Tone::Watch } else { Tone::Bad };
    Reading { word: "filling", tone, sentence: sentence.trim_end().to_owned() }
}

fn shrinking(lane: &Lane, rates: Rates) -> Reading {
    if rates.is_even() {
        let sentence = format!("{} It neither grows nor empties. {}", rates.told(), remedy(lane, rates));
        return Reading { word: "holding", tone: Tone::Watch, sentence: sentence.trim_end().to_owned() };
    }
    let empty = lane.drain_s.map(|seconds| format!(" Empty in {}.", length(seconds))).unwrap_or_default();
    Reading { word: "draining", tone: Tone::Calm, sentence: format!("{}{empty}", rates.told()) }
}

/// What would help. Only where the workers are busy do more of them help.
fn remedy(lane: &Lane, rates: Rates) -> String {
    let between_attempts = lane.in_flight.saturating_sub(lane.busy.into());
    if f64::from(lane.busy) < FULLY_BUSY * f64::from(lane.slots) {
        let free = counted(lane.slots.saturating_sub(lane.busy), "slot is", "slots are");
        return match between_attempts {
            0 => format!("{free} free: look at its workers."),
            waiting => format!(
                "{free} free, and {} for another attempt.",
                counted(waiting, "task waits", "tasks wait")
            ),
        };
    }
    if rates.served <= 0.0 {
        return "Nothing has been finished lately: look at its workers.".to_owned();
    }
    let Some(wanted) = advice::wanted(lane, CLEARED_WITHIN_S) else { return String::new() };
    match wanted.workers.saturating_sub(lane.workers) {
        0 => "Its workers suffice.".to_owned(),
        more if wanted.is_capped => format!("{more} more workers would be a beginning."),
        1 => "1 more worker would do.".to_owned(),
        more => format!("{more} more workers would do."),
    }
}

fn wait(count: u64) -> String {
    match count {
        0 => "Nothing waits".to_owned(),
        1 => "1 task waits".to_owned(),
        _ => format!("{count} tasks wait"),
    }
}

fn counted(count: impl Into<u64>, one: &str, many: &str) -> String {
    let count = count.into();
    format!("{count} {}", if count == 1 { one } else { many })
}

fn rate(per_s: f64) -> String {
    let text = if per_s < 10.0 { format!("{per_s:.1}") } else { format!("{per_s:.0}") };
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A length in its largest unit: nobody plans by seconds what takes hours.
pub(super) fn length(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5_400.0 => format!("{:.0} min", s / 60.0),
        s if s < 129_600.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use trilane_protocol::{LaneName, Zone};

    use super::*;

    fn lane() -> Lane {
        Lane {
            name: LaneName::new("local-fast").unwrap(),
            zone: Zone::Local,
            waiting: 340,
            in_flight: 8,
            fullest: 348,
            capacity: 50_000,
            is_paused: false,
            oldest_s: Some(40.0),
            arrivals_per_s: Some(12.0),
            served_per_s: Some(4.0),
            workers: 2,
            slots: 8,
            busy: 8,
            wait_s: Some(85.0),
            drain_s: None,
            full_s: Some(6_200.0),
        }
    }

    fn read(change: impl FnOnce(&mut Lane)) -> (&'static str, Tone, String) {
        let mut lane = lane();
        change(&mut lane);
        let Reading { word, tone, sentence } = of(&lane);
        (word, tone, sentence)
    }

    #[test]
    fn a_lane_that_fills_says_why_and_what_would_do() {
        let (word, tone, sentence) = read(|_| {});
        assert_eq!((word, tone), ("filling", Tone::Bad));
        assert_eq!(sentence, "12/s arrive, 4/s are served. Full in 2 h. 6 more workers would do.");
        let (_, _, one) = read(|lane| lane.arrivals_per_s = Some(4.25));
        assert!(one.ends_with("1 more worker would do."), "{one}");
        let (_, _, hopeless) = read(|lane| lane.arrivals_per_s = Some(4_000.0));
        assert!(hopeless.ends_with("30 more workers would be a beginning."), "{hopeless}");
        let (_, _, stuck) = read(|lane| lane.served_per_s = Some(0.0));
        assert!(stuck.contains("0/s are served") && stuck.contains("look at its workers"), "{stuck}");
        let (_, _, free) = read(|lane| lane.busy = 1);
        assert!(free.ends_with("7 slots are free, and 7 tasks wait for another attempt."), "{free}");
    }

    #[test]
    fn each_state_has_its_word() {
        assert_eq!(read(|lane| lane.is_paused = true).0, "paused");
        assert_eq!(read(|lane| lane.workers = 0).0, "unserved");
        assert_eq!(read(|lane| lane.arrivals_per_s = None).0, "measuring");
        assert_eq!(read(|lane| lane.fullest = lane.capacity).0, "full");
        assert_eq!(read(|lane| lane.arrivals_per_s = Some(4.1)).0, "holding");
        let (word, _, sentence) = read(|lane| {
            lane.arrivals_per_s = Some(1.0);
            lane.drain_s = Some(113.0);
        });
        assert_eq!((word, sentence.as_str()), ("draining", "1/s arrive, 4/s are served. Empty in 2 min."));
        assert_eq!(read(|lane| lane.waiting = 0).0, "flowing");
        let empty = |lane: &mut Lane| (lane.waiting, lane.in_flight, lane.busy) = (0, 0, 0);
        assert_eq!(read(empty).2, "Nothing waits; 8 slots are free.");
    }

    #[test]
    fn lengths_keep_to_their_largest_unit() {
        assert_eq!(
            [3.4, 89.0, 90.0, 6_200.0, 200_000.0].map(length),
            ["3 s", "89 s", "2 min", "2 h", "2 days"]
        );
    }
}
