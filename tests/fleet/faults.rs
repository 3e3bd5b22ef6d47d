//! Failures, crashes and restarts: nothing is lost, nothing is answered twice.

use futures_util::StreamExt;
use serde_json::json;
use trilane_protocol::Status;
use trilane_testkit::{Fleet, FleetBuilder, eventually};

/// Longer than anything that a test waits for takes.
const LONG: std::time::Duration = std::time::Duration::from_secs(20);

const FAST_RETRIES: &str = "[worker]\nretry_initial_ms = 1\nretry_max_ms = 5\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_is_tried_again() {
    let fleet = FleetBuilder::new().config(FAST_RETRIES).start().await;
    let result = fleet.run("sample", json!({"prompt": "fail-once please", "complexity": 0.1})).await;
    assert_eq!((result.status, result.attempts), (Status::Done, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_runner_is_a_failed_attempt_and_no_more() {
    let fleet = FleetBuilder::new().config(FAST_RETRIES).start().await;
    let result = fleet.run("sample", json!({"prompt": "panic-once please", "complexity": 0.1})).await;
    assert_eq!((result.status, result.attempts), (Status::Done, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_failure_ends_as_failed_with_a_dead_letter() {
    let fleet = FleetBuilder::new().config(FAST_RETRIES).start().await;
    let result = fleet.run("sample", json!({"prompt": "fail always", "complexity": 0.1})).await;
    assert_eq!((result.status, result.attempts), (Status::Failed, 4), "lanes.local-fast.max_attempts");
    assert_eq!(result.error.unwrap().code, "scripted_failure");
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    assert_eq!(dead.get_info().await.unwrap().state.messages, 1);
    let lane = fleet.nats.get_stream("LANE_LOCAL").await.unwrap();
    eventually("the lane is empty", || async {
        (lane.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_running_task() {
    let fleet = FleetBuilder::new().start().await;
    let result =
        fleet.run("sample", json!({"prompt": "wait for ever", "complexity": 0.1, "deadline": 0.5})).await;
    assert_eq!(result.status, Status::Expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_s_task_goes_to_another_and_is_answered_once() {
    let config = "[lanes.local-fast]\nack_wait_s = 1\n";
    let mut fleet = FleetBuilder::new().config(config).start().await;
    let id = fleet.submit("sample", json!({"prompt": "wait here", "complexity": 0.1})).await;
    let runner = fleet.runners["local-fast"].clone();
    eventually("the task runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    fleet.kill_worker("local-fast");
    fleet.start_worker("local-fast", 4).await;
    eventually("it runs again", || async { (runner.seen().len() >= 2).then_some(()) }).await;
    runner.release();
    runner.release();
    let result = eventually("a result", || async {
        runner.release();
        fleet.broker.result(&"sample".parse().unwrap(), &id).await.unwrap()
    })
    .await;
    assert_eq!(result.status, Status::Done);
    assert!(result.attempts >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_hands_back_what_it_cannot_finish() {
    let config = "[worker]\ndrain_grace_s = 0\n[lanes.local-fast]\nack_wait_s = 600\n";
    let mut fleet = FleetBuilder::new().config(config).start().await;
    let id = fleet.submit("sample", json!({"prompt": "wait here", "complexity": 0.1})).await;
    let runner = fleet.runners["local-fast"].clone();
    eventually("the task runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    fleet.drain_worker("local-fast").await;
    let workers = fleet.broker.workers().await.unwrap();
    let alive = workers.alive().await.unwrap();
    assert!(alive.iter().all(|worker| worker.lane.as_str() != "local-fast"), "it has said goodbye");
    // The lease is ten minutes: only a hand-back brings it to the next worker now.
    fleet.start_worker("local-fast", 4).await;
    eventually("it runs again", || async { (runner.seen().len() == 2).then_some(()) }).await;
    runner.release();
    assert_eq!(fleet.result("sample", &id).await.status, Status::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_finishes_what_it_can() {
    let mut fleet = FleetBuilder::new().start().await;
    let id = fleet.submit("sample", json!({"prompt": "wait here", "complexity": 0.1})).await;
    let runner = fleet.runners["local-fast"].clone();
    eventually("the task runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    runner.release();
    fleet.drain_worker("local-fast").await;
    assert_eq!(fleet.result("sample", &id).await.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_rides_out_a_server_crash() {
    let mut fleet = FleetBuilder::new().start().await;
    let waiting = fleet.submit("sample", json!({"prompt": "wait here", "complexity": 0.1})).await;
    let runner = fleet.runners["local-fast"].clone();
    eventually("the task runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    fleet.server.crash_and_restart().await;
    runner.release();
    let result = eventually("the result of the task that ran through the crash", || async {
        runner.release();
        fleet.broker.result(&"sample".parse().unwrap(), &waiting).await.ok().flatten()
    })
    .await;
    assert_eq!(result.status, Status::Done);
    let after = fleet.run("sample", json!({"prompt": "after the crash", "complexity": 0.1})).await;
    assert_eq!(after.status, Status::Done);
}

/// Waits until a hard public task is put on `lane`.
async fn hard_tasks_go_to(fleet: &Fleet, lane: &str) {
    eventually("the classifier sees who lives", || async {
        let result = fleet.run("sample", json!({"prompt": "x", "complexity": 0.99})).await;
        (result.lane?.as_str() == lane).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_come_and_go_are_noticed_after_a_server_crash_too() {
    let mut fleet = FleetBuilder::new().config("[worker]\nheartbeat_s = 1\n").start().await;
    hard_tasks_go_to(&fleet, "cloud").await;
    fleet.server.crash_and_restart().await;
    fleet.drain_worker("cloud").await;
    hard_tasks_go_to(&fleet, "local-deep").await;
    fleet.start_worker("cloud", 4).await;
    hard_tasks_go_to(&fleet, "cloud").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_intake_refuses_with_the_documented_code() {
    let fleet =
        FleetBuilder::new().classifiers(0).config("[streams]\nintake_max_messages = 2\n").start().await;
    fleet.submit("sample", json!({"prompt": "1"})).await;
    fleet.submit("sample", json!({"prompt": "2"})).await;
    let refused = fleet.nats.publish("tasks.sample", "{\"prompt\": \"3\"}".into()).await.unwrap().await;
    assert!(format!("{:?}", refused.unwrap_err()).contains("10077"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_slows_the_classifier_and_loses_nothing() {
    let config = "[streams]\nlane_max_messages = 1\n[classifier]\nfull_lane_retry_initial_ms = 5\nfull_lane_retry_max_ms = 20\n";
    let mut fleet = FleetBuilder::new().config(config).without_worker("local-fast").start().await;
    let mut ids = Vec::new();
    for index in 0..5 {
        ids.push(fleet.submit("sample", json!({"prompt": format!("{index}"), "complexity": 0.1})).await);
    }
    fleet.start_worker("local-fast", 1).await;
    for id in ids {
        assert_eq!(fleet.result("sample", &id).await.status, Status::Done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_in_flight_at_too_many_workers_is_poison() {
    let config = "[lanes.local-fast]\nmax_attempts = 1\n";
    let mut fleet = FleetBuilder::new().config(config).without_worker("local-fast").start().await;
    let id = fleet.submit("sample", json!({"prompt": "x", "complexity": 0.1})).await;
    // What workers leave behind that die with it, as the server counts.
    let lane = fleet.nats.get_stream("LANE_LOCAL").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        lane.get_consumer("local-fast_normal").await.unwrap();
    eventually("it is on its lane", || async {
        (lane.get_info().await.unwrap().state.messages == 1).then_some(())
    })
    .await;
    for delivery in 1..=7 {
        let mut messages = consumer.batch().max_messages(1).expires(LONG).messages().await.unwrap();
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!(message.info().unwrap().delivered, delivery);
        message.ack_with(async_nats::jetstream::AckKind::Nak(None)).await.unwrap();
    }
    fleet.start_worker("local-fast", 1).await;
    let result = fleet.result("sample", &id).await;
    assert_eq!((result.status, result.error.unwrap().code.as_str()), (Status::Failed, "poison_task"));
    assert!(fleet.runners["local-fast"].seen().is_empty());
    assert_eq!(fleet.nats.get_stream("DEAD").await.unwrap().get_info().await.unwrap().state.messages, 1);
}
