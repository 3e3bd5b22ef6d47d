//! When a task runs, and that it need not: `not_before`, cancel.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use trilane_protocol::{Status, TaskId};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

async fn cancel(fleet: &Fleet, agent: &str, id: &TaskId) {
    // As any client would, without a key.
    let client = async_nats::connect(&fleet.config.nats.url).await.unwrap();
    client.publish(format!("cancel.{agent}.{id}"), "".into()).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_put_on_a_lane_when_its_time_has_come() {
    let fleet = FleetBuilder::new().start().await;
    let at = Timestamp::now().checked_add(SignedDuration::from_secs(2)).unwrap();
    let absolute = json!({"id": "at", "prompt": "x", "not_before": at.to_string(), "metadata": {"k": 1}});
    let id = fleet.submit("sample", absolute).await;
    let after = fleet.submit("sample", json!({"prompt": "x", "not_before": 1})).await;
    let at_once = fleet.run("sample", json!({"prompt": "x"})).await;
    let result = fleet.result("sample", &id).await;
    assert_eq!((result.status, &result.metadata["k"]), (Status::Done, &json!(1)));
    assert!(result.decision.unwrap().decided_at >= at);
    assert!(at_once.decision.unwrap().decided_at < at);
    assert_eq!(
        fleet.result("sample", &after).await.status,
        Status::Done,
        "it keeps the id of its first sequence"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_kept_is_refused() {
    let fleet = FleetBuilder::new().start().await;
    let code = async |task| fleet.run("sample", task).await.error.unwrap().message;
    let late = code(json!({"prompt": "x", "not_before": 100, "deadline": 50})).await;
    assert!(late.contains("not_before") && late.contains("before `deadline`"), "{late}");
    let far = code(json!({"prompt": "x", "not_before": 1e9})).await;
    assert!(far.contains("limits.max_not_before_s"), "{far}");
    assert!(code(json!({"prompt": "x", "not_before": -1})).await.contains("not_before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_cancelled_and_its_slot_is_free() {
    let fleet = FleetBuilder::new().slots(1).start().await;
    for (lane, complexity) in [("local-fast", 0.1), ("cloud", 0.99)] {
        let id = fleet.submit("sample", json!({"prompt": "wait for ever", "complexity": complexity})).await;
        let runner = fleet.runners[lane].clone();
        eventually("the task runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
        cancel(&fleet, "sample", &id).await;
        let result = fleet.result("sample", &id).await;
        assert_eq!((result.status, result.error.unwrap().code.as_str()), (Status::Cancelled, "cancelled"));
        let next = fleet.run("sample", json!({"prompt": "next", "complexity": complexity})).await;
        assert_eq!((next.status, next.lane.unwrap().as_str()), (Status::Done, lane));
    }
    assert_eq!(fleet.nats.get_stream("DEAD").await.unwrap().get_info().await.unwrap().state.messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_that_waits_is_never_run() {
    let mut fleet = FleetBuilder::new().without_worker("local-fast").start().await;
    let queued = fleet.submit("sample", json!({"prompt": "queued", "complexity": 0.1})).await;
    let later = fleet.submit("sample", json!({"prompt": "later", "complexity": 0.1, "not_before": 2})).await;
    let lane = "local-fast".parse().unwrap();
    eventually("it waits on its lane", || async {
        (fleet.broker.depth(&lane, trilane_protocol::Zone::Local).await.unwrap().waiting == 1).then_some(())
    })
    .await;
    for id in [&queued, &later] {
        cancel(&fleet, "sample", id).await;
        assert_eq!(fleet.result("sample", id).await.status, Status::Cancelled);
    }
    // A worker that was not there to hear of it.
    fleet.start_worker("local-fast", 4).await;
    let after = json!({"prompt": "after", "complexity": 0.1, "not_before": 3});
    assert_eq!(fleet.run("sample", after).await.status, Status::Done);
    let prompts: Vec<String> =
        fleet.runners["local-fast"].seen().iter().map(|work| work.messages[0].content.clone()).collect();
    assert_eq!(prompts, ["after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_stays_as_it_is() {
    let fleet = FleetBuilder::new().start().await;
    let done = fleet.run("sample", json!({"id": "done", "prompt": "x"})).await;
    cancel(&fleet, "sample", &done.task_id).await;
    cancel(&fleet, "sample", &TaskId::new("never-there").unwrap()).await;
    assert_eq!(fleet.result("sample", &TaskId::new("never-there").unwrap()).await.status, Status::Cancelled);
    assert_eq!(fleet.result("sample", &done.task_id).await.status, Status::Done);
    let cancels = fleet.nats.get_stream("CANCELS").await.unwrap();
    eventually("no cancellation is left", || async {
        (cancels.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
}
