//! Nothing runs without a classifier's seal, and nobody can hand back what was never on a lane.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::json;
use trilane_protocol::alert::Alert;
use trilane_protocol::outcome::DeadLetter;
use trilane_protocol::work::{Ending, LaneMessage, MAX_HOPS, RerouteCause, Return, Spent};
use trilane_protocol::{Encoding, LaneName, Status, TaskResult, Zone};
use trilane_testkit::{Fleet, FleetBuilder, eventually};
use trilane_trust::Role;

const SEAL: &str = "Trilane-Seal";

/// The first message of a stream, as a classifier has put it there.
async fn sealed(fleet: &Fleet, stream: &str) -> StreamMessage {
    let stream = fleet.nats.get_stream(stream).await.unwrap();
    eventually("a message is on its lane", || async { stream.get_raw_message(1).await.ok() }).await
}

async fn put(fleet: &Fleet, subject: &str, seal: Option<&str>, payload: &[u8]) {
    let mut headers = HeaderMap::new();
    seal.into_iter().for_each(|seal| headers.insert(SEAL, seal));
    let sent = fleet.nats.publish_with_headers(subject.to_owned(), headers, payload.to_vec().into());
    sent.await.unwrap().await.unwrap();
}

async fn last_letter(fleet: &Fleet, place: &str, code: &str) -> DeadLetter {
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    eventually(&format!("a dead letter {code}"), || async {
        let message = dead.direct_get_last_for_subject(format!("dead.{place}")).await.ok()?;
        let letter: DeadLetter = Encoding::Json.decode(&message.payload).unwrap();
        (letter.error.code == code).then_some(letter)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_carries_no_seal_of_its_own_is_never_run() {
    let fleet = FleetBuilder::new().without_worker("local-deep").start().await;
    let mut alerts =
        async_nats::ConnectOptions::with_nkey(fleet.keys.user_seed(&Role::Observer).unwrap().unwrap())
            .connect(&fleet.config.nats.url)
            .await
            .unwrap()
            .subscribe("alert.>")
            .await
            .unwrap();
    fleet.submit("sample", json!({"prompt": "x", "sensitivity": "private", "complexity": 0.99})).await;
    let genuine = sealed(&fleet, "LANE_LOCAL").await;
    let seal = genuine.headers.get(SEAL).unwrap().as_str().to_owned();
    let lane = "lane.local-fast.normal";
    let stranger = trilane_trust::SealKey::generate().seal(
        &LaneName::new("local-fast").unwrap(),
        &genuine.payload,
        Timestamp::MAX,
    );
    for (code, seal) in [
        ("seal_missing", None),
        ("seal_missing", Some("x")),
        ("seal_broken", Some(seal.as_str())),
        ("seal_untrusted", Some(stranger.to_string().as_str())),
    ] {
        put(&fleet, lane, seal, &genuine.payload).await;
        let letter = last_letter(&fleet, "local-fast", code).await;
        assert_eq!((letter.payload.as_slice(), letter.task_id), (genuine.payload.as_ref(), None));
        let alert = alerts.next().await.unwrap();
        assert_eq!(alert.subject.as_str(), format!("alert.{code}.local-fast"));
        assert_eq!(Encoding::Json.decode::<Alert>(&alert.payload).unwrap().kind, code);
    }
    let mut altered = genuine.payload.to_vec();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    put(&fleet, "lane.cloud.normal", Some(&seal), &altered).await;
    last_letter(&fleet, "cloud", "seal_broken").await;
    for lane in ["local-fast", "cloud"] {
        assert!(fleet.runners[lane].seen().is_empty(), "nothing of it was run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_has_expired_ends_its_task() {
    let fleet = FleetBuilder::new().without_worker("local-deep").start().await;
    let id =
        fleet.submit("sample", json!({"prompt": "x", "sensitivity": "private", "complexity": 0.99})).await;
    let genuine = sealed(&fleet, "LANE_LOCAL").await;
    let mut message: LaneMessage = Encoding::Msgpack.decode(&genuine.payload).unwrap();
    message.decision.lane = LaneName::new("local-fast").unwrap();
    let payload = Encoding::Msgpack.encode(&message);
    let seal = fleet.keys.seal_key().unwrap().seal(&message.decision.lane, &payload, Timestamp::UNIX_EPOCH);
    put(&fleet, "lane.local-fast.normal", Some(&seal.to_string()), &payload).await;
    let result = fleet.result("sample", &id).await;
    assert_eq!((result.status, result.error.unwrap().code.as_str()), (Status::Failed, "seal_expired"));
    last_letter(&fleet, "local-fast", "seal_expired").await;
    assert!(fleet.runners["local-fast"].seen().is_empty());
}

/// What somebody says who has stolen the key of a cloud worker.
fn returned(message: &[u8], seal: &str, lane: &str, result: TaskResult) -> Vec<u8> {
    let ending = Ending::Ended { result: Box::new(result), is_dead: false };
    let lane = LaneName::new(lane).unwrap();
    let (message, seal) = (message.to_vec(), seal.to_owned());
    Encoding::Msgpack.encode(&Return { message, seal, lane, deliveries: 1, ending })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_worker_can_answer_only_what_it_was_asked() {
    let park = "[policy.adjust]\ncloud_without_worker = \"park\"\n";
    let fleet =
        FleetBuilder::new().config(park).without_worker("cloud").without_worker("local-deep").start().await;
    let private =
        fleet.submit("sample", json!({"prompt": "x", "sensitivity": "private", "complexity": 0.99})).await;
    let public =
        fleet.submit("sample", json!({"prompt": "x", "complexity": 0.99, "metadata": {"a": 1}})).await;
    let (on_local, on_cloud) = (sealed(&fleet, "LANE_LOCAL").await, sealed(&fleet, "LANE_CLOUD").await);
    let seal = |message: &StreamMessage| message.headers.get(SEAL).unwrap().as_str().to_owned();
    let answer = fleet.run("sample", json!({"prompt": "another", "complexity": 0.1})).await;
    let forged = TaskResult { task_id: private.clone(), text: Some("forged".into()), ..answer };

    let sneaked = returned(&on_local.payload, &seal(&on_cloud), "cloud", forged.clone());
    put(&fleet, "return.sample", None, &sneaked).await;
    last_letter(&fleet, "cloud", "seal_broken").await;
    put(&fleet, "return.sample", None, b"nothing of ours").await;
    last_letter(&fleet, "intake", "malformed_return").await;
    // Its own task it may answer, and nothing else with that: whose answer it is, the sealed message says.
    let own = returned(&on_cloud.payload, &seal(&on_cloud), "cloud", forged);
    put(&fleet, "return.other", None, &own).await;
    last_letter(&fleet, "cloud", "forged_return").await;
    put(&fleet, "return.sample", None, &own).await;
    let result = fleet.result("sample", &public).await;
    assert_eq!((result.text.as_deref(), result.lane.unwrap().as_str()), (Some("forged"), "cloud"));
    assert_eq!(result.decision.unwrap().zone, Zone::Cloud);
    assert_eq!(result.metadata["a"], 1);
    assert_eq!(fleet.broker.result(&"sample".parse().unwrap(), &private).await.unwrap(), None);
}

fn rerouted(message: &[u8], seal: &str) -> Vec<u8> {
    let ending = Ending::Reroute {
        spent: Spent::default(),
        cause: RerouteCause::Degrade { reason: "says who has stolen the key".into() },
    };
    let lane = LaneName::new("cloud").unwrap();
    let (message, seal) = (message.to_vec(), seal.to_owned());
    Encoding::Msgpack.encode(&Return { message, seal, lane, deliveries: 1, ending })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_ended_cannot_be_sent_round_again() {
    let park = "[policy.adjust]\ncloud_without_worker = \"park\"\n";
    let fleet = FleetBuilder::new().config(park).without_worker("cloud").start().await;
    let id = fleet.submit("sample", json!({"prompt": "x", "complexity": 0.99})).await;
    let on_cloud = sealed(&fleet, "LANE_CLOUD").await;
    let seal = on_cloud.headers.get(SEAL).unwrap().as_str();
    put(&fleet, "return.sample", None, &rerouted(&on_cloud.payload, seal)).await;
    let result = fleet.result("sample", &id).await;
    assert_eq!((result.status, result.lane.unwrap().as_str()), (Status::Done, "local-deep"));
    put(&fleet, "return.sample", None, &rerouted(&on_cloud.payload, seal)).await;
    let returns = fleet.nats.get_stream("RETURNS_CLOUD").await.unwrap();
    eventually("it is dealt with", || async {
        (returns.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
    fleet.run("sample", json!({"prompt": "after", "complexity": 0.5})).await;
    assert_eq!(fleet.runners["local-deep"].seen().len(), 2, "the first task, and the one after it");
    assert_eq!(fleet.nats.get_stream("DEAD").await.unwrap().get_info().await.unwrap().state.messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_sent_round_for_ever() {
    let park = "[policy.adjust]\ncloud_without_worker = \"park\"\n";
    let fleet = FleetBuilder::new().config(park).without_worker("cloud").start().await;
    let id = fleet.submit("sample", json!({"prompt": "x", "complexity": 0.99})).await;
    let on_cloud = sealed(&fleet, "LANE_CLOUD").await;
    let mut message: LaneMessage = Encoding::Msgpack.decode(&on_cloud.payload).unwrap();
    message.work.hop = MAX_HOPS;
    let payload = Encoding::Msgpack.encode(&message);
    let seal = fleet.keys.seal_key().unwrap().seal(&message.decision.lane, &payload, Timestamp::MAX);
    put(&fleet, "return.sample", None, &rerouted(&payload, &seal.to_string())).await;
    let result = fleet.result("sample", &id).await;
    assert_eq!((result.status, result.error.unwrap().code.as_str()), (Status::Rejected, "too_many_hops"));
    assert!(fleet.runners["local-deep"].seen().is_empty());
}
