//! Alerts begin and end once, however what they are about swings.

use super::*;

const SETTINGS: &str = "[alerts]\nsettle_s = 60\nfire_after_s = 30\nresolve_after_s = 60";

/// Steps through what is read at each second, and keeps what is said as the server would.
struct Story {
    lives: Lives,
    sequence: u64,
    said: Vec<(u64, AlertState)>,
}

impl Story {
    fn new() -> Self {
        Self { lives: Lives::new(&crate::sample::config(SETTINGS).alerts), sequence: 0, said: Vec::new() }
    }

    fn at(&mut self, second: u64, reading: Option<Reading>) {
        for word in self.due(second, reading) {
            self.sequence += 1;
            self.said.push((second, word.alert.state));
            self.lives.adopt(Said { alert: word.alert, sequence: self.sequence });
        }
    }

    fn due(&mut self, second: u64, reading: Option<Reading>) -> Vec<Word> {
        let readings: Vec<Reading> = reading.into_iter().collect();
        let now = Timestamp::from_second(1_000 + second as i64).unwrap();
        self.lives.step(&readings, Duration::from_secs(second), now)
    }
}

fn reading(is_wrong: bool) -> Option<Reading> {
    Some(Reading {
        kind: "lane_slow".into(),
        place: "cloud".into(),
        is_wrong,
        is_sudden: false,
        message: "slow".into(),
        meaning: "late".into(),
        action: "scale".into(),
    })
}

const WRONG: bool = true;
const BETWEEN: bool = false;

#[test]
fn what_stays_wrong_fires_once_and_is_resolved_once() {
    let mut story = Story::new();
    (100..200).for_each(|second| story.at(second, reading(WRONG)));
    (200..400).for_each(|second| story.at(second, None));
    assert_eq!(story.said, [(130, AlertState::Firing), (260, AlertState::Resolved)]);
}

#[test]
fn nothing_fires_in_the_first_minute() {
    let mut story = Story::new();
    (0..60).for_each(|second| story.at(second, reading(WRONG)));
    assert_eq!(story.said, []);
    story.at(60, reading(WRONG));
    assert_eq!(story.said, [(60, AlertState::Firing)]);
    assert_eq!(
        story.lives.shown()[0].since,
        Timestamp::from_second(1_000).unwrap(),
        "since it was first seen"
    );
}

#[test]
fn what_swings_across_its_bound_neither_fires_nor_resolves() {
    let mut story = Story::new();
    (100..400).for_each(|second| story.at(second, if second % 20 < 19 { reading(WRONG) } else { None }));
    assert_eq!(story.said, [], "never wrong for half a minute");
    (400..500).for_each(|second| story.at(second, reading(WRONG)));
    (500..900).for_each(|second| story.at(second, if second % 50 < 49 { None } else { reading(WRONG) }));
    assert_eq!(story.said, [(430, AlertState::Firing)], "and never right for a whole one");
}

#[test]
fn between_the_thresholds_an_alert_stays_what_it_is() {
    let mut story = Story::new();
    (100..300).for_each(|second| story.at(second, reading(BETWEEN)));
    assert_eq!(story.said, []);
    (300..400).for_each(|second| story.at(second, reading(WRONG)));
    (400..900).for_each(|second| story.at(second, reading(BETWEEN)));
    assert_eq!(story.said, [(330, AlertState::Firing)]);
}

#[test]
fn what_has_happened_fires_at_once_even_at_the_start() {
    let mut story = Story::new();
    let sudden = || reading(WRONG).map(|reading| Reading { is_sudden: true, ..reading });
    story.at(1, sudden());
    story.at(2, sudden());
    assert_eq!(story.said, [(1, AlertState::Firing)]);
}

#[test]
fn a_monitor_that_starts_again_goes_on_where_it_was() {
    let mut first = Story::new();
    (100..200).for_each(|second| first.at(second, reading(WRONG)));
    let said = first.lives.shown()[0].clone();
    let mut second = Story { sequence: 1, ..Story::new() };
    second.lives.adopt(Said { alert: said.clone(), sequence: 1 });
    (0..200).for_each(|at| second.at(at, reading(WRONG)));
    assert_eq!(second.said, [], "it is not told of twice");
    (200..300).for_each(|at| second.at(at, None));
    assert_eq!(second.said, [(260, AlertState::Resolved)]);
    assert_eq!(second.lives.shown()[0].since, said.since);
}

#[test]
fn a_word_stays_due_until_it_is_stored_and_one_of_another_monitor_counts() {
    let mut story = Story::new();
    story.due(100, reading(WRONG));
    let due = story.due(130, reading(WRONG));
    assert_eq!((due.len(), due[0].after), (1, 0));
    assert_eq!(story.due(131, reading(WRONG)).len(), 1, "the write has failed");
    let others = Alert { message: "another's".into(), ..due[0].alert.clone() };
    story.lives.adopt(Said { alert: others, sequence: 7 });
    assert_eq!(story.due(132, reading(WRONG)), []);
    (133..192).for_each(|second| assert_eq!(story.due(second, None), []));
    assert_eq!(story.due(193, None)[0].after, 7, "the next word is held against the other's");
}

#[test]
fn what_was_about_to_fire_while_nothing_was_known_starts_again() {
    let mut story = Story::new();
    (100..125).for_each(|second| story.at(second, reading(WRONG)));
    story.lives.forget_beginnings();
    (125..155).for_each(|second| story.at(second, reading(WRONG)));
    assert_eq!(story.said, []);
    story.at(155, reading(WRONG));
    assert_eq!(story.said, [(155, AlertState::Firing)]);
}

#[test]
fn what_never_fired_leaves_no_trace_and_what_is_over_is_shown_within_bounds() {
    let mut story = Story::new();
    for place in 0..10_000 {
        let reading = reading(WRONG).map(|reading| Reading { place: place.to_string(), ..reading });
        story.at(100, reading);
    }
    story.at(101, None);
    assert_eq!(story.lives.lives.len(), 0);
    for place in 0..50 {
        let reading =
            reading(WRONG).map(|reading| Reading { place: place.to_string(), is_sudden: true, ..reading });
        story.at(200, reading);
    }
    story.at(300, None);
    story.at(400, None);
    assert_eq!(story.lives.shown().len(), MAX_OVER);
}

#[test]
fn a_monitor_that_was_not_there_leaves_a_silent_worker_alone_for_as_long_as_others_remember_it() {
    let mut story = Story { sequence: 1, ..Story::new() };
    let silent = Alert {
        state: AlertState::Firing,
        ..Alert::new("worker_silent", "cloud", "w is silent", Timestamp::UNIX_EPOCH)
    };
    story.lives.adopt(Said { alert: silent, sequence: 1 });
    (0..900).for_each(|second| story.at(second, None));
    assert_eq!(story.said, []);
    story.at(900, None);
    assert_eq!(story.said, [(900, AlertState::Resolved)]);
    assert!(story.lives.shown()[0].message.starts_with("heard of again, or given up"));
}
