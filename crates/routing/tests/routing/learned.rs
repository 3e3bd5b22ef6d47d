//! Choosing with what was learned: heads, gain, floor, bar and draws.

use std::collections::BTreeMap;
use std::sync::Arc;

use trilane_protocol::decision::{Decision, ScoreSource};
use trilane_protocol::work::RerouteCause;
use trilane_protocol::{LaneName, Work, Zone};
use trilane_routing::features::Features;
use trilane_routing::learn::HeadChance;
use trilane_routing::route::{Returned, Route};
use trilane_routing::score::{ColdStart, ScoreParts, Scorer};

use crate::support::{World, lane, private, public};

/// Heads that say the same of every task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads(pub(crate) BTreeMap<LaneName, HeadChance>);

impl Scorer for Heads {
    fn score(&self, features: &Features) -> ScoreParts {
        ScoreParts { heads: self.0.clone(), ..ColdStart.score(features) }
    }

    fn version(&self) -> u64 {
        7
    }
}

fn knowing(heads: &[(&str, f64)]) -> World {
    let head = |(name, chance): &(&str, f64)| (lane(name), HeadChance { chance: *chance, evidence: 1e6 });
    let scorer = Arc::new(Heads(heads.iter().map(head).collect()));
    World { scorer, ..World::shipped() }
}

/// Work that the producer has not scored.
fn unscored(work: Work) -> Work {
    Work { complexity: None, ..work }
}

fn decided(world: &World, work: Work) -> Decision {
    world.route(work, None).unwrap().message().decision.clone()
}

#[test]
fn what_was_learned_of_the_lanes_decides_within_what_the_screen_has_left() {
    let easy = || unscored(public("hello", 0.0));
    let hard = || unscored(public("Prove it; derive why; compare both proofs; justify the strategy.", 0.0));
    type Case = (&'static [(&'static str, f64)], Work, &'static str);
    let cases: [Case; 7] = [
        (&[], easy(), "local-fast"),
        (&[("local-fast", 0.1)], easy(), "local-deep"),
        (&[("local-fast", 0.1), ("local-deep", 0.2)], easy(), "cloud"),
        (&[], hard(), "cloud"),
        (&[("local-deep", 0.9)], hard(), "local-deep"),
        (&[("local-fast", 0.3), ("local-deep", 0.1), ("cloud", 0.2)], easy(), "local-fast"),
        (&[("local-fast", 0.1), ("local-deep", 0.2)], unscored(private("hello", 0.0)), "local-deep"),
    ];
    for (heads, work, expected) in cases {
        let decision = decided(&knowing(heads), work);
        assert_eq!(decision.lane, lane(expected), "{heads:?}: {}", decision.explanation);
        let source = if heads.is_empty() { ScoreSource::ColdStart } else { ScoreSource::Learned };
        assert_eq!((decision.score.source, decision.policy_version.as_str()), (source, "shipped-1+w7"));
    }
}

#[test]
fn the_complexity_that_is_shown_is_what_the_best_local_lane_leaves() {
    let world = knowing(&[("local-fast", 0.2), ("local-deep", 0.3)]);
    let decision = decided(&world, unscored(public("hello", 0.0)));
    assert!((decision.score.complexity - 0.7).abs() < 0.01, "{}", decision.score.complexity);
    assert!(decision.score.contributions.iter().all(|part| part.feature.is_ascii()));
}

#[test]
fn the_producer_s_own_score_is_not_argued_with() {
    let world = knowing(&[("local-fast", 0.01), ("local-deep", 0.01)]);
    let decision = decided(&world, public("hello", 0.1));
    assert_eq!((decision.lane, decision.score.source), (lane("local-fast"), ScoreSource::Producer));
    assert_eq!(decision.policy_version, "shipped-1+w7");
    assert!((decision.score.complexity - 0.1).abs() < 1e-9);
}

#[test]
fn few_outcomes_change_little() {
    let head = HeadChance { chance: 0.01, evidence: 0.5 };
    let scorer = Arc::new(Heads([(lane("local-fast"), head)].into()));
    let world = World { scorer, ..World::shipped() };
    assert_eq!(decided(&world, unscored(public("hello", 0.0))).lane, lane("local-fast"));
}

#[test]
fn a_dearer_lane_has_to_earn_its_price() {
    let mut world = World::shipped();
    world.registry.lanes.get_mut("cloud").unwrap().skill = 0.615;
    for (min_gain, expected) in [(0.05, "local-deep"), (0.0, "cloud"), (0.03, "cloud")] {
        world.policy.min_gain = min_gain;
        let decision = decided(&world, public("x", 0.61));
        assert_eq!(decision.lane, lane(expected), "{min_gain}: {}", decision.explanation);
        assert_eq!(decision.explanation.contains("earn its price"), expected == "local-deep");
    }
}

#[test]
fn the_bar_that_a_target_sets_decides_and_the_decision_shows_it() {
    let mut world = World::shipped();
    // At 0.65 the deep lane has a chance of 0.38, the cloud 0.97.
    for (bar, complexity, expected) in [
        (0.2, 0.65, "cloud"),
        (0.7, 0.65, "local-deep"),
        (0.0, 0.1, "cloud"),
        (0.3, 0.1, "local-fast"),
        (1.01, 1.0, "local-deep"),
    ] {
        world.bar = Some(bar);
        let decision = decided(&world, public("x", complexity));
        assert_eq!(decision.lane, lane(expected), "{bar} {complexity}: {}", decision.explanation);
        assert!(decision.explanation.contains(&format!("({bar:.2})")), "{}", decision.explanation);
        let best_local = decision.candidates.iter().filter(|candidate| candidate.lane != lane("cloud"));
        let best_local = best_local.map(|candidate| candidate.chance).fold(0.0, f64::max);
        assert!((decision.threshold - (best_local + bar).clamp(0.0, 1.0)).abs() < 1e-9);
        let stays = decided(&world, private("x", complexity));
        assert_eq!(stays.zone, Zone::Local);
        assert!((stays.threshold - world.policy.good_enough).abs() < 1e-9, "no bar for what stays anyway");
    }
}

#[test]
fn quality_wins_over_savings_and_privacy_and_budgets_over_both() {
    let mut world = World::shipped();
    world.bar = Some(1.01);
    world.policy.quality_floor = 0.2;
    let hard = decided(&world, public("x", 1.0));
    assert_eq!(hard.lane, lane("cloud"));
    assert!(hard.explanation.contains("quality floor"), "{}", hard.explanation);
    assert_eq!(decided(&world, public("x", 0.65)).lane, lane("local-deep"), "0.38 is above the floor");
    assert_eq!(decided(&world, private("x", 1.0)).zone, Zone::Local);
    world.allow(Some(0.0), "a", None);
    let spent = world.outcome(public("x", 1.0), None);
    assert_eq!((spent.0.as_str(), spent.1.as_str()), ("local-deep", "budget_spent"));
}

/// Routes many tasks; by lane, how many took it, and with which propensity.
fn explored(world: &World, work: impl Fn(u64) -> Work) -> BTreeMap<String, (u32, f64)> {
    let mut lanes = BTreeMap::new();
    for task_seq in 0..TASKS {
        let decision = decided(world, Work { task_seq, ..work(task_seq) });
        let entry = lanes.entry(decision.lane.to_string()).or_insert((0, decision.propensity));
        entry.0 += 1;
        assert!((entry.1 - decision.propensity).abs() < 1e-9, "one lane, one propensity");
        let drawn = decision.reason.as_str() == "explored";
        assert_eq!(drawn, decision.explanation.starts_with("drawn"), "{}", decision.explanation);
    }
    lanes
}

const TASKS: u64 = 3_000;

/// What each lane's share is to be, whatever the cause; and that it is what the decisions say.
fn assert_shares(lanes: &BTreeMap<String, (u32, f64)>, expected: &[(&str, f64)]) {
    let found: BTreeMap<&str, f64> = lanes.iter().map(|(lane, (_, share))| (lane.as_str(), *share)).collect();
    assert_eq!(found.len(), expected.len(), "{lanes:?}");
    for (lane, share) in expected {
        assert!((found[lane] - share).abs() < 1e-9, "{lanes:?}");
        let counted = f64::from(lanes[*lane].0) / TASKS as f64;
        assert!((counted - share).abs() < 0.035, "{lane}: {counted} of {share}");
    }
    assert!((found.values().sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn drawn_tasks_take_any_open_lane_with_the_propensity_that_they_show() {
    let mut world = World::shipped();
    world.policy.explore = 0.3;
    let task = |_| unscored(public("hello", 0.0));
    let lanes = explored(&world, task);
    assert_shares(&lanes, &[("local-fast", 0.8), ("local-deep", 0.1), ("cloud", 0.1)]);
    let lanes = explored(&world, |_| unscored(private("hello", 0.0)));
    assert_shares(&lanes, &[("local-fast", 0.85), ("local-deep", 0.15)]);
    world.lane("local-deep").served.clear();
    let lanes = explored(&world, task);
    assert_shares(&lanes, &[("local-fast", 0.85), ("cloud", 0.15)]);
    world.allow(Some(0.0), "a", None);
    assert_shares(&explored(&world, task), &[("local-fast", 1.0)]);
}

#[test]
fn a_choice_that_is_adjusted_has_the_propensity_of_where_it_went() {
    let mut world = World::shipped();
    world.policy.explore = 0.3;
    world.lane("cloud").served.clear();
    let hard = |_| unscored(public("Prove it; derive why; compare both proofs; justify the strategy.", 0.0));
    assert_shares(&explored(&world, hard), &[("local-deep", 0.85), ("local-fast", 0.15)]);
}

#[test]
fn pins_scores_and_what_comes_back_are_never_drawn() {
    let mut world = World::shipped();
    world.policy.explore = 0.5;
    let pin = |work| Work { model: Some("gpt-4o".parse().unwrap()), ..unscored(work) };
    let shadow = |work| Work { shadow: true, ..unscored(work) };
    for task_seq in 0..200 {
        for work in [public("x", 0.1), pin(public("x", 0.1)), shadow(public("x", 0.1))] {
            let decision = decided(&world, Work { task_seq, ..work });
            assert!((decision.propensity - 1.0).abs() < 1e-9 && decision.reason.as_str() != "explored");
        }
        let back = Returned {
            lane: lane("local-fast"),
            cause: RerouteCause::Escalate { reason: "it did not fit".into() },
        };
        let work = Work { task_seq, hop: 1, ..unscored(public("x", 0.1)) };
        let route = world.route(work, Some(&back)).unwrap();
        assert_eq!(route.message().decision.reason.as_str(), "escalated");
        assert!(matches!(route, Route::Local(_)));
    }
}

/// Work whose first answer, on the deep lane, was `text`.
fn answered(text: &str) -> (Work, Returned) {
    let earlier = serde_json::json!({
        "lane": "local-deep", "model": "m", "cost_usd": 0.0, "reason": "r", "propensity": 1.0, "policy_version": "v",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0}, "text": text, "finish": "stop",
        "signs": {"truncated": false, "refused": false, "repetition": 0.0, "passed": 0},
    });
    let mut work = public("x", 0.65);
    (work.hop, work.earlier) = (1, Some(Box::new(serde_json::from_value(earlier).unwrap())));
    let cause = RerouteCause::Escalate { reason: "r".into() };
    (work, Returned { lane: lane("local-deep"), cause })
}

#[test]
fn an_answer_stands_while_the_bar_of_a_target_is_closed() {
    let mut world = World::shipped();
    for (bar, goes_up) in [(None, true), (Some(0.2), true), (Some(0.9), true), (Some(1.01), false)] {
        world.bar = bar;
        let (work, returned) = answered("fine");
        assert_eq!(world.improve(work, &returned).is_some(), goes_up, "{bar:?}");
    }
}

#[test]
fn an_earlier_answer_goes_to_the_cloud_only_where_nothing_is_found_in_it() {
    for (text, goes_along) in [("fine", true), ("mail ada@example.org", false)] {
        let (work, returned) = answered(text);
        let route = World::shipped().improve(work, &returned).unwrap();
        let message = route.message();
        assert_eq!(message.decision.zone, Zone::Cloud, "the task itself is public");
        let earlier = message.work.earlier.as_ref().unwrap();
        assert_eq!((earlier.text.is_some(), earlier.finish.is_some()), (goes_along, goes_along));
        assert_eq!(route.without_earlier_text().message().work.earlier.as_ref().unwrap().text, None);
    }
}
