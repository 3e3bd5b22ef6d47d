//! What others have raised: a broken seal, a message that got stuck. It has happened once; it counts as going on until
//! it has not happened again for a while, so that a hundred of them are one alert.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trilane_protocol::alert::{Alert, AlertState};

use super::kind::Kind;
use super::reading::Reading;

/// How long something counts as going on after it last happened.
const HOLD: Duration = Duration::from_secs(600);

/// Kinds and places that are told apart. Whoever may raise alerts may make kinds up.
const MAX_RAISED: usize = 128;

/// Characters of another's message that are passed on.
const MAX_MESSAGE_CHARACTERS: usize = 500;

/// What others have raised lately.
#[derive(Debug, Default)]
pub(crate) struct Raised(BTreeMap<(String, String), Occurrence>);

#[derive(Debug)]
struct Occurrence {
    last: Alert,
    at: Instant,
    times: u64,
}

impl Raised {
    /// Takes an alert as it was heard at `at`. What monitors say of their own kinds is none of it.
    pub(crate) fn take(&mut self, mut alert: Alert, at: Instant) {
        if alert.state != AlertState::Raised || Kind::is_own(&alert.kind) {
            return;
        }
        let key = (alert.kind.clone(), alert.lane.clone());
        if self.0.len() >= MAX_RAISED && !self.0.contains_key(&key) {
            return;
        }
        alert.message = alert.message.chars().take(MAX_MESSAGE_CHARACTERS).collect();
        let times = self.0.get(&key).map_or(0, |earlier| earlier.times);
        self.0.insert(key, Occurrence { last: alert, at, times: times + 1 });
    }

    /// What goes on at `at`.
    pub(crate) fn readings(&mut self, at: Instant) -> Vec<Reading> {
        self.0.retain(|_, occurrence| at.duration_since(occurrence.at) < HOLD);
        self.0.values().map(reading).collect()
    }
}

fn reading(Occurrence { last, times, .. }: &Occurrence) -> Reading {
    let message = match times {
        1 => last.message.clone(),
        times => format!("{} ({times} times)", last.message),
    };
    let (meaning, action) = match last.kind.starts_with("seal_") {
        true => (
            "Somebody other than a classifier has put a message on a lane, or has altered one. It was not run.",
            "find out who holds keys of this fleet (`trilane keys`), make new ones where one may be stolen, and look at \
             the message: `trilane dead list`",
        ),
        false => ("It has happened, and may happen again.", "look at `trilane dead list` and the logs"),
    };
    Reading {
        kind: last.kind.clone(),
        place: last.lane.clone(),
        is_wrong: true,
        is_sudden: true,
        message,
        meaning: meaning.to_owned(),
        action: action.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn alert(kind: &str, message: &str) -> Alert {
        Alert::new(kind, "cloud", message, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_hundred_are_one_and_it_is_over_ten_minutes_after_the_last() {
        let (mut raised, start) = (Raised::default(), Instant::now());
        (0..100).for_each(|_| raised.take(alert("seal_broken", "broken"), start));
        let readings = raised.readings(start);
        assert_eq!(readings.len(), 1);
        assert_eq!(readings[0].message, "broken (100 times)");
        assert!(readings[0].is_sudden && readings[0].action.contains("trilane keys"));
        assert_eq!(raised.readings(start + HOLD), []);
    }

    #[test]
    fn what_monitors_say_is_not_heard_back() {
        let (mut raised, start) = (Raised::default(), Instant::now());
        raised.take(Alert { state: AlertState::Firing, ..alert("seal_broken", "x") }, start);
        raised.take(alert("lane_slow", "a worker that pretends to be a monitor"), start);
        assert_eq!(raised.readings(start), []);
    }

    #[test]
    fn kinds_that_are_made_up_and_long_messages_are_bounded() {
        let (mut raised, start) = (Raised::default(), Instant::now());
        (0..1_000).for_each(|index| raised.take(alert(&format!("kind_{index}"), &"ü".repeat(5_000)), start));
        let readings = raised.readings(start);
        assert_eq!(readings.len(), MAX_RAISED);
        assert!(readings.iter().all(|reading| reading.message.chars().count() == MAX_MESSAGE_CHARACTERS));
    }
}
