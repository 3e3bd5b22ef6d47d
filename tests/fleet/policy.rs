//! What was learned reaches the classifiers: stored, followed within moments, refused where it does not read, rolled back.

use jiff::Timestamp;
use serde_json::json;
use trilane_protocol::decision::{Decision, ScoreSource};
use trilane_protocol::{Generation, LaneName, Message, Role};
use trilane_routing::features::extract;
use trilane_routing::learn::Weights;
use trilane_routing::snapshot::{By, InForce, Manifest};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::trilane;

const PROMPT: &str = "hello";

/// Outcomes that the weights have seen, far more than the policy wants.
const OUTCOMES: u64 = 2_000;

/// Weights that have seen one lane fail at the prompt, again and again.
fn learned_against(lane: &str) -> Weights {
    let message = Message { role: Role::User, content: PROMPT.into() };
    let features = extract(&[message], &Generation::default());
    let lane: LaneName = lane.parse().unwrap();
    let mut weights = Weights::default();
    for _ in 0..OUTCOMES {
        weights.learn(&features, &lane, 0.0, 1.0).unwrap();
    }
    weights
}

async fn store(fleet: &Fleet, version: u64, weights: &Weights) {
    let manifest = Manifest::of(version, Timestamp::now(), OUTCOMES, version - 1, weights);
    fleet.broker.store_policy(&manifest, weights).await.unwrap();
}

async fn put_in_force(fleet: &Fleet, version: u64) {
    let (before, revision) = fleet.broker.policy_in_force().await.unwrap();
    let in_force = InForce {
        version,
        since: Timestamp::now(),
        by: By::Learner,
        reason: "test".into(),
        previous: Some(before.version),
    };
    fleet.broker.put_in_force(&in_force, revision).await.unwrap();
}

async fn decision(fleet: &Fleet) -> Decision {
    fleet.run("sample", json!({"prompt": PROMPT, "sensitivity": "public"})).await.decision.unwrap()
}

/// Submits until a decision names this version; then every further one does, too.
async fn decided_by(fleet: &Fleet, version: &str) -> Decision {
    eventually(&format!("a decision of {version}"), || async {
        Some(decision(fleet).await).filter(|decision| decision.policy_version == version)
    })
    .await
}

/// Writes a key of the bucket past all checks.
async fn overwrite(fleet: &Fleet, key: &str, payload: Vec<u8>) {
    let store = fleet.nats.get_key_value("policy").await.unwrap();
    store.put(key, payload.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_changes_decisions_without_a_restart_and_a_rollback_changes_them_back() {
    let fleet = FleetBuilder::new().start().await;
    let before = decision(&fleet).await;
    assert_eq!((before.lane.as_str(), before.policy_version.as_str()), ("local-fast", "shipped-1"));
    store(&fleet, 1, &learned_against("local-fast")).await;
    put_in_force(&fleet, 1).await;
    let learned = decided_by(&fleet, "shipped-1+w1").await;
    assert_eq!((learned.lane.as_str(), learned.score.source), ("local-deep", ScoreSource::Learned));

    let output = trilane(&fleet, &["policy", "rollback", "--json"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let in_force: InForce = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((in_force.version, in_force.by, in_force.previous), (0, By::Operator, None));
    let back = decided_by(&fleet, "shipped-1").await;
    assert_eq!((back.lane.as_str(), back.score.source), ("local-fast", ScoreSource::ColdStart));
    let none_before = trilane(&fleet, &["policy", "rollback"]).await.unwrap();
    let said = String::from_utf8(none_before.stderr).unwrap();
    assert!(!none_before.status.success() && said.contains("no version before"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_read_leaves_the_last_good_one_in_force() {
    let fleet = FleetBuilder::new().start().await;
    store(&fleet, 1, &learned_against("local-fast")).await;
    put_in_force(&fleet, 1).await;
    decided_by(&fleet, "shipped-1+w1").await;
    store(&fleet, 2, &learned_against("local-deep")).await;
    overwrite(&fleet, "v2.local-deep", b"no head".to_vec()).await;
    let mut in_force = fleet.broker.policy_in_force().await.unwrap().0;
    in_force.version = 2;
    overwrite(&fleet, "current", serde_json::to_vec(&in_force).unwrap()).await;
    // Version 3 comes behind it, so once that is followed version 2 was met, and passed over.
    for _ in 0..5 {
        assert_eq!(decision(&fleet).await.policy_version, "shipped-1+w1");
    }
    let mut weights = learned_against("local-deep");
    let lane: LaneName = "local-fast".parse().unwrap();
    let fast = learned_against("local-fast").head_to_bytes(&lane).unwrap();
    weights.insert_head(lane, &fast).unwrap();
    store(&fleet, 3, &weights).await;
    put_in_force(&fleet, 3).await;
    let third = decided_by(&fleet, "shipped-1+w3").await;
    assert_eq!(third.lane.as_str(), "cloud");
    overwrite(&fleet, "current", b"nonsense".to_vec()).await;
    for _ in 0..5 {
        assert_eq!(decision(&fleet).await.policy_version, "shipped-1+w3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classifier_that_starts_agrees_from_its_first_task_on() {
    let mut fleet = FleetBuilder::new().start().await;
    store(&fleet, 1, &learned_against("local-fast")).await;
    put_in_force(&fleet, 1).await;
    fleet.kill_classifiers();
    fleet.start_classifier().await;
    assert_eq!(decision(&fleet).await.policy_version, "shipped-1+w1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_all_versions_and_puts_any_that_reads_in_force() {
    let fleet = FleetBuilder::new().start().await;
    for version in [1, 2] {
        store(&fleet, version, &learned_against("local-fast")).await;
    }
    let output = trilane(&fleet, &["policy", "promote", "2", "--reason", "it looks good"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    decided_by(&fleet, "shipped-1+w2").await;
    let shown = trilane(&fleet, &["policy", "show", "--json"]).await.unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["in_force"]["version"], &shown["in_force"]["by"]), (&json!(2), &json!("operator")));
    assert!((shown["manifest"]["heads"]["local-fast"]["evidence"].as_f64().unwrap() - 2_000.0).abs() < 1e-6);
    let history = trilane(&fleet, &["policy", "history", "--json"]).await.unwrap();
    let history: serde_json::Value = serde_json::from_slice(&history.stdout).unwrap();
    let listed: Vec<_> = history["versions"].as_array().unwrap().iter().map(|row| &row["version"]).collect();
    assert_eq!(listed, [&json!(2), &json!(1)]);
    for (arguments, words) in [
        (["policy", "promote", "2"], "in force already"),
        (["policy", "promote", "9"], "there is no version 9"),
        (["policy", "promote", "0"], "rollback --to 0"),
    ] {
        let refused = trilane(&fleet, &arguments).await.unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(words), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_holds_its_share_on_real_tasks() {
    let fleet = FleetBuilder::new().config("[policy.target]\ncloud_share = 0.5\n").start().await;
    let mut cloud = 0;
    for index in 0..150 {
        let complexity = 0.3 + 0.01 * f64::from(index % 20);
        let task = json!({"prompt": "x", "sensitivity": "public", "complexity": complexity});
        let decision = fleet.run("sample", task).await.decision.unwrap();
        assert!(decision.explanation.contains("the bar that the target sets"), "{}", decision.explanation);
        cloud += u32::from(decision.lane.as_str() == "cloud");
    }
    assert!((60..=90).contains(&cloud), "{cloud} of 150");
    let private = json!({"prompt": "x", "sensitivity": "private", "complexity": 1.0});
    assert_eq!(fleet.run("sample", private).await.lane.unwrap().as_str(), "local-deep");
}
