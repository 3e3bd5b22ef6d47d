//! Figures against weeks that can be worked out by hand.

use jiff::ToSpan;
use trilane_protocol::decision::{Candidate, CandidateVerdict, Score, ScoreSource, ScreenReport};
use trilane_protocol::learning::{EarlierAnswer, OutcomeSource, Signs, Verdict};
use trilane_protocol::outcome::Timing;
use trilane_protocol::{Decision, LaneName, Usage, Zone};

use super::flags::{CloudEvidence, LocalEvidence};
use super::*;
use crate::registry::{Backend, CloudModel, Lane, Model, Price, ServedModel};

/// What [`USAGE`] costs on the model of the cloud: 1,000 tokens at 3 and 100 at 15 dollars a million.
const CLOUD_USD: f64 = 0.0045;
const USAGE: Usage = Usage { prompt_tokens: 1_000, completion_tokens: 100, cached_tokens: 0 };

fn registry() -> Registry {
    let lane = |zone, model: &str, skill| Lane {
        zone,
        models: vec![model.parse().unwrap()],
        skill,
        max_in_flight: 1,
        ack_wait_s: 1,
        max_attempts: 1,
    };
    let served = Backend::LocalServer(ServedModel { base_url: String::new(), remote_name: String::new() });
    let price = Price { input_usd_per_mtok: 3.0, cached_input_usd_per_mtok: 0.3, output_usd_per_mtok: 15.0 };
    let sonnet = Backend::CloudApi(CloudModel {
        provider: "p".into(),
        remote_name: "s".into(),
        price,
        max_output_tokens: 100,
    });
    let model = |backend| Model { context_tokens: 4_096, slots: 1, backend };
    Registry {
        lanes: [
            ("local-fast".parse().unwrap(), lane(Zone::Local, "small", 0.3)),
            ("local-deep".parse().unwrap(), lane(Zone::Local, "large", 0.6)),
            ("cloud".parse().unwrap(), lane(Zone::Cloud, "sonnet", 1.0)),
        ]
        .into(),
        models: [
            ("small".parse().unwrap(), model(served.clone())),
            ("large".parse().unwrap(), model(served)),
            ("sonnet".parse().unwrap(), model(sonnet)),
        ]
        .into(),
        providers: BTreeMap::new(),
        agents: BTreeMap::new(),
    }
}

fn now() -> Timestamp {
    "2026-11-23T06:00:00Z".parse().unwrap()
}

fn lane(name: &str) -> LaneName {
    name.parse().unwrap()
}

/// Chances of 0.5, 0.8 and 0.95, of which a private task may have the first two.
fn decision(to: &str, sensitivity: Sensitivity) -> Decision {
    let candidate = |name, model: &str, chance, expected_cost_usd| Candidate {
        lane: lane(name),
        model: model.parse().unwrap(),
        chance,
        expected_cost_usd,
        verdict: if chance < 0.6 { CandidateVerdict::TooWeak } else { CandidateVerdict::Eligible },
    };
    let mut candidates =
        vec![candidate("local-fast", "small", 0.5, 0.0), candidate("local-deep", "large", 0.8, 0.0)];
    if sensitivity == Sensitivity::Public {
        candidates.push(candidate("cloud", "sonnet", 0.95, 0.01));
    }
    Decision {
        lane: lane(to),
        zone: if to == "cloud" { Zone::Cloud } else { Zone::Local },
        model: "small".parse().unwrap(),
        reason: Reason::GoodEnough,
        explanation: String::new(),
        screen: ScreenReport { sensitivity, findings: Vec::new() },
        score: Score {
            complexity: 0.5,
            source: ScoreSource::ColdStart,
            contributions: Vec::new(),
            prompt_tokens: 10,
        },
        threshold: 0.6,
        bar: None,
        candidates,
        adjustments: Vec::new(),
        propensity: 1.0,
        policy_version: "v1".into(),
        decided_at: now() - 50.hours(),
    }
}

/// A task that `to` has answered, for 2 dollars in the cloud.
fn result(id: &str, to: &str, sensitivity: Sensitivity) -> TaskResult {
    TaskResult {
        task_id: id.parse().unwrap(),
        agent: "sales".parse().unwrap(),
        task_seq: Some(7),
        status: Status::Done,
        text: Some("secret words".into()),
        finish: None,
        error: None,
        lane: Some(lane(to)),
        model: Some(if to == "cloud" { "sonnet" } else { "small" }.parse().unwrap()),
        signs: None,
        earlier: None,
        usage: USAGE,
        cost_usd: if to == "cloud" { 2.0 } else { 0.0 },
        timing_ms: Timing { queued: 10, waited: 20, first_token: None, run: 300 },
        attempts: 1,
        decision: Some(decision(to, sensitivity)),
        metadata: BTreeMap::new().into_iter().collect(),
        finished_at: now() - 49.hours(),
    }
}

fn public(id: &str, to: &str) -> TaskResult {
    result(id, to, Sensitivity::Public)
}

fn outcome(id: &str, on: &str, quality: f64, source: OutcomeSource) -> Outcome {
    Outcome {
        task_id: id.parse().unwrap(),
        agent: "sales".parse().unwrap(),
        task_seq: 7,
        lane: lane(on),
        zone: Zone::Local,
        model: "small".parse().unwrap(),
        quality,
        source,
        cost_usd: 0.0,
        propensity: 1.0,
        chance: 0.8,
        policy_version: "v1".into(),
        at: now(),
    }
}

/// The figures of a week with what `fill` puts into it.
fn figures(max_tasks: usize, fill: impl FnOnce(&mut Review<'_>)) -> Figures {
    let (registry, budgets) = (registry(), Budgets::default());
    let mut review = Review::new(Terms {
        registry: &registry,
        budgets: &budgets,
        since: now() - (7 * 24).hours(),
        until: now(),
        flags: 2,
        max_tasks,
        seed: 1,
    });
    fill(&mut review);
    review.conclude(&Book::default())
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn what_stayed_is_priced_by_its_own_tokens() {
    let figures = figures(100, |review| {
        review.take_result(&public("a", "local-fast"));
        // Of two answers the cloud would have given one.
        let first = EarlierAnswer {
            lane: lane("local-fast"),
            model: "small".parse().unwrap(),
            usage: USAGE,
            cost_usd: 0.0,
            signs: Signs::default(),
            reason: String::new(),
            propensity: 1.0,
            policy_version: "v1".into(),
            text: None,
            finish: None,
        };
        let twice = TaskResult {
            earlier: Some(Box::new(first)),
            usage: USAGE.plus(USAGE),
            ..public("b", "local-deep")
        };
        review.take_result(&twice);
        review.take_result(&result("c", "local-deep", Sensitivity::Private));
        review.take_result(&public("d", "cloud"));
        review.take_result(&TaskResult { status: Status::Failed, ..public("e", "local-fast") });
    });
    let savings = &figures.savings;
    assert_eq!((savings.public.tasks, savings.all.tasks), (2, 3));
    assert_near(savings.public.usd, 2.0 * CLOUD_USD);
    assert_near(savings.all.usd, 3.0 * CLOUD_USD);
    assert_near(savings.expected_public_usd, 0.02);
    assert!(savings.public.low_usd < savings.public.usd && savings.public.usd < savings.public.high_usd);
    assert_near(figures.totals.results_usd, 2.0);
    let cloud = &figures.lanes[0];
    assert_eq!(
        (cloud.name.as_str(), cloud.tasks, cloud.run_p95_ms, cloud.queued_p50_ms),
        ("cloud", 1, Some(300), Some(30))
    );
    assert_eq!((figures.totals.private, figures.totals.public), (1, 4));
    let up = &figures.escalated[0];
    assert_eq!((up.from.as_str(), up.to.as_str(), up.tasks, up.improved), ("local-fast", "local-deep", 1, 1));
}

#[test]
fn the_curve_ends_at_all_local_and_all_cloud() {
    let figures = figures(100, |review| {
        review.take_result(&public("a", "local-deep"));
        review.take_result(&public("b", "cloud"));
        review.take_result(&result("c", "local-deep", Sensitivity::Private));
    });
    let points = &figures.curve.points;
    let (first, last) = (points[0], points[points.len() - 1]);
    assert_eq!((first.threshold, first.cost_usd, first.cloud_share), (0.0, 0.0, 0.0));
    assert_near(first.quality, 0.5);
    assert_eq!(last.threshold, 1.0);
    assert_near(last.cost_usd, 0.02);
    assert_near(last.cloud_share, 2.0 / 3.0);
    assert_near(last.quality, (0.95 + 0.95 + 0.8) / 3.0);
    assert_near(figures.curve.at(0.7).unwrap().quality, 0.8);
    let today = figures.curve.today.unwrap();
    assert_near(today.threshold, 0.6);
    assert_near(today.cost_usd, 0.01);
    assert!(points.is_sorted_by(|left, right| left.cost_usd <= right.cost_usd));
}

#[test]
fn cloud_calls_that_could_have_stayed_are_sorted_by_dollars() {
    let figures = figures(100, |review| {
        for (id, cost_usd) in [("cheap", 1.0), ("dear", 3.0), ("shown", 2.0), ("refuted", 9.0)] {
            review.take_result(&TaskResult { cost_usd, ..public(id, "cloud") });
        }
        review.take_result(&TaskResult { cost_usd: 0.5, ..public("shown-2", "cloud") });
        review.take_outcome(&outcome("shown", "local-fast", 1.0, OutcomeSource::Shadow));
        review.take_outcome(&outcome("shown-2", "local-fast", 0.9, OutcomeSource::Shadow));
        review.take_outcome(&outcome("refuted", "local-deep", 0.0, OutcomeSource::Shadow));
    });
    let stayed = &figures.could_have_stayed;
    assert_eq!((stayed.tasks, stayed.usd, stayed.shown_tasks, stayed.shown_usd), (4, 6.5, 2, 2.5));
    let listed: Vec<_> = stayed.flags.iter().map(|flag| (flag.task_id.as_str(), flag.evidence)).collect();
    assert_eq!(listed, [("dear", CloudEvidence::Score), ("shown", CloudEvidence::Shadow)]);
    assert_eq!(stayed.flags[0].reason, "local-deep had 0.80, the bar was 0.60");
    assert_eq!((figures.shadows.judged, figures.shadows.would_do), (3, 2));
    assert_near(figures.shadows.would_do_usd, 2.5);
    assert_ne!(figures.advice.kind, AdviceKind::LowerBar, "three shadows say too little of the bar");
}

#[test]
fn shadows_that_would_have_done_call_for_a_lower_bar_and_those_that_would_not_do_not() {
    let week = |good: usize| {
        figures(100, |review| {
            for index in 0..12 {
                let id = format!("t{index}");
                review.take_result(&public(&id, "cloud"));
                let quality = if index < good { 1.0 } else { 0.0 };
                review.take_outcome(&outcome(&id, "local-fast", quality, OutcomeSource::Shadow));
            }
        })
    };
    let lower = week(9);
    assert_eq!(lower.advice.kind, AdviceKind::LowerBar);
    let said = "from 0.60 to 0.50: 9 cloud calls of agent sales worth $18.00 could have stayed";
    assert!(lower.summary[2].contains(said), "{}", lower.summary[2]);
    assert_eq!(week(3).advice.kind, AdviceKind::MoreEvidence);
}

#[test]
fn a_private_task_in_the_cloud_zone_is_named_first() {
    let leaked = figures(100, |review| review.take_result(&result("a", "cloud", Sensitivity::Private)));
    assert_eq!(leaked.totals.private_in_cloud, 1);
    assert!(leaked.summary[0].contains("1 PRIVATE TASK ENDED IN THE CLOUD ZONE"), "{}", leaked.summary[0]);
}

#[test]
fn a_near_miss_is_one_and_what_lies_further_below_is_none() {
    let with = |chance: f64| {
        let mut result = public("a", "cloud");
        let decision = result.decision.as_mut().unwrap();
        decision.candidates[1].chance = chance;
        figures(100, |review| review.take_result(&result)).could_have_stayed.tasks
    };
    assert_eq!([with(0.56), with(0.54)], [1, 0]);
}

#[test]
fn local_answers_that_should_have_gone_up_begin_with_the_weightiest_evidence() {
    let signs = |signs: Signs, id: &str| TaskResult { signs: Some(signs), ..public(id, "local-fast") };
    let refused = Signs { refused: true, ..Signs::default() };
    let figures = figures(100, |review| {
        review.take_result(&signs(refused.clone(), "refused"));
        review.take_result(&signs(refused, "accepted"));
        review.take_result(&signs(Signs { repetition: 0.9, ..Signs::default() }, "again"));
        review.take_result(&public("rejected", "local-fast"));
        review.take_result(&public("fine", "local-fast"));
        let agent: AgentName = "sales".parse().unwrap();
        let mut say = |id: &str, verdict| {
            review.take_feedback(agent.clone(), id.parse().unwrap(), Feedback::Verdict(verdict));
        };
        say("rejected", Verdict::Reject);
        say("accepted", Verdict::Accept);
    });
    let up = &figures.should_have_gone_up;
    let listed: Vec<_> = up.flags.iter().map(|flag| (flag.task_id.as_str(), flag.evidence)).collect();
    assert_eq!(listed, [("rejected", LocalEvidence::Feedback), ("again", LocalEvidence::Signs)]);
    assert_eq!(up.tasks, 3);
    assert_eq!(up.by_evidence, [("feedback", 1), ("signs", 2)].into());
}

#[test]
fn of_several_sources_the_weightiest_counts() {
    let figures = figures(100, |review| {
        review.take_result(&public("a", "local-fast"));
        review.take_outcome(&outcome("a", "local-fast", 0.0, OutcomeSource::Signs));
        review.take_outcome(&outcome("a", "local-fast", 1.0, OutcomeSource::Validators));
        review.take_result(&public("b", "local-fast"));
        review.take_outcome(&outcome("b", "local-fast", 1.0, OutcomeSource::Validators));
        review.take_feedback("sales".parse().unwrap(), "b".parse().unwrap(), Feedback::Quality(0.2));
        // Of a task that is not of this time.
        review.take_outcome(&outcome("z", "local-fast", 0.0, OutcomeSource::Feedback));
    });
    assert_eq!(figures.quality.by_source, [("validators", 1), ("feedback", 1)].into());
    assert_near(figures.quality.mean.unwrap(), 0.6);
    assert_eq!(figures.quality, figures.agents[0].quality);
    assert_eq!(figures.drift.halves.iter().map(|half| half.outcomes).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn an_empty_week_and_one_of_one_task_have_no_figure_that_is_none() {
    let empty = figures(100, |_| {});
    assert_eq!((empty.advice.kind, empty.summary.len()), (AdviceKind::NoTasks, 1));
    let without_decision = TaskResult::without_answer(
        "sales".parse().unwrap(),
        "x".parse().unwrap(),
        None,
        Status::Rejected,
        trilane_protocol::outcome::TaskError::new("invalid_task", "m"),
        now(),
    );
    let mut broken = public("a", "cloud");
    broken.cost_usd = f64::NAN;
    let decision = broken.decision.as_mut().unwrap();
    decision.threshold = f64::NAN;
    decision.candidates[0].chance = f64::INFINITY;
    decision.candidates[2].expected_cost_usd = f64::NAN;
    for week in [
        empty,
        figures(100, |review| review.take_result(&public("a", "cloud"))),
        figures(100, |review| review.take_result(&without_decision)),
        figures(100, |review| review.take_result(&broken)),
    ] {
        let shown = format!("{week:?}");
        assert!(!shown.contains("NaN") && !shown.contains("inf"), "{shown}");
        assert!(!week.summary.is_empty());
    }
}

#[test]
fn no_text_of_a_task_is_kept() {
    let figures = figures(100, |review| review.take_result(&public("a", "cloud")));
    assert!(!format!("{figures:?}").contains("secret"));
}

#[test]
fn beyond_its_room_the_review_scales_a_share_up() {
    let figures = figures(100, |review| {
        (0..1_000).for_each(|index| review.take_result(&public(&format!("t{index}"), "local-fast")));
    });
    let Coverage { tasks, held, one_in } = figures.coverage;
    assert_eq!(tasks, 1_000);
    assert!(held <= 100 && one_in >= 8, "{held}, {one_in}");
    assert_eq!((figures.totals.done, figures.lanes[0].tasks), (1_000, held * one_in));
    assert_near(figures.savings.public.usd, (held * one_in) as f64 * CLOUD_USD);
}

#[test]
fn the_judge_s_own_tasks_are_neither_saved_nor_flagged() {
    let judge = |id, to| TaskResult { agent: JUDGE.parse().unwrap(), ..public(id, to) };
    let figures = figures(100, |review| {
        review.take_result(&judge("a", "local-deep"));
        review.take_result(&judge("b", "cloud"));
    });
    assert_eq!((figures.savings.all.tasks, figures.could_have_stayed.tasks, figures.curve.tasks), (0, 0, 0));
    assert_eq!(figures.totals.judge_usd, 2.0);
}

#[test]
fn the_first_decision_counts_and_another_task_s_does_not() {
    let record = |hop, task_seq, to: &str| RouteRecord {
        task_id: "a".parse().unwrap(),
        agent: "sales".parse().unwrap(),
        hop,
        step: None,
        task_seq,
        prompt_bytes: 1,
        classifier: "c".into(),
        decision: decision(to, Sensitivity::Public),
    };
    let chosen = |records: &[RouteRecord]| {
        let figures = figures(100, |review| {
            review.take_result(&public("a", "cloud"));
            records.iter().for_each(|record| review.take_route(record));
        });
        figures.drift.days[0].by_lane.keys().next().unwrap().clone()
    };
    assert_eq!(chosen(&[record(0, 7, "local-fast"), record(1, 7, "local-deep")]), "local-fast");
    assert_eq!(chosen(&[record(0, 8, "local-fast")]), "cloud");
    let mut shadow = record(0, 7, "local-fast");
    shadow.decision.reason = Reason::Shadowed;
    assert_eq!(chosen(&[shadow]), "cloud");
}

#[test]
fn a_router_that_always_says_the_same_is_called_a_constant() {
    let week = |others: usize| {
        figures(1_000, |review| {
            (0..100).for_each(|index| {
                let to = if index < others { "cloud" } else { "local-deep" };
                review.take_result(&public(&format!("t{index}"), to));
            });
        })
        .drift
        .constant
        .is_constant
    };
    assert_eq!([week(0), week(1), week(10)], [Some(true), Some(true), Some(false)]);
}

#[test]
fn bad_local_answers_call_for_a_higher_bar() {
    let figures = figures(1_000, |review| {
        for index in 0..60 {
            let id = format!("t{index}");
            review.take_result(&public(&id, "local-deep"));
            review.take_outcome(&outcome(
                &id,
                "local-deep",
                f64::from(index % 4 == 0),
                OutcomeSource::Validators,
            ));
        }
    });
    assert_eq!(figures.advice.kind, AdviceKind::RaiseBar);
    assert!(figures.summary[2].contains("from 0.60 to 0.90"), "{}", figures.summary[2]);
    // 0.8 was promised, 0.25 came of it: the curve is corrected.
    assert_eq!(figures.curve.corrected_lanes, ["local-deep"]);
    assert_near((figures.curve.today.unwrap().quality * 1e6).round() / 1e6, 0.25);
    assert_near(figures.drift.calibration_error.unwrap(), 0.55);
}
