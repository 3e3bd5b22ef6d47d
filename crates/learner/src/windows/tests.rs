//! When something is wrong, and when it only looks so.

use trilane_protocol::learning::Feedback;

use super::*;
use crate::evidence::of_feedback;
use crate::evidence::tests::{decision, result};

const VERSION: &str = "shipped-1+w2";

fn seen(lanes: impl Iterator<Item = &'static str>) -> Windows {
    let mut windows = Windows::default();
    lanes.for_each(|lane| windows.decided(&decision(lane, Zone::Local, 0.9), VERSION));
    windows
}

#[test]
fn a_router_that_sends_all_to_one_lane_is_constant() {
    let windows = seen(std::iter::repeat_n("local-fast", DECISIONS));
    assert_eq!(windows.constant().map(|(lane, _)| lane.as_str()), Some("local-fast"));
    assert_eq!(seen(std::iter::repeat_n("local-fast", DECISIONS - 1)).constant(), None, "too few");
    let mixed = (0..DECISIONS).map(|index| if index % 30 == 0 { "cloud" } else { "local-fast" });
    assert_eq!(seen(mixed).constant(), None);
}

#[test]
fn what_learned_weights_have_not_chosen_says_nothing_of_them() {
    let usual = decision("local-fast", Zone::Local, 0.9);
    let score = |source| trilane_protocol::decision::Score { source, ..usual.score.clone() };
    let private =
        trilane_protocol::decision::ScreenReport { sensitivity: Sensitivity::Private, findings: Vec::new() };
    let mut windows = Windows::default();
    for decision in [
        Decision { reason: Reason::Pinned, ..usual.clone() },
        Decision { reason: Reason::Explored, ..usual.clone() },
        Decision { score: score(ScoreSource::ColdStart), ..usual.clone() },
        Decision { screen: private, ..usual.clone() },
        Decision { policy_version: "shipped-1+w1".into(), ..usual.clone() },
    ] {
        (0..DECISIONS).for_each(|_| windows.decided(&decision, VERSION));
    }
    assert_eq!(windows.decisions.len(), 0);
}

#[test]
fn promises_that_do_not_come_true_are_told_by_lane() {
    let judged = |good_of_ten: usize| {
        let mut windows = Windows::default();
        for index in 0..ANSWERS {
            // The decision promises 0.6.
            let result = result(decision("local-fast", Zone::Local, 0.9), None);
            let quality = f64::from(u8::from(index % 10 < good_of_ten));
            let at = jiff::Timestamp::UNIX_EPOCH;
            let judged = of_feedback(&result, Feedback::Quality(quality), at).unwrap();
            windows.judged(&judged.outcome, VERSION);
        }
        windows
    };
    assert_eq!(judged(6).drifted(0.2), []);
    let (few, many) = (judged(2), judged(10));
    assert!(
        matches!(few.drifted(0.2).as_slice(), [(lane, error)] if lane.as_str() == "local-fast" && (error - 0.4).abs() < 1e-9)
    );
    assert!(matches!(many.drifted(0.2).as_slice(), [(_, error)] if (error - 0.4).abs() < 1e-9));
    let mut other = Windows::default();
    let result = result(decision("local-fast", Zone::Local, 0.9), None);
    let judged = of_feedback(&result, Feedback::Quality(0.0), jiff::Timestamp::UNIX_EPOCH).unwrap();
    (0..ANSWERS).for_each(|_| other.judged(&judged.outcome, "shipped-1+w3"));
    assert_eq!(other.drifted(0.2), [], "that was another version");
}

#[test]
fn a_target_may_want_a_constant_router() {
    let share = |share| Some(Target::CloudShare(share));
    assert!(is_wanted(Zone::Cloud, share(1.0)) && is_wanted(Zone::Local, share(0.0)));
    assert!(!is_wanted(Zone::Cloud, share(0.3)) && !is_wanted(Zone::Local, None));
    assert!(is_wanted(Zone::Local, Some(Target::UsdWeek(0.0))));
    assert!(!is_wanted(Zone::Local, Some(Target::UsdWeek(9.0))));
}
