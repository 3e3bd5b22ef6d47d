//! A task that is taken back: what the command asks for, and what it says.

use async_nats::jetstream::stream::Stream;
use serde_json::{Value, json};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::trilane;

/// A fleet without classifiers, so that the test answers in their place, and the stream of requests.
async fn fleet() -> (Fleet, Stream) {
    let fleet = FleetBuilder::new().classifiers(0).without_worker("cloud").start().await;
    let stream = fleet.nats.get_stream("CANCELS").await.unwrap();
    (fleet, stream)
}

async fn end(fleet: &Fleet, id: &str, status: &str) {
    let error = (status != "done").then(|| json!({"code": status, "message": "x"}));
    let text = (status == "done").then_some("x");
    let result = json!({
        "task_id": id, "agent": "sample", "status": status, "text": text, "error": error,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}, "cost_usd": 0.0,
        "timing_ms": {"queued": 0, "waited": 0, "run": 0}, "attempts": 0, "finished_at": "2026-01-01T00:00:00Z",
    });
    let stored = fleet.nats.publish(format!("result.sample.{id}"), result.to_string().into()).await.unwrap();
    stored.await.unwrap();
}

async fn requests(stream: &Stream) -> u64 {
    stream.get_info().await.unwrap().state.messages
}

/// Cancels a task that ends as `status` once the request is there.
async fn cancelled_while(status: &str) -> (Value, bool, String) {
    let (fleet, requested) = fleet().await;
    let arguments = ["cancel", "t-1", "--agent", "sample", "--json"];
    let command = trilane(&fleet, &arguments);
    eventually("the request is stored", || async { (requests(&requested).await == 1).then_some(()) }).await;
    let request = requested.get_raw_message(1).await.unwrap();
    assert_eq!((request.subject.as_str(), request.payload.len()), ("cancel.sample.t-1", 0));
    end(&fleet, "t-1", status).await;
    let output = command.await.unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap();
    (printed, output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_is_said_to_be() {
    let (printed, succeeded, said) = cancelled_while("cancelled").await;
    assert!(succeeded, "{said}");
    let expected = json!({"agent": "sample", "task_id": "t-1", "status": "cancelled", "is_cancelled": true});
    assert_eq!(printed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_quicker_is_said_to_have_ended() {
    let (printed, succeeded, said) = cancelled_while("done").await;
    assert!(!succeeded && said.contains("ended as done before it could be cancelled"), "{said}");
    assert_eq!((&printed["status"], &printed["is_cancelled"]), (&json!("done"), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_ended_is_not_asked_to() {
    let (fleet, requested) = fleet().await;
    end(&fleet, "t-1", "failed").await;
    let output = trilane(&fleet, &["cancel", "t-1", "--agent", "sample"]).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("ended as failed before"), "{said}");
    assert_eq!(requests(&requested).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_runs_is_cancelled_and_its_worker_stops() {
    let fleet = FleetBuilder::new().start().await;
    fleet.submit("sample", json!({"id": "t-1", "prompt": "wait", "complexity": 0.1})).await;
    let runner = &fleet.runners["local-fast"];
    eventually("it runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    for said in ["is cancelled", "is cancelled"] {
        let output = trilane(&fleet, &["cancel", "t-1", "--agent", "sample"]).await.unwrap();
        let heard = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && heard.contains(said), "{heard}");
    }
    let result = fleet.result("sample", &"t-1".parse().unwrap()).await;
    assert_eq!(result.status, trilane_protocol::Status::Cancelled);
}
