//! Shadows: finished public cloud tasks once more on a local lane, where they are in nobody's way.

use serde_json::json;
use trilane_protocol::learning::{ShadowAnswer, ShadowRequest};
use trilane_protocol::task::Role;
use trilane_protocol::{Encoding, Generation, Message, TaskId, TaskResult, subjects};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

/// A task that the cloud has answered.
async fn answered(fleet: &Fleet, id: &str) -> TaskResult {
    fleet.run("sample", json!({"id": id, "prompt": "hard", "complexity": 0.99})).await
}

fn request(of: &TaskResult, prompt: &str) -> ShadowRequest {
    ShadowRequest {
        task_id: of.task_id.clone(),
        agent: of.agent.clone(),
        task_seq: of.task_seq.unwrap(),
        lane: "local-fast".parse().unwrap(),
        messages: vec![Message { role: Role::User, content: prompt.into() }],
        generation: Generation::default(),
        validate: Vec::new(),
    }
}

async fn shadowed(fleet: &Fleet, id: &str) -> Option<ShadowAnswer> {
    let stream = fleet.nats.get_stream("SHADOWED").await.unwrap();
    let subject = subjects::shadowed(&"sample".parse().unwrap(), &TaskId::new(id).unwrap());
    let message = stream.direct_get_last_for_subject(subject).await.ok()?;
    Some(Encoding::Msgpack.decode(&message.payload).unwrap())
}

async fn count(fleet: &Fleet, stream: &str) -> u64 {
    fleet.nats.get_stream(stream).await.unwrap().get_info().await.unwrap().state.messages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_answered_and_its_task_keeps_its_one_result() {
    let fleet = FleetBuilder::new().start().await;
    let result = answered(&fleet, "a").await;
    fleet.broker.ask_for_shadow(&request(&result, "hard")).await.unwrap();
    let answer = eventually("it is answered", || async { shadowed(&fleet, "a").await }).await;
    assert_eq!((answer.text.as_str(), answer.lane.as_str()), ("echo: hard", "local-fast"));
    assert_eq!(answer.task_seq, result.task_seq.unwrap());
    assert_eq!((count(&fleet, "RESULTS").await, count(&fleet, "DEAD").await), (1, 0));
    eventually("nothing of it waits", || async {
        (count(&fleet, "SHADOWS").await + count(&fleet, "LANE_LOCAL").await == 0).then_some(())
    })
    .await;
    let kept = fleet.broker.result(&result.agent, &result.task_id).await.unwrap().unwrap();
    assert_eq!(kept, result);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_or_was_never_answered_by_the_cloud_is_no_shadow() {
    let fleet = FleetBuilder::new().start().await;
    let result = answered(&fleet, "a").await;
    let local = fleet.run("sample", json!({"id": "l", "prompt": "easy", "complexity": 0.1})).await;
    let unknown = TaskResult { task_id: "never".parse().unwrap(), ..result.clone() };
    let fast = fleet.runners["local-fast"].clone();
    let before = fast.seen().len();
    for refused in [
        request(&result, "the card 4111 1111 1111 1111"),
        request(&local, "easy"),
        request(&unknown, "x"),
        ShadowRequest { lane: "cloud".parse().unwrap(), task_seq: 77, ..request(&result, "x") },
    ] {
        fleet.broker.ask_for_shadow(&refused).await.unwrap();
    }
    eventually("all are dropped", || async { (count(&fleet, "SHADOWS").await == 0).then_some(()) }).await;
    assert_eq!((fast.seen().len(), fleet.runners["cloud"].seen().len()), (before, 1));
    assert_eq!((count(&fleet, "SHADOWED").await, count(&fleet, "DEAD").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_makes_room_for_real_work() {
    let fleet = FleetBuilder::new().slots(1).start().await;
    let result = answered(&fleet, "a").await;
    fleet.broker.ask_for_shadow(&request(&result, "wait for it")).await.unwrap();
    let fast = fleet.runners["local-fast"].clone();
    eventually("the shadow runs", || async { fast.seen().last().filter(|work| work.shadow).map(drop) }).await;
    // The only slot is the shadow's; nobody releases it.
    let real = fleet.run("sample", json!({"prompt": "real", "complexity": 0.1})).await;
    assert_eq!(real.text.as_deref(), Some("echo: real"));
    eventually("the shadow runs again", || async {
        (fast.seen().iter().filter(|work| work.shadow).count() >= 2).then_some(())
    })
    .await;
    fast.release();
    eventually("it is answered", || async { shadowed(&fleet, "a").await }).await;
    assert_eq!((count(&fleet, "RESULTS").await, count(&fleet, "DEAD").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_fails_leaves_nothing() {
    let fleet = FleetBuilder::new().start().await;
    let result = answered(&fleet, "a").await;
    fleet.broker.ask_for_shadow(&request(&result, "too-long for this lane")).await.unwrap();
    let fast = fleet.runners["local-fast"].clone();
    eventually("it was tried and is gone", || async {
        let is_gone = count(&fleet, "SHADOWS").await + count(&fleet, "LANE_LOCAL").await == 0;
        (is_gone && fast.seen().len() == 1).then_some(())
    })
    .await;
    assert_eq!((count(&fleet, "SHADOWED").await, count(&fleet, "DEAD").await), (0, 0));
    assert_eq!(count(&fleet, "RESULTS").await, 1);
}
