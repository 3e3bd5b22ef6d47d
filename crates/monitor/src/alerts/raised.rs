//! What others have raised: a broken seal, a message that got stuck. It has happened once; it counts as going on until
//! it has not happened again for a while, so that a hundred of them are one alert.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trilane_protocol::alert::{Alert, AlertState};
use trilane_protocol::{LaneName, subjects};
use trilane_service::Config;

use super::reading::Reading;

/// How long something counts as going on after it last happened.
const HOLD: Duration = Duration::from_secs(600);

/// What workers, classifiers and janitors raise, each with what has happened. Whoever holds a key may write what he
/// likes, so only these are heard, and in our words: an alert goes where a task's text must not go.
const KINDS: [(&str, &str); 7] = [
    ("seal_missing", "a message without a classifier's seal lay on"),
    ("seal_untrusted", "a message sealed by a key that is not a classifier's lay on"),
    ("seal_broken", "a message that was altered after it was sealed lay on"),
    ("seal_expired", "a message was not run before its seal expired on"),
    ("max_deliveries", "the server has given a message up on"),
    ("router_constant", "nearly all public tasks of late were put on"),
    ("calibration_drift", "answers are not as good as the policy in force promises on"),
];

/// Whether an alert of this kind is raised by others, and known to those who heard it only.
pub(crate) fn is_raised(kind: &str) -> bool {
    KINDS.iter().any(|(known, _)| *known == kind)
}

/// What others have raised lately.
#[derive(Debug)]
pub(crate) struct Raised {
    /// The lanes, and the intake: with [`KINDS`] this bounds what is kept.
    places: Vec<String>,
    occurrences: BTreeMap<(&'static str, String), Occurrence>,
}

#[derive(Debug)]
struct Occurrence {
    happened: &'static str,
    at: Instant,
    times: u64,
}

impl Raised {
    pub(crate) fn new(config: &Config) -> Self {
        let lanes = config.registry.lanes.keys().map(LaneName::to_string);
        Self { places: lanes.chain([subjects::INTAKE.to_owned()]).collect(), occurrences: BTreeMap::new() }
    }

    /// Takes an alert as it was heard at `at`. What monitors say is none of it.
    pub(crate) fn take(&mut self, alert: &Alert, at: Instant) {
        let known = KINDS.into_iter().find(|(kind, _)| *kind == alert.kind);
        let Some((kind, happened)) = known.filter(|_| alert.state == AlertState::Raised) else { return };
        if !self.places.contains(&alert.lane) {
            return;
        }
        let key = (kind, alert.lane.clone());
        let times = self.occurrences.get(&key).map_or(0, |earlier| earlier.times);
        self.occurrences.insert(key, Occurrence { happened, at, times: times + 1 });
    }

    /// What goes on at `at`.
    pub(crate) fn readings(&mut self, at: Instant) -> Vec<Reading> {
        self.occurrences.retain(|_, occurrence| at.duration_since(occurrence.at) < HOLD);
        self.occurrences.iter().map(|((kind, place), occurrence)| reading(kind, place, occurrence)).collect()
    }
}

fn reading(kind: &str, place: &str, Occurrence { happened, times, .. }: &Occurrence) -> Reading {
    let message = match times {
        1 => format!("{happened} `{place}`"),
        times => format!("{happened} `{place}`, {times} times"),
    };
    let (meaning, action) = match kind {
        "seal_expired" => (
            "Its task ends as `failed`: it had waited longer than `security.seal_valid_s`.",
            "scale the lane, or give tasks a deadline; `trilane dead list` shows them",
        ),
        "max_deliveries" => (
            "Somebody has bounded a consumer's deliveries; what it gave up ends as `failed`.",
            "`trilane provision` takes the bound away; `trilane dead list` shows the tasks",
        ),
        "router_constant" => (
            "Tasks are no longer told apart: either they are all alike, or what was learned says the same of all.",
            "`trilane explain ID` shows what a choice was made of; `trilane policy rollback` returns to the version before",
        ),
        "calibration_drift" => (
            "Chances are promised that do not come true: tasks or models have changed since the version was learned.",
            "`trilane policy show` has its figures; the learner replaces it once there are enough trials, and `trilane \
             policy rollback` returns to the version before",
        ),
        _ => (
            "Somebody other than a classifier has put a message on a lane, or has altered one. It was not run.",
            "find out who holds keys of this fleet (`trilane keys`), make new ones where one may be stolen, and look at \
             the message: `trilane dead list`",
        ),
    };
    Reading {
        kind: kind.to_owned(),
        place: place.to_owned(),
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

    fn alert(kind: &str, lane: &str) -> Alert {
        Alert::new(kind, lane, "the words of whoever raised it", Timestamp::UNIX_EPOCH)
    }

    fn raised() -> Raised {
        Raised::new(&crate::sample::config(""))
    }

    #[test]
    fn a_hundred_are_one_and_it_is_over_ten_minutes_after_the_last() {
        let (mut raised, start) = (raised(), Instant::now());
        (0..100).for_each(|_| raised.take(&alert("seal_broken", "cloud"), start));
        let readings = raised.readings(start);
        assert_eq!(readings.len(), 1);
        assert!(readings[0].message.ends_with("lay on `cloud`, 100 times"), "{}", readings[0].message);
        assert!(readings[0].is_sudden && readings[0].action.contains("trilane keys"));
        assert_eq!(raised.readings(start + HOLD), []);
    }

    #[test]
    fn another_s_words_go_nowhere() {
        let (mut raised, start) = (raised(), Instant::now());
        let words = |alert: Alert| Alert { meaning: "words".into(), action: "words".into(), ..alert };
        KINDS.iter().for_each(|(kind, _)| raised.take(&words(alert(kind, "local-fast")), start));
        let readings = raised.readings(start);
        assert_eq!(readings.len(), KINDS.len());
        for Reading { message, meaning, action, .. } in readings {
            assert!(![message, meaning, action].iter().any(|text| text.contains("words")));
        }
    }

    #[test]
    fn what_monitors_say_and_what_is_made_up_is_not_heard() {
        let (mut raised, start) = (raised(), Instant::now());
        raised.take(&Alert { state: AlertState::Firing, ..alert("seal_broken", "cloud") }, start);
        raised.take(&alert("lane_slow", "cloud"), start);
        raised.take(&alert("a.b", "cloud"), start);
        raised.take(&alert("seal_broken", "no-such-lane"), start);
        assert_eq!(raised.readings(start), []);
        raised.take(&alert("seal_broken", "intake"), start);
        assert_eq!(raised.readings(start).len(), 1);
    }
}
