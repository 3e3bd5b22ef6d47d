//! Pipelines: each step routed on its own, and private once is private ever after.

use futures_util::StreamExt;
use serde_json::json;
use trilane_broker::pipelines::Known;
use trilane_protocol::work::{Ending, LaneMessage, RerouteCause, Return, Spent};
use trilane_protocol::{AgentName, Encoding, Sensitivity, Status, TaskId, Zone};
use trilane_testkit::{FleetBuilder, eventually};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_step_s_agent_cannot_make_a_private_task_public() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({
        "prompt": "the merger is off",
        "steps": [{"name": "a", "agent": "sample", "prompt": "Say: {{input}}", "complexity": 0.95}],
    });
    // The agent of the task has no entry, and so is private; the one of the step is public.
    let result = fleet.run("stranger", task).await;
    assert_eq!(result.decision.unwrap().zone, Zone::Local);
    assert!(fleet.runners["cloud"].seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_pipeline_under_a_used_id_shares_nothing_with_the_public_one() {
    let fleet = FleetBuilder::new().start().await;
    let steps = json!([
        {"name": "a", "prompt": "wait {{input}}", "complexity": 0.99},
        {"name": "b", "prompt": "Format: {{steps.a.text}}", "complexity": 0.99},
    ]);
    let public = json!({"id": "same", "prompt": "PUBLIC", "steps": steps});
    fleet.submit("sample", public).await;
    let cloud = fleet.runners["cloud"].clone();
    eventually("the public step runs", || async { (cloud.seen().len() == 1).then_some(()) }).await;
    let private = json!({"id": "same", "prompt": "PRIVATE", "sensitivity": "private", "steps": steps});
    fleet.submit("sample", private).await;
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    eventually("the second task is a dead letter", || async {
        (dead.get_info().await.unwrap().state.messages == 1).then_some(())
    })
    .await;
    cloud.release();
    let result = fleet.result("sample", &"same".parse().unwrap()).await;
    assert_eq!(result.text.as_deref(), Some("echo: Format: echo: wait PUBLIC"));
    assert!(cloud.seen().iter().all(|work| !format!("{work:?}").contains("PRIVATE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_does_not_reach_the_pipeline_that_has_its_id_now() {
    let fleet = FleetBuilder::new().start().await;
    let steps = json!([
        {"name": "a", "prompt": "wait {{input}}", "complexity": 0.99},
        {"name": "b", "prompt": "Format: {{steps.a.text}}", "complexity": 0.99},
    ]);
    let private = json!({"id": "same", "prompt": "PRIVATE", "sensitivity": "private", "steps": steps});
    fleet.submit("sample", private).await;
    let (deep, cloud) = (fleet.runners["local-deep"].clone(), fleet.runners["cloud"].clone());
    eventually("the private step runs", || async { (deep.seen().len() == 1).then_some(()) }).await;
    let (agent, id): (AgentName, TaskId) = ("sample".parse().unwrap(), "same".parse().unwrap());
    // As if it had been kept for too long.
    fleet.broker.pipelines().await.unwrap().forget(&agent, &id).await;
    fleet.submit("sample", json!({"id": "same", "prompt": "PUBLIC", "steps": steps})).await;
    eventually("the public step runs", || async { (cloud.seen().len() == 1).then_some(()) }).await;
    deep.release();
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    eventually("the private task is a dead letter", || async {
        (dead.get_info().await.unwrap().state.messages == 1).then_some(())
    })
    .await;
    cloud.release();
    let result = fleet.result("sample", &id).await;
    assert_eq!(result.text.as_deref(), Some("echo: Format: echo: wait PUBLIC"));
    assert!(cloud.seen().iter().all(|work| !format!("{work:?}").contains("PRIVATE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_s_word_does_not_make_a_private_pipeline_public() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({
        "prompt": "x",
        "steps": [
            {"name": "a", "prompt": "wait here", "sensitivity": "private", "complexity": 0.99},
            {"name": "b", "prompt": "Format: {{steps.a.text}}", "complexity": 0.99},
        ],
    });
    let id = fleet.submit("sample", task).await;
    let deep = fleet.runners["local-deep"].clone();
    let work = eventually("the private step runs", || async { deep.seen().into_iter().next() }).await;
    assert_eq!(work.sensitivity, Some(Sensitivity::Private));
    let lane = fleet.nats.get_stream("LANE_LOCAL").await.unwrap();
    let message = lane.get_raw_message(1).await.unwrap();
    let mut lowered: LaneMessage = Encoding::Msgpack.decode(&message.payload).unwrap();
    lowered.work.sensitivity = Some(Sensitivity::Public);
    let cause = RerouteCause::StepDone { text: "PRIVATE".into() };
    let returned = Return {
        message: Encoding::Msgpack.encode(&lowered),
        seal: message.headers.get("Trilane-Seal").unwrap().to_string(),
        lane: "local-deep".parse().unwrap(),
        deliveries: 1,
        ending: Ending::Reroute { spent: Spent::default(), cause },
    };
    let payload = Encoding::Msgpack.encode(&returned).into();
    fleet.nats.publish("reroute.sample", payload).await.unwrap().await.unwrap();
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    eventually("it is refused", || async { dead.direct_get_last_for_subject("dead.local-deep").await.ok() })
        .await;
    deep.release();
    let result = fleet.result("sample", &id).await;
    assert_eq!(result.text.as_deref(), Some("echo: Format: echo: wait here"));
    assert!(fleet.runners["cloud"].seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_pipeline_is_forgotten() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({"id": "p", "prompt": "x", "steps": [{"name": "a", "prompt": "{{input}}"}]});
    fleet.run("sample", task).await;
    let pipelines = fleet.broker.pipelines().await.unwrap();
    let (agent, task_id) = ("sample".parse().unwrap(), "p".parse().unwrap());
    eventually("its record is gone", || async {
        pipelines.get(&agent, &task_id).await.unwrap().is_none().then_some(())
    })
    .await;
}

/// A worker whose acknowledgement is lost runs its step again and hands it back again, maybe when all is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_handed_back_twice_changes_nothing() {
    let fleet = FleetBuilder::new().start().await;
    let mut handed_back = fleet.nats.client().subscribe("reroute.*").await.unwrap();
    let task = json!({
        "id": "p",
        "prompt": "x",
        "steps": [
            {"name": "a", "prompt": "One", "complexity": 0.1},
            {"name": "b", "prompt": "wait {{steps.a.text}}", "complexity": 0.1},
        ],
    });
    fleet.submit("sample", task).await;
    let first = handed_back.next().await.unwrap();
    let (agent, task_id) = ("sample".parse().unwrap(), "p".parse().unwrap());
    let pipelines = fleet.broker.pipelines().await.unwrap();
    let runner = fleet.runners["local-fast"].clone();
    eventually("the last step runs and the record is gone", || async {
        let is_forgotten = pipelines.get(&agent, &task_id).await.unwrap().is_none();
        (is_forgotten && runner.seen().len() == 2).then_some(())
    })
    .await;
    fleet.nats.publish(first.subject, first.payload).await.unwrap().await.unwrap();
    let returns = fleet.nats.get_stream("RETURNS").await.unwrap();
    eventually("the classifier has taken it", || async {
        (returns.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
    runner.release();
    let result = fleet.result("sample", &task_id).await;
    assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("echo: wait echo: One")));
    assert_eq!(runner.seen().len(), 2, "no step runs again");
}

/// In a cluster the server that answers may be behind the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_there_yet_is_waited_for() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({
        "id": "p",
        "prompt": "x",
        "steps": [
            {"name": "a", "prompt": "wait here", "complexity": 0.1},
            {"name": "b", "prompt": "Two: {{steps.a.text}}", "complexity": 0.1},
        ],
    });
    fleet.submit("sample", task).await;
    let runner = fleet.runners["local-fast"].clone();
    eventually("the first step runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    let (agent, task_id) = ("sample".parse().unwrap(), "p".parse().unwrap());
    let pipelines = fleet.broker.pipelines().await.unwrap();
    let Known::Kept(record, revision) = pipelines.look_up(&agent, &task_id).await.unwrap() else { panic!() };
    pipelines.update(&record, revision).await.unwrap();
    assert!(pipelines.update(&record, revision).await.is_err(), "it has another revision now");
    fleet.nats.get_stream("KV_pipelines").await.unwrap().purge().await.unwrap();
    runner.release();
    let returns = fleet.nats.get_stream("RETURNS").await.unwrap();
    eventually("the classifier has looked in vain", || async {
        (returns.consumer_info("take_back").await.unwrap().num_redelivered > 0).then_some(())
    })
    .await;
    assert!(pipelines.create(&record).await.unwrap().is_none());
    let result = fleet.result("sample", &task_id).await;
    assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("echo: Two: echo: wait here")));
}
