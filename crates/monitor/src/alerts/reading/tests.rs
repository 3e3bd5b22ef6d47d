//! Each kind on both sides of its bound.

use jiff::Timestamp;

use super::*;
use crate::sample;
use crate::watch::fleet::Budget;

/// What is said of the sample fleet once `change` has happened to it.
fn said(toml: &str, change: impl FnOnce(&mut Fleet)) -> Vec<(String, String, bool)> {
    let mut fleet = sample::fleet();
    change(&mut fleet);
    let readings = of(&fleet, &sample::config(toml));
    readings.into_iter().map(|reading| (reading.kind, reading.place, reading.is_wrong)).collect()
}

fn one(kind: Kind, place: &str, is_wrong: bool) -> Vec<(String, String, bool)> {
    vec![(kind.as_str().to_owned(), place.to_owned(), is_wrong)]
}

#[test]
fn a_fleet_that_is_well_says_nothing() {
    assert_eq!(said("", |_| {}), []);
}

#[test]
fn each_bound_has_a_wrong_side_a_right_one_and_something_between() {
    /// Changes the fleet so that a kind's value is so much.
    type Change = fn(&mut Fleet, f64);
    let cases: [(Kind, &str, f64, Change); 7] = [
        (Kind::LaneSlow, "local-fast", 900.0, |fleet, value| fleet.lanes[0].wait_s = Some(value)),
        (Kind::LaneOld, "local-fast", 900.0, |fleet, value| fleet.lanes[0].oldest_s = Some(value)),
        (Kind::LaneFull, "local-fast", 800.0, |fleet, value| fleet.lanes[0].fullest = value as u64),
        (Kind::LaneFull, "intake", 800.0, |fleet, value| fleet.intake.waiting = value as u64),
        (Kind::DeadLetters, "fleet", 10.0, |fleet, value| fleet.new_dead_letters = value as u64),
        (Kind::ClockSkew, "fleet", 30.0, |fleet, value| fleet.workers[1].clock_ahead_s = -value),
        (Kind::BudgetBurn, "fleet", 9.0, |fleet, value| fleet.budgets.push(budget(0.0, value))),
    ];
    for (kind, place, bound, change) in cases {
        let at = |value| said("", |fleet| change(fleet, value));
        assert_eq!(at(bound * 1.1), one(kind, place, true), "{kind:?} above");
        assert_eq!(at(bound), one(kind, place, false), "{kind:?} at its bound");
        assert_eq!(at(bound * 0.9), one(kind, place, false), "{kind:?} between");
        assert_eq!(at(bound * 0.8), [], "{kind:?} below");
    }
}

fn budget(spent_usd: f64, expected_usd: f64) -> Budget {
    Budget {
        agent: None,
        window: "day",
        spent_usd,
        reserved_usd: 0.0,
        limit_usd: Some(10.0),
        expected_usd,
        ends_at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn the_worst_budget_is_told_of_and_spent_counts_as_much_as_expected() {
    let fleet = Fleet { budgets: vec![budget(1.0, 2.0), budget(9.5, 9.6)], ..sample::fleet() };
    let readings = of(&fleet, &sample::config(""));
    assert!(readings[0].message.contains("spent $9.50 of $10.00"), "{}", readings[0].message);
    assert_eq!(said("", |fleet| fleet.budgets = vec![Budget { limit_usd: None, ..budget(1e6, 1e6) }]), []);
}

#[test]
fn a_lane_that_will_be_full_within_its_bound_is_filling() {
    let filling = |full_s, fullest| {
        said("", |fleet| {
            fleet.lanes[1].full_s = Some(full_s);
            fleet.lanes[1].fullest = fullest;
        })
    };
    assert_eq!(filling(899.0, 500), one(Kind::LaneFilling, "local-deep", true));
    assert_eq!(filling(1_000.0, 500), one(Kind::LaneFilling, "local-deep", false));
    assert_eq!(filling(1_125.0, 500), []);
    assert_eq!(filling(1.0, 99), [], "nearly empty: a burst, and no trend");
}

#[test]
fn tasks_that_wait_for_nobody_are_told_of_unless_the_lane_is_paused() {
    let deserted = |fleet: &mut Fleet| {
        let lane = &mut fleet.lanes[2];
        (lane.waiting, lane.workers, lane.slots, lane.busy) = (3, 0, 0, 0);
    };
    assert_eq!(said("", deserted), one(Kind::LaneUnserved, "cloud", true));
    let paused = said("", |fleet| {
        deserted(fleet);
        fleet.lanes[2].is_paused = true;
        fleet.lanes[2].oldest_s = Some(1e6);
    });
    assert_eq!(paused, []);
}

#[test]
fn tasks_that_no_classifier_takes_are_told_of() {
    let still = |decided| {
        said("", |fleet| {
            fleet.intake.waiting = 5;
            fleet.intake.decided_per_s = decided;
        })
    };
    assert_eq!(still(Some(0.0)), one(Kind::LaneUnserved, "intake", true));
    assert_eq!(still(Some(1.0)), []);
    assert_eq!(still(None), [], "not known yet");
}

#[test]
fn only_local_lanes_saturate_and_only_where_tasks_wait() {
    let waiting = |lane: usize, waiting| said("", |fleet| fleet.lanes[lane].waiting = waiting);
    assert_eq!(waiting(0, 9), one(Kind::LaneSaturated, "local-fast", true));
    assert_eq!(waiting(0, 8), [], "no more than one for each slot");
    assert_eq!(waiting(2, 9), [], "a cloud lane has limits of another kind");
    let nearly = said("", |fleet| {
        fleet.lanes[0].waiting = 9;
        fleet.lanes[0].busy = 7;
    });
    assert_eq!(nearly, one(Kind::LaneSaturated, "local-fast", false));
}

#[test]
fn silent_and_hung_workers_are_named_and_many_are_counted() {
    let mut fleet = sample::fleet();
    fleet.workers = (0..8).map(|index| sample::worker(&format!("w{index}"), WorkerHealth::Silent)).collect();
    fleet.workers.push(sample::worker("stuck", WorkerHealth::Hung));
    let readings = of(&fleet, &sample::config(""));
    let kinds: Vec<&str> = readings.iter().map(|reading| reading.kind.as_str()).collect();
    assert_eq!(kinds, ["worker_silent", "worker_hung"]);
    let silent = &readings[0].message;
    assert!(
        silent.contains("8 workers of `local-fast`") && silent.contains("w0 (process 7 on h1)"),
        "{silent}"
    );
    assert!(silent.contains("and 3 more") && !silent.contains("w5"), "{silent}");
    assert!(readings[1].message.contains("stuck (process 7 on h1)"), "{}", readings[1].message);
}

#[test]
fn a_policy_that_is_not_this_one_is_told_of() {
    let versions = |versions: &[&str]| {
        let versions: Vec<_> = versions.iter().map(|v| ((*v).to_owned(), "c".to_owned())).collect();
        said("", |fleet| fleet.policy_versions = versions)
    };
    assert_eq!(versions(&["shipped-1", "older"]), one(Kind::PolicyMixed, "fleet", true));
    assert_eq!(versions(&["shipped-1", "older+w2"]), one(Kind::PolicyMixed, "fleet", true));
    assert_eq!(versions(&["shipped-1", "shipped-1+w2"]), [], "what was learned changes by itself");
    assert_eq!(versions(&[]), []);
}

#[test]
fn messages_that_nobody_gets_are_told_of() {
    assert_eq!(said("", |fleet| fleet.zombies = 1), one(Kind::Zombies, "fleet", true));
}

#[test]
fn while_the_server_is_silent_nothing_else_is_known() {
    let silent = |seconds| {
        said("", |fleet| {
            fleet.silent_s = seconds;
            fleet.zombies = 5;
        })
    };
    assert_eq!(silent(30), one(Kind::ServerUnreachable, "fleet", true));
    assert_eq!(silent(29), one(Kind::Zombies, "fleet", true));
}

#[test]
fn a_lane_may_have_bounds_of_its_own() {
    let slow = |toml: &str| said(toml, |fleet| fleet.lanes[0].wait_s = Some(100.0));
    assert_eq!(slow(""), []);
    assert_eq!(slow("[alerts.lanes.local-fast]\nwait_s = 60"), one(Kind::LaneSlow, "local-fast", true));
    assert_eq!(slow("[alerts.lanes.local-deep]\nwait_s = 60"), []);
}

#[test]
fn every_reading_says_what_it_means_and_what_to_do_and_no_url_s_password() {
    let mut fleet = sample::fleet();
    for lane in &mut fleet.lanes {
        (lane.waiting, lane.workers, lane.busy) = (900, 0, 0);
        (lane.fullest, lane.wait_s, lane.full_s, lane.oldest_s) = (990, Some(1e5), Some(1.0), Some(1e5));
    }
    fleet.workers = vec![sample::worker("a", WorkerHealth::Silent), sample::worker("b", WorkerHealth::Hung)];
    fleet.workers[1].clock_ahead_s = 3_600.0;
    (fleet.zombies, fleet.new_dead_letters) = (1, 100);
    fleet.budgets = vec![budget(10.0, 20.0)];
    fleet.policy_versions = vec![("x".into(), "c".into())];
    fleet.intake.waiting = 1_000;
    fleet.intake.decided_per_s = Some(0.0);
    let config = sample::config("[nats]\nurl = \"nats://me:secret@host:1\"");
    let mut readings = of(&fleet, &config);
    readings.extend(of(&Fleet { silent_s: 100, ..fleet }, &config));
    let kinds: std::collections::BTreeSet<&str> =
        readings.iter().map(|reading| reading.kind.as_str()).collect();
    // A lane without workers is not saturated.
    assert_eq!(kinds.len(), Kind::ALL.len() - 1, "{kinds:?}");
    for reading in readings {
        assert!(!reading.message.is_empty() && !reading.meaning.is_empty() && !reading.action.is_empty());
        assert!(!reading.action.contains("secret"), "{}", reading.action);
    }
}
