//! What is kept to learn from: examples of tasks, feedback on results.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde_json::json;
use trilane_broker::answers::FeedbackError;
use trilane_broker::logs::{Log, Start};
use trilane_protocol::learning::{Feedback, Verdict};
use trilane_protocol::{AgentName, subjects};
use trilane_routing::example::{Content, Example};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

async fn examples(fleet: &Fleet) -> Vec<Example> {
    let mut stored =
        pin!(fleet.broker.stored(Log::Examples, subjects::EXAMPLES, Start::Oldest).await.unwrap());
    let mut examples = Vec::new();
    while let Some(entry) = stored.try_next().await.unwrap() {
        examples.push(entry.decode().unwrap());
    }
    examples
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_leaves_one_example_and_private_ones_no_text() {
    let fleet = FleetBuilder::new().start().await;
    // It goes up on the way, and leaves no second one.
    let weak =
        json!({"id": "up", "prompt": "weak PUBLIC", "complexity": 0.5, "validate": [{"regex": "^echo:"}]});
    fleet.run("sample", weak).await;
    fleet.run("sample", json!({"id": "private", "prompt": "SECRET", "sensitivity": "private"})).await;
    let steps = json!([{"name": "a", "prompt": "One"}, {"name": "b", "prompt": "Two {{steps.a.text}}"}]);
    fleet.run("sample", json!({"id": "steps", "prompt": "x", "steps": steps})).await;
    let found = eventually("three examples", || async {
        let found = examples(&fleet).await;
        (found.len() >= 3).then_some(found)
    })
    .await;
    let ids: Vec<_> = found.iter().map(|example| example.task_id.as_str()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    for example in &found {
        let shown = format!("{example:?}");
        match example.task_id.as_str() {
            "up" => assert!(matches!(example.content, Content::Text(_)) && shown.contains("PUBLIC")),
            "private" => {
                assert!(matches!(example.content, Content::Features(_)) && !shown.contains("SECRET"));
            }
            _ => assert!(shown.contains("Two echo: One"), "the last step is what is learned from: {shown}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_verdict_on_a_result_stands() {
    let fleet = FleetBuilder::new().start().await;
    let id = fleet.run("sample", json!({"prompt": "x"})).await.task_id;
    let agent: AgentName = "sample".parse().unwrap();
    let reject = Feedback::Verdict(Verdict::Reject);
    fleet.broker.give_feedback(&agent, &id, reject).await.unwrap();
    let second = fleet.broker.give_feedback(&agent, &id, Feedback::Quality(1.0)).await.unwrap_err();
    assert!(matches!(second, FeedbackError::AlreadyGiven { .. }), "{second}");
    let none = fleet.broker.give_feedback(&agent, &id, Feedback::Quality(7.0)).await.unwrap_err();
    assert!(matches!(none, FeedbackError::NotAQuality), "{none}");
    let feedback = fleet.nats.get_stream("FEEDBACK").await.unwrap();
    let stored = feedback.direct_get_last_for_subject(subjects::feedback(&agent, &id)).await.unwrap();
    assert_eq!(&stored.payload[..], br#"{"verdict":"reject"}"#);
}
