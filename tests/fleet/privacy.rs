//! Private stays local, whatever happens.

use serde_json::json;
use trilane_protocol::decision::{FindingSource, Reason};
use trilane_protocol::{Sensitivity, Status, Zone};
use trilane_testkit::{Fleet, FleetBuilder};

const SECRET: &str = "Use the key sk-ant-api03-Zk3vQ9xL2mN8pR5tW7yB1cD4fG6hJ0kMnPqRsTuVwXyZaBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789AbCdEfGh-AA for this";

async fn assert_stays_local(fleet: &Fleet, what: &str, task: serde_json::Value, source: FindingSource) {
    let result = fleet.run("sample", task).await;
    let decision = result.decision.unwrap_or_else(|| panic!("{what}: {:?}", result.error));
    assert_eq!(decision.zone, Zone::Local, "{what}");
    assert_eq!(decision.screen.sensitivity, Sensitivity::Private, "{what}");
    let sources: Vec<_> = decision.screen.findings.iter().map(|finding| finding.source).collect();
    assert!(sources.contains(&source), "{what}: {sources:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ground_for_private_keeps_a_hard_task_local() {
    let fleet = FleetBuilder::new().start().await;
    let hard = 0.99;
    let cases = [
        ("tagged", json!({"prompt": "x", "sensitivity": "private", "complexity": hard}), FindingSource::Task),
        (
            "a tag",
            json!({"prompt": "x", "tags": ["Client-Document"], "complexity": hard}),
            FindingSource::Tag,
        ),
        (
            "secret in the prompt",
            json!({"prompt": SECRET, "sensitivity": "public", "complexity": hard}),
            FindingSource::Detector,
        ),
        (
            "secret in an earlier turn",
            json!({"messages": [{"role": "user", "content": SECRET}, {"role": "assistant", "content": "ok"},
                {"role": "user", "content": "go on"}], "sensitivity": "public", "complexity": hard}),
            FindingSource::Detector,
        ),
        (
            "secret in a stop text",
            json!({"prompt": "x", "stop": ["4111 1111 1111 1111"], "complexity": hard}),
            FindingSource::Detector,
        ),
        (
            "secret in the schema",
            json!({"prompt": "x", "json_schema": {"type": "object", "description": SECRET}, "complexity": hard}),
            FindingSource::Detector,
        ),
        (
            "secret in metadata",
            json!({"prompt": "x", "metadata": {"note": [{"deep": SECRET}]}, "complexity": hard}),
            FindingSource::Detector,
        ),
        ("pinned to the cloud", json!({"prompt": SECRET, "model": "claude-sonnet"}), FindingSource::Detector),
    ];
    for (what, task, source) in cases {
        assert_stays_local(&fleet, what, task, source).await;
    }
    assert!(fleet.runners["cloud"].seen().is_empty(), "no private task was shown to the cloud worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_agent_is_private_unless_its_task_says_otherwise() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("stranger", json!({"prompt": "x", "complexity": 0.99})).await;
    assert_eq!(result.decision.unwrap().zone, Zone::Local);
    let result =
        fleet.run("stranger", json!({"prompt": "x", "complexity": 0.99, "sensitivity": "public"})).await;
    assert_eq!(result.decision.unwrap().zone, Zone::Cloud);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_pin_is_rejected_where_the_policy_says_so() {
    let fleet = FleetBuilder::new().config("[policy]\nprivate_pin = \"reject\"\n").start().await;
    let result =
        fleet.run("sample", json!({"prompt": "x", "sensitivity": "private", "model": "gpt-4o"})).await;
    assert_eq!(result.status, Status::Rejected);
    assert_eq!(result.error.unwrap().code, "private_pin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_pin_takes_the_deep_lane_and_the_record_says_so() {
    let fleet = FleetBuilder::new().start().await;
    let result =
        fleet.run("sample", json!({"prompt": "x", "sensitivity": "private", "model": "gpt-4o"})).await;
    let decision = result.decision.unwrap();
    assert_eq!((decision.lane.as_str(), decision.reason), ("local-deep", Reason::PrivatePin));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_task_that_fits_no_local_model_is_rejected() {
    let fleet = FleetBuilder::new().start().await;
    let long = "word ".repeat(20_000);
    let result = fleet.run("sample", json!({"prompt": long, "sensitivity": "private"})).await;
    assert_eq!(result.status, Status::Rejected);
    assert_eq!(result.error.unwrap().code, "prompt_too_long");
    let result =
        fleet.run("sample", json!({"prompt": "word ".repeat(20_000), "sensitivity": "public"})).await;
    assert_eq!(result.lane.unwrap().as_str(), "cloud", "the same in public goes where it fits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_degraded_or_failing_private_task_never_leaves() {
    let fleet = FleetBuilder::new().without_worker("local-deep").start().await;
    let task = json!({"prompt": "too-long", "sensitivity": "private", "complexity": 0.1});
    let id = fleet.submit("sample", task).await;
    let other = fleet.run("sample", json!({"prompt": "x", "complexity": 0.99})).await;
    assert_eq!(other.decision.unwrap().zone, Zone::Cloud, "the cloud lane does work");
    // Its next lane has no worker: it waits there rather than leave.
    let deep = "local-deep".parse().unwrap();
    trilane_testkit::eventually("the task waits on its next lane", || async {
        (fleet.broker.depth(&deep, Zone::Local).await.unwrap().waiting == 1).then_some(())
    })
    .await;
    assert!(fleet.runners["cloud"].seen().iter().all(|work| work.task_id != id));
}
