//! What another policy would have chosen is what routing would choose with its weights.

use std::collections::BTreeSet;
use std::sync::Arc;

use trilane_protocol::{Generation, LaneName, Work};
use trilane_routing::features::extract;
use trilane_routing::learn::Weights;
use trilane_routing::learned::LearnedScorer;
use trilane_routing::off_policy::rule::{choose, offers};

use crate::support::{World, lane, private, public};

const PROMPTS: [&str; 4] = [
    "hello",
    "Translate 'good morning' to Basque",
    "Prove it; derive why; compare both proofs; justify the strategy.",
    "Summarise the plan, then design a fault-tolerant lock",
];

/// Weights that have seen each lane fail or do one of the prompts, many times.
fn weights(seed: usize) -> Weights {
    let mut weights = Weights::default();
    for (index, prompt) in PROMPTS.iter().enumerate() {
        let features = extract(&public(prompt, 0.0).messages, &Generation::default());
        for (place, name) in ["local-fast", "local-deep", "cloud"].into_iter().enumerate() {
            let quality = f64::from(u8::from((seed >> ((index + place) % 6)).is_multiple_of(2)));
            (0..200).for_each(|_| weights.learn(&features, &lane(name), quality, 1.0).unwrap());
        }
    }
    weights
}

#[test]
fn the_rule_of_trials_is_the_rule_of_routing() {
    assert_eq!(lanes_by_the_same_rule(None).len(), 3, "each lane was chosen by some");
}

#[test]
fn where_a_target_steers_trials_meet_the_bar_that_the_task_met() {
    // From a bar that is always reached to one that never is: the sum of chance and bar is held to 0 and 1 then.
    for bar in [-0.9, 0.0, 0.05, 0.3, 0.9] {
        assert!(lanes_by_the_same_rule(Some(bar)).len() > 1, "bar {bar}");
    }
}

/// Routes the prompts by many weights, and asks the rule of trials for the same. Returns the lanes that were taken.
fn lanes_by_the_same_rule(bar: Option<f64>) -> BTreeSet<LaneName> {
    let mut lanes = BTreeSet::new();
    for seed in 0..64 {
        let (learned, other) = (weights(seed), weights(seed + 1));
        let scorer = Arc::new(LearnedScorer::new(Arc::new(learned.clone()), 1));
        let mut world = World { scorer, bar, ..World::shipped() };
        world.policy.explore = 0.0;
        // A floor would speak before the target.
        world.policy.quality_floor = if bar.is_some() { 0.0 } else { world.policy.quality_floor };
        for work in PROMPTS.iter().flat_map(|prompt| [public(prompt, 0.0), private(prompt, 0.0)]) {
            let work = Work { complexity: None, ..work };
            let features = extract(&work.messages, &work.generation);
            let decision = world.route(work, None).unwrap().message().decision.clone();
            let World { registry, policy, .. } = &world;
            let offers = offers(&decision, &features, &other, &learned, registry, policy);
            let chosen = choose(&offers, &decision, registry, policy, |offer| offer.chance_in_force);
            assert_eq!(offers[chosen.unwrap()].lane, decision.lane, "seed {seed}");
            for offer in &offers {
                let weighed = decision.candidates.iter().find(|weighed| weighed.lane == offer.lane).unwrap();
                assert!((weighed.chance - offer.chance_in_force).abs() < 1e-9, "seed {seed}");
            }
            lanes.insert(decision.lane);
        }
    }
    lanes
}
