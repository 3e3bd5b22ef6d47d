//! Pipelines: each step routed on its own, and private once is private ever after.

use serde_json::json;
use trilane_protocol::{Status, Zone};
use trilane_testkit::FleetBuilder;

#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_analyses_and_a_local_model_formats() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({
        "prompt": "the figures",
        "steps": [
            {"name": "analyse", "prompt": "Analyse {{input}}", "complexity": 0.99},
            {"name": "format", "prompt": "Format {{steps.analyse.text}}", "complexity": 0.1},
        ],
    });
    let result = fleet.run("sample", task).await;
    assert_eq!(result.status, Status::Done);
    assert_eq!(result.text.as_deref(), Some("echo: Format echo: Analyse the figures"));
    assert_eq!(result.lane.unwrap().as_str(), "local-fast");
    assert_eq!(fleet.runners["cloud"].seen().len(), 1);
    assert!((result.cost_usd - 0.01).abs() < 1e-9, "the cloud step's dollars are in the result");
    assert_eq!(result.attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_step_taints_all_that_follow() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({
        "prompt": "the figures",
        "steps": [
            {"name": "a", "prompt": "One {{input}}", "complexity": 0.99},
            {"name": "b", "prompt": "Two {{steps.a.text}}", "sensitivity": "private", "complexity": 0.99},
            {"name": "c", "prompt": "Three", "sensitivity": "public", "complexity": 0.99},
        ],
    });
    let result = fleet.run("sample", task).await;
    assert_eq!(
        result.decision.unwrap().zone,
        Zone::Local,
        "the last step names no private text and stays all the same"
    );
    let cloud = fleet.runners["cloud"].seen();
    assert_eq!(cloud.len(), 1);
    let shown = format!("{:?}", cloud[0]);
    assert!(
        !shown.contains("Two") && !shown.contains("Three"),
        "a cloud worker sees its own step and no other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_names_a_later_step_is_rejected() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({"prompt": "x", "steps": [{"name": "a", "prompt": "{{steps.b.text}}"}, {"name": "b", "prompt": "y"}]});
    let error = fleet.run("sample", task).await.error.unwrap();
    assert!(error.message.contains("steps[0].prompt"), "{}", error.message);
}
