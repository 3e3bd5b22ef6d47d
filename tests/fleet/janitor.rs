//! The janitor: what a consumer's bound leaves in a queue for ever ends as a result and a dead letter.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::StreamMessage;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use trilane_broker::stuck::Sweep;
use trilane_broker::topology::{
    ADVISORIES, CANCEL, CANCELS, CLASSIFY, DUE, JANITOR, LANE_LOCAL, LATER, RETURNS, TAKE_BACK, TASKS,
    Topology,
};
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::work::{Ending, LaneMessage, RerouteCause, Return};
use trilane_protocol::{Encoding, Status, TaskId, TaskResult, Usage};
use trilane_service::Shutdown;
use trilane_service::health::Readiness;
use trilane_service::start::Started;
use trilane_testkit::{Fleet, FleetBuilder, eventually};

/// The consumer that a task without a priority comes by.
const LANE: &str = "local-fast_normal";

/// Sweeps hardly ever, so that advisories alone are at work.
const ADVISORIES_ONLY: &str = "[monitor]\nsweep_s = 86400\n";

/// Ends with its test.
struct Monitor(Shutdown, JoinHandle<()>);

impl Drop for Monitor {
    fn drop(&mut self) {
        self.1.abort();
    }
}

async fn monitor(fleet: &Fleet) -> Monitor {
    let shutdown = Shutdown::new();
    let started = Started { shutdown: shutdown.clone(), readiness: Readiness::default() };
    let (readiness, config) = (started.readiness.clone(), fleet.config.clone());
    let task = tokio::spawn(async move { trilane_monitor::run(config, &started).await.unwrap() });
    eventually("the monitor is ready", || async { readiness.is_ready().then_some(()) }).await;
    Monitor(shutdown, task)
}

/// What an operator does who thinks better of it later: one delivery, and a short lease.
async fn bounded(fleet: &Fleet, stream: &str, name: &str) -> Consumer<pull::Config> {
    let stream = fleet.nats.get_stream(stream).await.unwrap();
    let config = stream.consumer_info(name).await.unwrap().config;
    let config = async_nats::jetstream::consumer::FromConsumer::try_from_consumer_config(config).unwrap();
    let config = pull::Config { max_deliver: 1, ack_wait: Duration::from_secs(1), ..config };
    stream.create_consumer(config).await.unwrap()
}

/// Takes `count` messages as a worker does that dies at once, and waits until the server gives them up.
async fn get_stuck(fleet: &Fleet, stream: &str, name: &str, count: usize) {
    let consumer = bounded(fleet, stream, name).await;
    eventually("the messages are taken", || async {
        let taken = consumer.fetch().max_messages(count).messages().await.unwrap();
        taken.collect::<Vec<_>>().await;
        let seen = consumer.get_info().await.unwrap().delivered.consumer_sequence;
        // A killed classifier's pull may have taken one, and given it back.
        (seen >= count as u64).then_some(())
    })
    .await;
    eventually("the server gives them up", || async {
        (messages(fleet, ADVISORIES).await >= count as u64).then_some(())
    })
    .await;
}

async fn messages(fleet: &Fleet, stream: &str) -> u64 {
    fleet.nats.get_stream(stream).await.unwrap().get_info().await.unwrap().state.messages
}

async fn letter(fleet: &Fleet, subject: &str) -> Value {
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    let letter = dead.direct_get_last_for_subject(subject).await.unwrap();
    serde_json::from_slice(&letter.payload).unwrap()
}

async fn is_empty(fleet: &Fleet, stream: &str) {
    eventually("the queue is empty", || async { (messages(fleet, stream).await == 0).then_some(()) }).await;
}

/// Waits until every advisory is dealt with.
async fn all_heeded(fleet: &Fleet) {
    let stream = fleet.nats.get_stream(ADVISORIES).await.unwrap();
    eventually("every advisory is dealt with", || async {
        let janitor = stream.consumer_info(JANITOR).await.unwrap();
        (janitor.num_pending == 0 && janitor.num_ack_pending == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_died_with_its_worker_at_the_bound_ends_as_failed() {
    let mut fleet = FleetBuilder::new().config(ADVISORIES_ONLY).start().await;
    bounded(&fleet, LANE_LOCAL, LANE).await;
    let _monitor = monitor(&fleet).await;
    let task = json!({"prompt": "wait here", "complexity": 0.1, "metadata": {"mine": 7}});
    let id = fleet.submit("sample", task).await;
    let runner = fleet.runners["local-fast"].clone();
    eventually("the task runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    fleet.kill_worker("local-fast");

    let result = fleet.result("sample", &id).await;
    assert_eq!((result.status, result.attempts), (Status::Failed, 1));
    assert_eq!(result.lane.unwrap().as_str(), "local-fast");
    assert_eq!(result.metadata["mine"], 7);
    let error = result.error.unwrap();
    assert_eq!(error.code, "max_deliveries");
    assert!(error.message.contains("trilane provision") && error.message.contains(LANE), "{error}");
    is_empty(&fleet, LANE_LOCAL).await;
    let letter = letter(&fleet, "dead.local-fast").await;
    assert_eq!(letter["task_id"], json!(id));
    assert_eq!(letter["error"]["code"], "max_deliveries");
    assert!(!letter["payload"].as_array().unwrap().is_empty());
    all_heeded(&fleet).await;
    assert_eq!(messages(&fleet, "DEAD").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_stuck_at_the_intake_ends_as_failed() {
    let fleet = FleetBuilder::new().config(ADVISORIES_ONLY).classifiers(0).start().await;
    let id = fleet.submit("sample", json!({"id": "mine", "prompt": "x"})).await;
    let bad = fleet.submit_bytes("sample", b"no task at all".to_vec()).await;
    get_stuck(&fleet, TASKS, CLASSIFY, 2).await;
    let _monitor = monitor(&fleet).await;
    for id in [id, TaskId::new(bad.to_string()).unwrap()] {
        let result = fleet.result("sample", &id).await;
        assert_eq!(result.error.unwrap().code, "max_deliveries", "{id}");
    }
    is_empty(&fleet, TASKS).await;
    assert_eq!(messages(&fleet, "DEAD").await, 2);
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    let mut payloads = Vec::new();
    for sequence in 1..=2 {
        let letter = dead.get_raw_message(sequence).await.unwrap();
        payloads.push(serde_json::from_slice::<Value>(&letter.payload).unwrap()["payload"].clone());
    }
    assert!(payloads.contains(&json!("no task at all")), "{payloads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_message_that_does_not_read_is_buried() {
    let fleet = FleetBuilder::new().config(ADVISORIES_ONLY).without_worker("local-fast").start().await;
    fleet.nats.publish("lane.local-fast.normal", "no message".into()).await.unwrap().await.unwrap();
    get_stuck(&fleet, LANE_LOCAL, LANE, 1).await;
    let _monitor = monitor(&fleet).await;
    is_empty(&fleet, LANE_LOCAL).await;
    let letter = letter(&fleet, "dead.local-fast").await;
    assert_eq!((&letter["payload"], &letter["task_id"]), (&json!("no message"), &Value::Null));
    assert_eq!(messages(&fleet, "RESULTS").await, 0);
}

/// The first message of the local lanes, as a classifier has sealed it, without a classifier that runs any more.
async fn sealed(fleet: &mut Fleet) -> (LaneMessage, StreamMessage) {
    let lane = fleet.nats.get_stream(LANE_LOCAL).await.unwrap();
    let message =
        eventually("a message is on its lane", || async { lane.get_raw_message(1).await.ok() }).await;
    fleet.kill_classifiers();
    (Encoding::Msgpack.decode(&message.payload).unwrap(), message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_lane_message_without_a_seal_ends_no_task() {
    let mut fleet = FleetBuilder::new().config(ADVISORIES_ONLY).without_worker("local-fast").start().await;
    let id = fleet.submit("sample", json!({"prompt": "x", "complexity": 0.1})).await;
    let (mut message, _) = sealed(&mut fleet).await;
    message.work.task_id = "victim".parse().unwrap();
    let forged = Encoding::Msgpack.encode(&message).into();
    fleet.nats.publish("lane.local-fast.normal", forged).await.unwrap().await.unwrap();
    get_stuck(&fleet, LANE_LOCAL, LANE, 2).await;
    let _monitor = monitor(&fleet).await;
    is_empty(&fleet, LANE_LOCAL).await;
    assert_eq!(fleet.result("sample", &id).await.status, Status::Failed);
    assert_eq!((messages(&fleet, "DEAD").await, messages(&fleet, "RESULTS").await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_and_nobody_took_ends_its_own_task_and_no_other() {
    let mut fleet = FleetBuilder::new().config(ADVISORIES_ONLY).without_worker("local-fast").start().await;
    let id = fleet.submit("sample", json!({"prompt": "x", "complexity": 0.1})).await;
    let (mut message, genuine) = sealed(&mut fleet).await;
    let seal = genuine.headers.get("Trilane-Seal").unwrap().to_string();
    message.work.task_id = "victim".parse().unwrap();
    for payload in [genuine.payload.to_vec(), Encoding::Msgpack.encode(&message)] {
        let cause = RerouteCause::Degrade { reason: "r".into() };
        let returned = Return {
            message: payload,
            seal: seal.clone(),
            lane: "local-fast".parse().unwrap(),
            deliveries: 3,
            ending: Ending::Reroute { spent: message.work.spent.clone(), cause },
        };
        let payload = Encoding::Msgpack.encode(&returned).into();
        fleet.nats.publish("reroute.sample", payload).await.unwrap().await.unwrap();
    }
    get_stuck(&fleet, RETURNS, TAKE_BACK, 2).await;
    let _monitor = monitor(&fleet).await;
    is_empty(&fleet, RETURNS).await;
    let result = fleet.result("sample", &id).await;
    assert_eq!((result.status, result.attempts), (Status::Failed, 3));
    assert_eq!((messages(&fleet, "DEAD").await, messages(&fleet, "RESULTS").await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postponed_task_that_is_stuck_ends_under_its_own_id() {
    let mut fleet = FleetBuilder::new().config(ADVISORIES_ONLY).start().await;
    fleet.submit("sample", json!({"prompt": "much later", "not_before": 3600})).await;
    let id = fleet.submit("sample", json!({"prompt": "later", "not_before": 3})).await;
    eventually("both are postponed", || async {
        (messages(&fleet, LATER).await == 2 && messages(&fleet, TASKS).await == 0).then_some(())
    })
    .await;
    fleet.kill_classifiers();
    assert_eq!(
        fleet.broker.sweep(LATER).await.unwrap(),
        Sweep::default(),
        "what is not due yet is not stuck"
    );
    get_stuck(&fleet, LATER, DUE, 1).await;
    assert_eq!(fleet.broker.sweep(LATER).await.unwrap().zombies, 1);
    let _monitor = monitor(&fleet).await;
    assert_eq!(fleet.result("sample", &id).await.error.unwrap().code, "max_deliveries");
    let source = &letter(&fleet, "dead.intake").await["source"];
    assert_eq!((&source["stream"], source["sequence"].to_string()), (&json!(TASKS), id.to_string()));
    eventually("only what is not due is left", || async {
        (messages(&fleet, LATER).await == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_wish_to_cancel_is_a_dead_letter_and_ends_nothing() {
    let fleet = FleetBuilder::new().config(ADVISORIES_ONLY).classifiers(0).start().await;
    fleet.broker.cancel(&"sample".parse().unwrap(), &"mine".parse().unwrap()).await.unwrap();
    get_stuck(&fleet, CANCELS, CANCEL, 1).await;
    let _monitor = monitor(&fleet).await;
    is_empty(&fleet, CANCELS).await;
    let error = letter(&fleet, "dead.intake").await["error"]["message"].to_string();
    assert!(error.contains("cancel task `mine` of agent `sample` again"), "{error}");
    assert_eq!(messages(&fleet, "RESULTS").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_gone_already_leaves_no_trace() {
    let fleet = FleetBuilder::new().config(ADVISORIES_ONLY).classifiers(0).start().await;
    fleet.submit("sample", json!({"prompt": "x"})).await;
    get_stuck(&fleet, TASKS, CLASSIFY, 1).await;
    assert!(fleet.nats.get_stream(TASKS).await.unwrap().delete_message(1).await.unwrap());
    let _monitor = monitor(&fleet).await;
    all_heeded(&fleet).await;
    assert_eq!((messages(&fleet, "DEAD").await, messages(&fleet, "RESULTS").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_monitors_at_once_end_each_task_once() {
    let config = "[monitor]\nsweep_s = 1\n";
    let fleet = FleetBuilder::new().config(config).classifiers(0).start().await;
    let mut ids = Vec::new();
    for index in 0..20 {
        ids.push(fleet.submit("sample", json!({"prompt": format!("{index}")})).await);
    }
    get_stuck(&fleet, TASKS, CLASSIFY, 20).await;
    let _monitors = (monitor(&fleet).await, monitor(&fleet).await);
    for id in &ids {
        assert_eq!(fleet.result("sample", id).await.status, Status::Failed);
    }
    is_empty(&fleet, TASKS).await;
    all_heeded(&fleet).await;
    assert_eq!((messages(&fleet, "DEAD").await, messages(&fleet, "RESULTS").await), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_advisory_tells_of_is_found_by_the_sweep() {
    let config = "[monitor]\nsweep_s = 1\n";
    let fleet = FleetBuilder::new().config(config).without_worker("local-fast").start().await;
    let id = fleet.submit("sample", json!({"prompt": "x", "complexity": 0.1})).await;
    get_stuck(&fleet, LANE_LOCAL, LANE, 1).await;
    fleet.nats.get_stream(ADVISORIES).await.unwrap().purge().await.unwrap();
    let _monitor = monitor(&fleet).await;
    assert_eq!(fleet.result("sample", &id).await.error.unwrap().code, "max_deliveries");
    is_empty(&fleet, LANE_LOCAL).await;
    assert_eq!(messages(&fleet, "DEAD").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_leaves_alone_what_somebody_waits_for() {
    let fleet = FleetBuilder::new().without_worker("local-fast").start().await;
    for index in 0..3 {
        fleet.submit("sample", json!({"prompt": format!("{index}"), "complexity": 0.1})).await;
    }
    eventually("all are on the lane", || async { (messages(&fleet, LANE_LOCAL).await == 3).then_some(()) })
        .await;
    get_stuck(&fleet, LANE_LOCAL, LANE, 1).await;
    let sweep = || async {
        let seen = fleet.broker.sweep(LANE_LOCAL).await.unwrap();
        (seen.zombies, seen.found.iter().map(|place| place.sequence).collect::<Vec<_>>())
    };
    assert_eq!(sweep().await, (1, vec![1]), "one is stuck, two wait");

    // With a lease of ten minutes nothing but an answer ends the wait.
    let stream = fleet.nats.get_stream(LANE_LOCAL).await.unwrap();
    let config = pull::Config {
        durable_name: Some(LANE.into()),
        filter_subject: "lane.local-fast.normal".into(),
        ack_wait: Duration::from_secs(600),
        max_deliver: 1,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut taken = consumer.fetch().max_messages(1).messages().await.unwrap();
    let taken = taken.next().await.unwrap().unwrap();
    assert_eq!(sweep().await, (1, vec![]), "the stuck one cannot be told from the one in hand");
    taken.double_ack().await.unwrap();
    assert_eq!(sweep().await, (1, vec![1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_its_queue_before_letter_and_result_are_stored() {
    for refusing in ["DEAD", "RESULTS"] {
        let fleet = FleetBuilder::new().config(ADVISORIES_ONLY).classifiers(0).start().await;
        let id = fleet.submit("sample", json!({"prompt": "x"})).await;
        get_stuck(&fleet, TASKS, CLASSIFY, 1).await;
        let config = fleet.nats.get_stream(refusing).await.unwrap().get_info().await.unwrap().config;
        let refuses = async_nats::jetstream::stream::Config { max_message_size: 1, ..config.clone() };
        fleet.nats.update_stream(refuses).await.unwrap();
        let _monitor = monitor(&fleet).await;
        let advisories = fleet.nats.get_stream(ADVISORIES).await.unwrap();
        eventually("the janitor tries again", || async {
            let janitor = advisories.consumer_info(JANITOR).await.unwrap();
            (janitor.delivered.consumer_sequence >= 2).then_some(())
        })
        .await;
        assert_eq!(messages(&fleet, TASKS).await, 1, "{refusing} refuses");
        assert_eq!(messages(&fleet, "RESULTS").await, 0, "the result comes last");
        fleet.nats.update_stream(config).await.unwrap();
        assert_eq!(fleet.result("sample", &id).await.status, Status::Failed);
        is_empty(&fleet, TASKS).await;
        assert_eq!(messages(&fleet, "DEAD").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_its_result_is_only_cleaned_up() {
    let fleet = FleetBuilder::new().config(ADVISORIES_ONLY).classifiers(0).start().await;
    let id = fleet.submit("sample", json!({"id": "mine", "prompt": "x"})).await;
    let done = done("mine", Some(1));
    fleet.broker.report(&done, Encoding::Json, None).await.unwrap();
    get_stuck(&fleet, TASKS, CLASSIFY, 1).await;
    let _monitor = monitor(&fleet).await;
    is_empty(&fleet, TASKS).await;
    assert_eq!(fleet.result("sample", &id).await.status, Status::Done);
    assert_eq!(messages(&fleet, "DEAD").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_task_under_a_used_id_is_buried_as_such() {
    let fleet = FleetBuilder::new().config(ADVISORIES_ONLY).classifiers(0).start().await;
    let done = done("mine", Some(99));
    fleet.broker.report(&done, Encoding::Json, None).await.unwrap();
    fleet.submit("sample", json!({"id": "mine", "prompt": "x"})).await;
    get_stuck(&fleet, TASKS, CLASSIFY, 1).await;
    let _monitor = monitor(&fleet).await;
    is_empty(&fleet, TASKS).await;
    assert_eq!(letter(&fleet, "dead.intake").await["error"]["code"], "id_reused");
    assert_eq!(messages(&fleet, "RESULTS").await, 1);
}

/// Takes the bound away as `trilane provision` does, and makes again what is missing.
async fn provision(fleet: &Fleet) {
    fleet.broker.provision(&Topology::new(&fleet.config)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_of_a_consumer_that_was_made_anew_ends_nothing() {
    let mut fleet = FleetBuilder::new().config(ADVISORIES_ONLY).without_worker("local-fast").start().await;
    let id = fleet.submit("sample", json!({"prompt": "wait here", "complexity": 0.1})).await;
    get_stuck(&fleet, LANE_LOCAL, LANE, 1).await;
    fleet.nats.get_stream(LANE_LOCAL).await.unwrap().delete_consumer(LANE).await.unwrap();
    provision(&fleet).await;
    fleet.start_worker("local-fast", 1).await;
    let runner = fleet.runners["local-fast"].clone();
    eventually("the task runs", || async { (runner.seen().len() == 1).then_some(()) }).await;
    let _monitor = monitor(&fleet).await;
    all_heeded(&fleet).await;
    runner.release();
    assert_eq!(fleet.result("sample", &id).await.status, Status::Done);
    assert_eq!(messages(&fleet, "DEAD").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_of_a_consumer_that_begins_again_ends_nothing() {
    let mut fleet = FleetBuilder::new().config(ADVISORIES_ONLY).without_worker("local-fast").start().await;
    let id = fleet.submit("sample", json!({"prompt": "x", "complexity": 0.1})).await;
    get_stuck(&fleet, LANE_LOCAL, LANE, 1).await;
    provision(&fleet).await;
    let subject = format!("CONSUMER.RESET.{LANE_LOCAL}.{LANE}");
    let answer: Value = fleet.nats.request(subject, &json!({"seq": 1})).await.unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    let _monitor = monitor(&fleet).await;
    all_heeded(&fleet).await;
    fleet.start_worker("local-fast", 1).await;
    assert_eq!(fleet.result("sample", &id).await.status, Status::Done);
    assert_eq!(messages(&fleet, "DEAD").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_drains_when_it_is_told_to() {
    let fleet = FleetBuilder::new().start().await;
    let mut monitor = monitor(&fleet).await;
    monitor.0.begin();
    (&mut monitor.1).await.unwrap();
}

fn done(id: &str, task_seq: Option<u64>) -> TaskResult {
    TaskResult {
        task_id: id.parse().unwrap(),
        agent: "sample".parse().unwrap(),
        task_seq,
        status: Status::Done,
        text: Some("answer".into()),
        finish: None,
        error: None::<TaskError>,
        lane: None,
        model: None,
        usage: Usage::default(),
        cost_usd: 0.0,
        signs: None,
        earlier: None,
        timing_ms: Timing::default(),
        attempts: 1,
        decision: None,
        metadata: trilane_protocol::task::Metadata::new(),
        finished_at: jiff::Timestamp::now(),
    }
}
