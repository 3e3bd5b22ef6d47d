//! What is learned from which result.

use trilane_protocol::decision::{Adjustment, Candidate, CandidateVerdict, Score, ScreenReport};
use trilane_protocol::learning::Verdict;
use trilane_protocol::outcome::{Timing, Usage};
use trilane_protocol::validator::ValidatorKind;

use super::*;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn lane(name: &str) -> LaneName {
    name.parse().unwrap()
}

pub(crate) fn decision(name: &str, zone: Zone, propensity: f64) -> Decision {
    let candidate = |name: &str, chance, expected_cost_usd| Candidate {
        lane: lane(name),
        model: "m".parse().unwrap(),
        chance,
        expected_cost_usd,
        verdict: CandidateVerdict::Eligible,
    };
    Decision {
        lane: lane(name),
        zone,
        model: "m".parse().unwrap(),
        reason: Reason::GoodEnough,
        explanation: String::new(),
        screen: ScreenReport { sensitivity: Sensitivity::Public, findings: Vec::new() },
        score: Score {
            complexity: 0.5,
            source: ScoreSource::Learned,
            contributions: Vec::new(),
            prompt_tokens: 1,
        },
        threshold: 0.5,
        bar: None,
        candidates: vec![
            candidate("local-fast", 0.6, 0.0),
            candidate("local-deep", 0.7, 0.0),
            candidate("cloud", 0.9, 0.02),
        ],
        adjustments: Vec::new(),
        propensity,
        policy_version: "shipped-1+w2".into(),
        decided_at: AT,
    }
}

pub(crate) fn result(decision: Decision, signs: Option<Signs>) -> TaskResult {
    TaskResult {
        task_id: "t".parse().unwrap(),
        agent: "sample".parse().unwrap(),
        task_seq: Some(5),
        status: Status::Done,
        text: Some("x".into()),
        finish: None,
        error: None,
        lane: Some(decision.lane.clone()),
        model: Some("m".parse().unwrap()),
        signs,
        earlier: None,
        usage: Usage::default(),
        cost_usd: 0.03,
        timing_ms: Timing::default(),
        attempts: 1,
        decision: Some(decision),
        metadata: serde_json::Map::new(),
        finished_at: AT,
    }
}

fn local(signs: Signs) -> TaskResult {
    result(decision("local-fast", Zone::Local, 0.9), Some(signs))
}

fn taken(result: &TaskResult, is_kept_short: bool) -> Vec<Judged> {
    of_result(result, is_kept_short, |_| Some(Zone::Local), AT)
}

fn failed() -> Signs {
    Signs { failed: vec![ValidatorKind::Regex], passed: 1, ..Signs::default() }
}

#[test]
fn signs_and_validators_speak_and_a_plain_answer_does_not() {
    use OutcomeSource::{Signs as Form, Validators};
    let plain = Signs::default;
    for (signs, is_kept_short, wanted) in [
        (plain(), false, None),
        (Signs { passed: 2, ..plain() }, false, Some((1.0, Validators))),
        (failed(), false, Some((0.0, Validators))),
        (Signs { refused: true, passed: 1, ..plain() }, false, Some((1.0, Validators))),
        (Signs { refused: true, ..plain() }, false, Some((0.0, Form))),
        (Signs { truncated: true, ..plain() }, false, Some((0.0, Form))),
        (Signs { truncated: true, ..plain() }, true, None),
        (Signs { repetition: 0.6, ..plain() }, false, Some((0.0, Form))),
        (Signs { repetition: 0.4, ..plain() }, false, None),
        (Signs { mean_logprob: Some(-9.0), ..plain() }, false, None),
    ] {
        let found = taken(&local(signs.clone()), is_kept_short);
        let found = found.first().map(|judged| (judged.outcome.quality, judged.outcome.source));
        assert_eq!(found, wanted, "{signs:?}");
    }
}

#[test]
fn what_ended_without_an_answer_teaches_nothing() {
    for status in [Status::Failed, Status::Expired, Status::Cancelled, Status::Rejected] {
        let ended = TaskResult { status, ..local(failed()) };
        assert_eq!(taken(&ended, false), []);
        assert!(!may_say_something(&ended) && of_feedback(&ended, Feedback::Quality(1.0), AT).is_none());
    }
    let unrouted = TaskResult { decision: None, ..local(failed()) };
    assert_eq!(taken(&unrouted, false), []);
}

#[test]
fn feedback_is_its_number_and_what_is_none_is_refused() {
    let quality = |feedback| Some(of_feedback(&local(Signs::default()), feedback, AT)?.outcome.quality);
    assert_eq!(quality(Feedback::Verdict(Verdict::Accept)), Some(1.0));
    assert_eq!(quality(Feedback::Verdict(Verdict::Reject)), Some(0.0));
    assert_eq!(quality(Feedback::Quality(0.25)), Some(0.25));
    assert_eq!([quality(Feedback::Quality(1.5)), quality(Feedback::Quality(f64::NAN))], [None, None]);
}

#[test]
fn an_outcome_says_what_was_promised_paid_and_drawn() {
    let judged = of_feedback(&local(Signs::default()), Feedback::Quality(1.0), AT).unwrap();
    let Outcome { chance, propensity, cost_usd, policy_version, task_seq, .. } = judged.outcome.clone();
    assert_eq!(
        (chance, propensity, cost_usd, policy_version.as_str(), task_seq),
        (0.6, 0.9, 0.03, "shipped-1+w2", 5)
    );
    assert!((judged.weight() - FEEDBACK_WEIGHT / 0.9).abs() < 1e-12, "a rare choice counts for more");
}

#[test]
fn no_sign_on_a_rare_lane_outweighs_a_person() {
    let rare = |signs| result(decision("local-fast", Zone::Local, 0.01), signs);
    let by_sign = taken(&rare(Some(Signs { refused: true, ..Signs::default() })), false).remove(0);
    let often = local(Signs::default());
    let by_person = of_feedback(&often, Feedback::Quality(1.0), AT).unwrap();
    assert!(by_sign.drawn.is_some() && by_sign.weight() < by_person.weight());
    let rare_person = of_feedback(&rare(None), Feedback::Quality(1.0), AT).unwrap();
    assert!((rare_person.weight() - FEEDBACK_WEIGHT * MAX_INVERSE_PROPENSITY).abs() < 1e-12);
}

#[test]
fn what_was_not_drawn_teaches_with_its_own_weight_and_is_no_trial() {
    let drawn = decision("local-fast", Zone::Local, 0.1);
    let moved = Adjustment { from: lane("cloud"), to: lane("local-fast"), cause: Reason::Degraded };
    let by_producer = Score { source: ScoreSource::Producer, ..drawn.score.clone() };
    for decision in [
        Decision { reason: Reason::Pinned, ..drawn.clone() },
        Decision { reason: Reason::Escalated, ..drawn.clone() },
        Decision { reason: Reason::Degraded, adjustments: vec![moved], ..drawn.clone() },
        Decision { propensity: 1.0, ..drawn.clone() },
        Decision { score: by_producer, ..drawn.clone() },
    ] {
        let judged = of_feedback(&result(decision, None), Feedback::Quality(1.0), AT).unwrap();
        assert_eq!((judged.drawn.is_some(), judged.outcome.propensity), (false, 1.0));
        assert!((judged.weight() - FEEDBACK_WEIGHT).abs() < 1e-12);
    }
    let explored = Decision { reason: Reason::Explored, ..drawn };
    assert!(of_feedback(&result(explored, None), Feedback::Quality(1.0), AT).unwrap().drawn.is_some());
}

#[test]
fn the_answer_before_is_an_outcome_of_its_lane_and_each_pays_for_itself() {
    let earlier = |signs| EarlierAnswer {
        lane: lane("local-fast"),
        model: "m".parse().unwrap(),
        usage: Usage::default(),
        cost_usd: 0.01,
        signs,
        reason: "it failed its regex".into(),
        propensity: 0.5,
        policy_version: "shipped-1+w1".into(),
        text: None,
        finish: None,
    };
    let decision = Decision { reason: Reason::Escalated, ..decision("local-deep", Zone::Local, 1.0) };
    let both = |signs| TaskResult {
        earlier: Some(Box::new(earlier(signs))),
        ..result(decision.clone(), Some(Signs { passed: 1, ..Signs::default() }))
    };
    let judged = taken(&both(failed()), false);
    let shown: Vec<_> = judged
        .iter()
        .map(|Judged { outcome, drawn }| {
            (outcome.lane.as_str(), outcome.quality, outcome.source, drawn.is_some())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("local-fast", 0.0, OutcomeSource::Validators, true),
            ("local-deep", 1.0, OutcomeSource::Validators, false)
        ]
    );
    assert!(
        (judged[0].outcome.cost_usd - 0.01).abs() < 1e-12
            && (judged[1].outcome.cost_usd - 0.02).abs() < 1e-12
    );
    assert_eq!(judged[0].outcome.policy_version, "shipped-1+w1");
    let by_signs = taken(&both(Signs { refused: true, ..Signs::default() }), false);
    assert_eq!(by_signs[0].outcome.source, OutcomeSource::Signs);
}

#[test]
fn only_what_the_cloud_answered_in_public_is_shadowed() {
    let cloud = || decision("cloud", Zone::Cloud, 1.0);
    assert!(is_public_cloud(&result(cloud(), None)));
    assert!(!is_public_cloud(&local(Signs::default())));
    let screen = ScreenReport { sensitivity: Sensitivity::Private, findings: Vec::new() };
    assert!(!is_public_cloud(&result(Decision { screen, ..cloud() }, None)));
    assert!(!is_public_cloud(&TaskResult { status: Status::Failed, ..result(cloud(), None) }));
}
