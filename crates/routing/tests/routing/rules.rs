//! Each rule of routing, one table each.

use std::sync::Arc;

use trilane_protocol::ledger::{Amounts, Book, DayBook};
use trilane_protocol::work::{RerouteCause, Spent};
use trilane_protocol::{Sensitivity, Usd, Work};
use trilane_routing::pipeline::Pipeline;
use trilane_routing::policy::{Fallback, LocalFallback, PrivatePin};
use trilane_routing::route::Returned;

use crate::support::{World, lane, private, public};

fn assert_routes(world: &World, work: Work, expected: (&str, &str)) {
    let found = world.outcome(work, None);
    assert_eq!((found.0.as_str(), found.1.as_str()), expected);
}

#[test]
fn the_cheapest_lane_that_is_good_enough_is_chosen() {
    let world = World::shipped();
    for (complexity, lane) in [
        (0.0, "local-fast"),
        (0.34, "local-fast"),
        (0.36, "local-deep"),
        (0.6, "local-deep"),
        (0.61, "cloud"),
        (1.0, "cloud"),
    ] {
        assert_routes(&world, public("x", complexity), (lane, "good_enough"));
    }
}

#[test]
fn private_work_takes_the_strongest_local_lane_where_none_is_good_enough() {
    let world = World::shipped();
    assert_routes(&world, private("x", 0.1), ("local-fast", "good_enough"));
    assert_routes(&world, private("x", 0.5), ("local-deep", "good_enough"));
    assert_routes(&world, private("x", 1.0), ("local-deep", "strongest"));
}

#[test]
fn silence_is_filled_by_the_agent_and_then_by_the_policy() {
    let silent = || Work { sensitivity: None, ..public("x", 1.0) };
    let mut world = World::shipped();
    assert_routes(&world, silent(), ("local-deep", "strongest"));
    world.agent.sensitivity = Some(Sensitivity::Public);
    assert_routes(&world, silent(), ("cloud", "good_enough"));
    world.agent.sensitivity = Some(Sensitivity::Private);
    assert_routes(&world, silent(), ("local-deep", "strongest"));
    world.agent.sensitivity = None;
    world.policy.untagged = Sensitivity::Public;
    assert_routes(&world, silent(), ("cloud", "good_enough"));
}

#[test]
fn a_private_tag_counts_whatever_its_case_and_the_task_s_own_word() {
    let world = World::shipped();
    let tagged = |tag: &str| Work { tags: vec![tag.to_owned()], ..public("x", 1.0) };
    for spelled in [
        " LEGAL ",
        "#legal",
        "-legal",
        "le\u{200b}gal",
        "Client Document",
        "client_document",
        "client.document",
        "client/document",
        "client--document",
    ] {
        assert_routes(&world, tagged(spelled), ("local-deep", "strongest"));
    }
    assert_routes(&world, tagged("newsletter"), ("cloud", "good_enough"));
}

#[test]
fn a_pin_holds_within_the_zone() {
    let mut world = World::shipped();
    let pinned = |work: Work, model: &str| Work { model: Some(model.parse().unwrap()), ..work };
    assert_routes(&world, pinned(public("x", 0.0), "gpt-4o"), ("cloud", "pinned"));
    assert_routes(&world, pinned(private("x", 1.0), "smollm2-135m"), ("local-fast", "pinned"));
    assert_routes(&world, pinned(private("x", 0.0), "gpt-4o"), ("local-deep", "private_pin"));
    world.policy.private_pin = PrivatePin::Reject;
    assert_routes(&world, pinned(private("x", 0.0), "gpt-4o"), ("rejected", "private_pin"));
}

#[test]
fn a_prompt_goes_only_where_it_fits() {
    let world = World::shipped();
    let long = "word ".repeat(20_000);
    assert_routes(&world, public(&long, 0.0), ("cloud", "good_enough"));
    assert_routes(&world, private(&long, 0.0), ("rejected", "prompt_too_long"));
    let mut answer = public("x", 0.0);
    answer.generation.max_tokens = Some(20_000);
    assert_routes(&world, answer, ("cloud", "good_enough"));
}

#[test]
fn a_ceiling_counts_what_was_spent_before() {
    let world = World::shipped();
    let with = |ceiling, spent| Work {
        max_cost_usd: Some(ceiling),
        spent: Spent { cost_usd: spent, ..Spent::default() },
        ..public("x", 1.0)
    };
    assert_routes(&world, with(1.0, 0.0), ("cloud", "good_enough"));
    assert_routes(&world, with(1.0, 0.9999), ("local-deep", "strongest"));
    assert_routes(&world, with(0.0, 0.0), ("local-deep", "strongest"));
    let pinned = Work { model: Some("gpt-4o".parse().unwrap()), ..with(0.0, 0.0) };
    assert_routes(&world, pinned, ("rejected", "over_max_cost"));
}

#[test]
fn a_cloud_lane_that_is_not_to_be_had_parks_degrades_or_rejects() {
    let mut world = World::shipped();
    for (fallback, expected) in [
        (Fallback::Park, ("cloud", "good_enough")),
        (Fallback::Degrade, ("local-deep", "no_worker")),
        (Fallback::Reject, ("rejected", "no_worker")),
    ] {
        world.lane("cloud").served.clear();
        world.policy.adjust.cloud_without_worker = fallback;
        assert_routes(&world, public("x", 1.0), expected);
    }
}

/// A call of `x` may cost at most 512 tokens of 15 dollars a million and 9 of 3 dollars.
const BOUND: f64 = (512.0 * 15.0 + 9.0 * 3.0) / 1e6;

#[test]
fn a_spent_budget_parks_degrades_or_rejects_public_work_and_nothing_else() {
    let mut world = World::shipped();
    for (total, own) in [(Some(BOUND - 1e-9), None), (None, Some(BOUND - 1e-9))] {
        world.allow(total, "a", own);
        assert_routes(&world, public("x", 1.0), ("local-deep", "budget_spent"));
        assert_routes(&world, public("x", 0.1), ("local-fast", "good_enough"));
        assert_routes(&world, private("x", 1.0), ("local-deep", "strongest"));
    }
    for (total, agent, own) in [(Some(BOUND), "a", Some(BOUND)), (None, "b", Some(0.0))] {
        world.allow(total, agent, own);
        assert_routes(&world, public("x", 1.0), ("cloud", "good_enough"));
    }
    world.allow(Some(0.0), "a", None);
    world.policy.adjust.budget_spent = Fallback::Reject;
    assert_routes(&world, public("x", 1.0), ("rejected", "budget_spent"));
}

#[test]
fn a_parked_task_waits_until_the_day_turns_also_when_a_worker_gave_it_back() {
    let mut world = World::shipped();
    world.policy.adjust.budget_spent = Fallback::Park;
    world.allow(Some(BOUND), "a", None);
    let book = Book {
        days: [("1970-01-01".parse().unwrap(), DayBook { total: amounts(1), agents: [].into() })].into(),
    };
    world.fleet.spending.book = Arc::new(book);
    assert_routes(&world, public("x", 1.0), ("parked", "1970-01-02T00:00:00Z"));
    assert_routes(&world, private("x", 1.0), ("local-deep", "strongest"));
    let cause = RerouteCause::Degrade { reason: "the budget is spent".into() };
    let returned = Returned { lane: lane("cloud"), cause };
    assert_eq!(world.outcome(public("x", 1.0), Some(&returned)).0, "parked");
    assert_eq!(world.outcome(private("x", 1.0), Some(&returned)).0, "local-deep");
    world.allow(Some(BOUND / 2.0), "a", None);
    assert_routes(&world, public("x", 1.0), ("rejected", "budget_spent"));
}

fn amounts(settled: u64) -> Amounts {
    Amounts { settled: Usd::from_nanos(settled), reserved: Usd::ZERO }
}

#[test]
fn a_busy_local_lane_parks_or_spills_and_a_pin_stays() {
    let mut world = World::shipped();
    world.lane("local-fast").waiting = 10_000;
    assert_routes(&world, public("x", 0.1), ("local-fast", "good_enough"));
    world.policy.adjust.local_saturated = LocalFallback::Spill;
    assert_routes(&world, public("x", 0.1), ("local-deep", "saturated"));
    assert_routes(&world, private("x", 0.1), ("local-deep", "saturated"));
    let pinned = Work { model: Some("smollm2-135m".parse().unwrap()), ..public("x", 0.1) };
    assert_routes(&world, pinned, ("local-fast", "pinned"));
    world.lane("local-deep").served.clear();
    assert_routes(&world, private("x", 0.1), ("local-fast", "good_enough"));
}

#[test]
fn what_comes_back_goes_down_or_up_within_its_zone() {
    let world = World::shipped();
    let returned = |from: &str, cause| Returned { lane: lane(from), cause };
    let degrade = || RerouteCause::Degrade { reason: "the key was refused".into() };
    let escalate = || RerouteCause::Escalate { reason: "it did not fit".into() };
    let cases = [
        (public("x", 1.0), returned("cloud", degrade()), ("local-deep", "degraded")),
        (public("x", 0.1), returned("local-fast", escalate()), ("local-deep", "escalated")),
        (public("x", 0.1), returned("local-deep", escalate()), ("cloud", "escalated")),
        (public("x", 0.1), returned("cloud", escalate()), ("rejected", "no_stronger_lane")),
        (private("x", 0.1), returned("local-fast", escalate()), ("local-deep", "escalated")),
        (private("x", 0.1), returned("local-deep", escalate()), ("rejected", "no_stronger_lane")),
    ];
    for (work, returned, expected) in cases {
        let found = world.outcome(Work { hop: 1, ..work }, Some(&returned));
        assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{returned:?}");
    }
}

#[test]
fn a_decision_records_what_it_rests_on() {
    let mut world = World::shipped();
    world.lane("cloud").served.clear();
    let route = world.route(public("x", 1.0), None).unwrap();
    let decision = &route.message().decision;
    assert_eq!(decision.candidates.len(), 3);
    assert_eq!(decision.adjustments[0].from, lane("cloud"));
    assert_eq!(decision.adjustments[0].to, lane("local-deep"));
    assert!(decision.explanation.contains("no live worker of `cloud`"), "{}", decision.explanation);
    let cold = world.route(Work { complexity: None, ..public("Why? Prove it.", 0.0) }, None).unwrap();
    assert!(!cold.message().decision.score.contributions.is_empty());
}

#[test]
fn a_secret_cut_in_two_is_still_there() {
    let world = World::shipped();
    let mut stops = public("x", 1.0);
    stops.generation.stop = vec!["4111 1111 ".into(), "1111 1111".into()];
    assert_routes(&world, stops, ("local-deep", "strongest"));
    let mut turns = public("NN7EXAMPLE", 1.0);
    turns.messages.insert(0, public("AKIAIOSFOD", 1.0).messages.remove(0));
    assert_routes(&world, turns.clone(), ("local-deep", "strongest"));
    turns.messages[0].content.insert_str(0, &"Überlänge ".repeat(400));
    turns.messages[1].content.push_str(&" Überlänge".repeat(400));
    // Wherever the long parts are cut, also in the middle of a letter.
    for _ in 0.."Überlänge ".len() {
        turns.messages[0].content.insert(0, 'x');
        turns.messages[1].content.push('x');
        assert_routes(&world, turns.clone(), ("local-deep", "strongest"));
    }
    let tagged =
        |tags: &[&str]| Work { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..public("x", 1.0) };
    assert_routes(&world, tagged(&["4111 1111 ", "1111 1111"]), ("local-deep", "strongest"));
    assert_routes(&world, tagged(&["4111 1111 ", "1111 1112"]), ("cloud", "good_enough"));
}

#[test]
fn a_lane_is_weighed_by_the_first_model_that_somebody_serves() {
    let mut world = World::shipped();
    world.lane("cloud").served = vec!["gpt-4o".parse().unwrap()];
    let route = world.route(public("x", 1.0), None).unwrap();
    assert_eq!(route.message().decision.model.as_str(), "gpt-4o");
    assert_eq!(route.message().decision.lane, lane("cloud"));
}

#[test]
fn a_step_that_was_private_taints_its_pipeline() {
    let world = World::shipped();
    let step = |name: &str| serde_json::json!({"name": name, "prompt": "x"});
    let task = serde_json::json!({"prompt": "x", "sensitivity": "public", "steps": [step("a"), step("b")]});
    let mut pipeline = Pipeline::new(serde_json::from_value(task).unwrap(), public("x", 1.0));
    let next = |pipeline: &Pipeline| {
        pipeline.next_work(0, Spent::default(), &world.registry, &world.policy).unwrap().0
    };
    let first = next(&pipeline);
    assert_eq!(first.sensitivity, Some(Sensitivity::Public));
    pipeline.finish_step(&Work { sensitivity: Some(Sensitivity::Private), ..first }, "text".into());
    assert_eq!(next(&pipeline).sensitivity, Some(Sensitivity::Private));
}
