//! How decisions are told, with the text and without.

use trilane_protocol::decision::{Contribution, Finding, Reason, ScoreSource};
use trilane_protocol::learning::EarlierAnswer;
use trilane_protocol::outcome::Timing;
use trilane_protocol::validator::ValidatorKind;
use trilane_protocol::{Generation, Message, Role, Status, Usage, Zone};
use trilane_routing::features::extract;

use super::*;

fn lane(name: &str) -> LaneName {
    name.parse().unwrap()
}

fn decision(sensitivity: Sensitivity) -> Decision {
    let candidate = |name: &str, chance, cost, verdict| Candidate {
        lane: lane(name),
        model: "m".parse().unwrap(),
        chance,
        expected_cost_usd: cost,
        verdict,
    };
    Decision {
        lane: lane("cloud"),
        zone: Zone::Cloud,
        model: "claude".parse().unwrap(),
        reason: Reason::Escalated,
        explanation: "the answer failed its regex; the next stronger lane takes it".into(),
        screen: ScreenReport {
            sensitivity,
            findings: vec![Finding { source: FindingSource::Tag, kind: "legal".into(), count: 1 }],
        },
        score: Score {
            complexity: 0.4,
            source: ScoreSource::Learned,
            contributions: vec![Contribution { feature: "reasoning_words".into(), log_odds: 1.25 }],
            prompt_tokens: 9,
        },
        threshold: 0.5,
        bar: None,
        candidates: vec![
            candidate("local-deep", 0.31, 0.0, CandidateVerdict::TooWeak),
            candidate("cloud", 0.93, 0.004, CandidateVerdict::Eligible),
        ],
        adjustments: vec![Adjustment {
            from: lane("local-deep"),
            to: lane("cloud"),
            cause: Reason::Escalated,
        }],
        propensity: 1.0,
        policy_version: "shipped-1+w3".into(),
        decided_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn result(decision: &Decision) -> TaskResult {
    let earlier = EarlierAnswer {
        lane: lane("local-deep"),
        model: "small".parse().unwrap(),
        usage: Usage::default(),
        cost_usd: 0.0,
        signs: Signs { failed: vec![ValidatorKind::Regex], ..Signs::default() },
        reason: "the answer failed its regex".into(),
        propensity: 0.9,
        policy_version: "shipped-1+w3".into(),
        text: None,
        finish: None,
    };
    TaskResult {
        task_id: "t-1".parse().unwrap(),
        agent: "sample".parse().unwrap(),
        task_seq: Some(1),
        status: Status::Done,
        text: Some("x".into()),
        finish: None,
        error: None,
        lane: Some(lane("cloud")),
        model: Some("claude".parse().unwrap()),
        signs: None,
        earlier: Some(Box::new(earlier)),
        usage: Usage::default(),
        cost_usd: 0.005,
        timing_ms: Timing::default(),
        attempts: 2,
        decision: Some(decision.clone()),
        metadata: serde_json::Map::new(),
        finished_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn known() -> (Vec<Message>, Weights) {
    let messages = vec![Message { role: Role::User, content: "Prove Fermat".into() }];
    let mut weights = Weights::default();
    weights.learn(&extract(&messages, &Generation::default()), &lane("cloud"), 1.0, 1.0).unwrap();
    (messages, weights)
}

#[test]
fn a_public_task_is_told_by_its_words() {
    let (messages, weights) = known();
    let decision = decision(Sensitivity::Public);
    let known = Known::Text(messages, Generation::default(), "kept, the task is public");
    let told = told(&result(&decision), &decision, &known, &weights, None, Vec::new());
    let text = words(&told);
    for wanted in [
        "task t-1 of sample: done on `cloud` (claude), escalated",
        "moved from `local-deep` to `cloud`: escalated",
        "public: it may leave the local zone",
        "a tag: legal (1)",
        "+1.25  reasoning_words",
        " * cloud          0.93    $0.0040  good enough",
        "by policy shipped-1+w3",
        "from 1 outcomes",
        "any task",
        "local-deep (small), $0",
        "the answer failed its regex",
        "nobody has judged it",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!told.heads[0].parts.is_empty());
}

#[test]
fn of_a_private_task_no_word_is_told() {
    let (messages, weights) = known();
    let decision = decision(Sensitivity::Private);
    let features = Known::Features(Box::new(extract(&messages, &Generation::default())));
    let told = told(&result(&decision), &decision, &features, &weights, None, Vec::new());
    assert!(told.heads[0].parts.is_empty() && told.heads[0].bias.is_none());
    assert_eq!(told.hashed_words, Some(3), "two words and their pair");
    let text = words(&told) + &serde_json::to_string(&told).unwrap();
    assert!(text.contains("--task FILE") && text.contains("only ever shown local lanes"), "{text}");
    assert!(!text.to_lowercase().contains("fermat"), "{text}");
}
