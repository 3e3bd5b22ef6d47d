//! What no input may break: private work is never put on a cloud lane, whatever was learned, is steered or is drawn.

use std::sync::Arc;

use proptest::prelude::*;
use trilane_protocol::work::RerouteCause;
use trilane_protocol::{Message, Role, Sensitivity, Work, Zone};
use trilane_routing::detect::Detectors;
use trilane_routing::learn::HeadChance;
use trilane_routing::policy::{Fallback, LocalFallback, PrivatePin};
use trilane_routing::route::{Returned, Route};

use crate::learned::Heads;
use crate::support::{World, lane, public};

/// Texts that each make a task private by themselves.
const SECRETS: [&str; 6] = [
    "mail anna.schmidt@example.com",
    "card 4111 1111 1111 1111",
    "IBAN DE89 3704 0044 0532 0130 00",
    "-----BEGIN RSA PRIVATE KEY-----",
    "AKIAIOSFODNN7EXAMPLE",
    "card ４１１１ １１１１ １１１１ １１１１",
];

/// Where a secret, or the word `private`, may stand.
#[derive(Debug, Clone, Copy)]
enum Ground {
    Word,
    Tag,
    TagText(usize),
    Prompt(usize),
    EarlierTurn(usize),
    Stop(usize),
    Schema(usize),
    Metadata(usize),
    MetadataKey(usize),
}

fn ground() -> impl Strategy<Value = Ground> {
    let secret = 0..SECRETS.len();
    prop_oneof![
        Just(Ground::Word),
        Just(Ground::Tag),
        secret.clone().prop_map(Ground::TagText),
        secret.clone().prop_map(Ground::Prompt),
        secret.clone().prop_map(Ground::EarlierTurn),
        secret.clone().prop_map(Ground::Stop),
        secret.clone().prop_map(Ground::Schema),
        secret.clone().prop_map(Ground::Metadata),
        secret.prop_map(Ground::MetadataKey),
    ]
}

fn message(role: Role, content: String) -> Message {
    Message { role, content }
}

fn hide(ground: Ground, mut work: Work) -> Work {
    match ground {
        Ground::Word => work.sensitivity = Some(Sensitivity::Private),
        Ground::Tag => work.tags.push("Confidential".into()),
        Ground::TagText(index) => work.tags.push(SECRETS[index].into()),
        Ground::Prompt(index) => work.messages.push(message(Role::User, format!("{}\n\n", SECRETS[index]))),
        Ground::EarlierTurn(index) => {
            work.messages.insert(0, message(Role::Assistant, SECRETS[index].into()));
        }
        Ground::Stop(index) => work.generation.stop.push(SECRETS[index].into()),
        Ground::Schema(index) => {
            work.generation.json_schema = Some(serde_json::json!({"enum": [{"deep": SECRETS[index]}]}));
        }
        Ground::Metadata(index) => {
            work.metadata.insert("note".into(), serde_json::json!([[SECRETS[index]]]));
        }
        Ground::MetadataKey(index) => {
            work.metadata.insert(SECRETS[index].into(), serde_json::Value::Null);
        }
    }
    work
}

prop_compose! {
    fn work()(
        prompt in ".{0,200}",
        complexity in proptest::option::of(0.0..=1.0),
        model in proptest::option::of(prop_oneof![Just("gpt-4o"), Just("claude-sonnet"), Just("smollm2-135m")]),
        sensitivity in proptest::option::of(Just(Sensitivity::Public)),
        max_tokens in proptest::option::of(1_u32..50_000),
        max_cost_usd in proptest::option::of(0.0..1.0),
        hop in 0_u16..4,
    ) -> Work {
        let mut work = public(&prompt, 0.0);
        work.complexity = complexity;
        work.model = model.map(|name| name.parse().unwrap());
        work.sensitivity = sensitivity;
        work.generation.max_tokens = max_tokens;
        work.max_cost_usd = max_cost_usd;
        work.hop = hop;
        work
    }
}

/// Everything that was learned, is steered or is drawn, as wrong as can be.
#[derive(Debug, Clone)]
struct Learned {
    heads: Heads,
    bar: Option<f64>,
    explore: f64,
    min_gain: f64,
    quality_floor: f64,
}

prop_compose! {
    fn learned()(
        heads in proptest::collection::vec((any::<f64>(), any::<f64>()), 3),
        sure in proptest::option::of((0.0..=1.0, 0.0..1e6)),
        bar in proptest::option::of(-1.0..=1.01),
        explore in 0.0..=0.5,
        min_gain in 0.0..=1.0,
        quality_floor in 0.0..=1.0,
    ) -> Learned {
        let lanes = ["cloud", "local-deep", "local-fast"];
        let heads = heads.into_iter().map(|said| sure.unwrap_or(said));
        let head = |(name, (chance, evidence)): (&str, (f64, f64))| (lane(name), HeadChance { chance, evidence });
        Learned { heads: Heads(lanes.into_iter().zip(heads).map(head).collect()), bar, explore, min_gain, quality_floor }
    }
}

prop_compose! {
    fn world()(
        learned in learned(),
        alive in proptest::collection::vec(any::<bool>(), 3),
        waiting in proptest::collection::vec(0_u64..10_000, 3),
        budget_spent in any::<bool>(),
        agent in proptest::option::of(Just(Sensitivity::Public)),
        untagged in prop_oneof![Just(Sensitivity::Public), Just(Sensitivity::Private)],
        pin in prop_oneof![Just(PrivatePin::Deep), Just(PrivatePin::Reject)],
        fallback in prop_oneof![Just(Fallback::Park), Just(Fallback::Degrade), Just(Fallback::Reject)],
        spill in any::<bool>(),
        good_enough in 0.0..=1.0,
    ) -> World {
        let mut world = World::shipped();
        for (index, state) in world.fleet.lanes.values_mut().enumerate() {
            if !alive[index] {
                state.served.clear();
            }
            state.waiting = waiting[index];
        }
        if budget_spent {
            world.allow(Some(0.0), "a", None);
        }
        world.policy.adjust.budget_spent = fallback;
        world.agent.sensitivity = agent;
        world.policy.untagged = untagged;
        world.policy.private_pin = pin;
        world.policy.good_enough = good_enough;
        world.policy.adjust.cloud_without_worker = fallback;
        let local = if spill { LocalFallback::Spill } else { LocalFallback::Park };
        world.policy.adjust.local_without_worker = local;
        world.policy.adjust.local_saturated = local;
        world.scorer = Arc::new(learned.heads);
        world.bar = learned.bar;
        world.policy.explore = learned.explore;
        world.policy.min_gain = learned.min_gain;
        world.policy.quality_floor = learned.quality_floor;
        world
    }
}

fn returned() -> impl Strategy<Value = Option<Returned>> {
    let from = prop_oneof![Just("local-fast"), Just("local-deep"), Just("cloud"), Just("unheard-of")];
    let cause = prop_oneof![
        Just(RerouteCause::Degrade { reason: "r".into() }),
        Just(RerouteCause::Escalate { reason: "r".into() }),
        Just(RerouteCause::StepDone { text: "t".into() }),
    ];
    proptest::option::of((from, cause).prop_map(|(from, cause)| Returned { lane: lane(from), cause }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_input_puts_private_work_on_a_cloud_lane(
        work in work(), ground in ground(), world in world(), returned in returned(),
    ) {
        let routed = world.route(hide(ground, work), returned.as_ref());
        if let Ok(route) = routed {
            prop_assert!(matches!(route, Route::Local(_)), "{ground:?}");
            let decision = &route.message().decision;
            prop_assert_eq!(decision.zone, Zone::Local);
            prop_assert_eq!(world.registry.lanes[&decision.lane].zone, Zone::Local);
            prop_assert_eq!(decision.screen.sensitivity, Sensitivity::Private);
            prop_assert_eq!(route.message().work.sensitivity, Some(Sensitivity::Private), "marked for good");
        }
    }

    #[test]
    fn what_goes_to_the_cloud_is_clean_and_fits_its_lane(
        work in work(), world in world(), returned in returned(),
    ) {
        if let Ok(route @ Route::Cloud(_)) = world.route(work, returned.as_ref()) {
            let message = route.message();
            prop_assert!(message.decision.screen.findings.is_empty());
            let is_clean = |message: &Message| Detectors::shared().scan(&message.content).is_empty();
            prop_assert!(message.work.messages.iter().all(is_clean));
            let lane = &world.registry.lanes[&message.decision.lane];
            prop_assert!(lane.models.contains(&message.decision.model));
        }
    }

    #[test]
    fn a_decision_is_whole_and_the_same_again(work in work(), world in world(), returned in returned()) {
        let first = world.route(work.clone(), returned.as_ref());
        let second = world.route(work, returned.as_ref());
        match (first, second) {
            (Ok(first), Ok(second)) => {
                let decision = &first.message().decision;
                prop_assert_eq!(decision, &second.message().decision);
                prop_assert!((0.0..=1.0).contains(&decision.score.complexity));
                prop_assert!(decision.propensity > 0.0 && decision.propensity <= 1.0, "{}", decision.propensity);
                prop_assert!((0.0..=1.0).contains(&decision.threshold));
                prop_assert!(decision.candidates.iter().all(|candidate| (0.0..=1.0).contains(&candidate.chance)));
                prop_assert!(decision.candidates.iter().all(|candidate| candidate.expected_cost_usd.is_finite()));
            }
            (Err(first), Err(second)) => prop_assert_eq!(format!("{first:?}"), format!("{second:?}")),
            _ => prop_assert!(false, "one routed, the other did not"),
        }
    }
}
