//! What `trilane prove` says of a fleet's logs, as they are and after somebody has been at them.

use async_nats::HeaderMap;
use serde_json::{Value, json};
use trilane_protocol::chain::RouteSegment;
use trilane_protocol::{Encoding, Status};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::trilane;

/// The proof, and whether it holds.
async fn prove(fleet: &Fleet, arguments: &[&str]) -> (Value, bool) {
    let output = trilane(fleet, &[&["prove", "--json"], arguments].concat()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let proof = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (proof, output.status.success())
}

fn kinds(proof: &Value) -> Vec<&str> {
    let findings = proof["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

/// A fleet that has done a bit of everything.
async fn busy() -> Fleet {
    let mut fleet = FleetBuilder::new().start().await;
    let tasks = [
        json!({"prompt": "a"}),
        json!({"prompt": "b", "sensitivity": "private", "complexity": 0.99}),
        json!({"prompt": "c", "complexity": 0.99}),
        json!({"prompt": "too-long", "complexity": 0.1}),
        json!({"prompt": "unable", "complexity": 0.99}),
        json!({"prompt": "fail"}),
        json!({"promt": "x"}),
        json!({"prompt": "x", "deadline": "2020-01-01T00:00:00Z"}),
        json!({"prompt": "p", "steps": [
            {"name": "a", "prompt": "One {{input}}", "complexity": 0.99},
            {"name": "b", "prompt": "Two {{steps.a.text}}", "sensitivity": "private"},
        ]}),
    ];
    for task in tasks {
        fleet.run("sample", task).await;
    }
    fleet.start_classifier().await;
    let msgpack =
        rmp_serde::to_vec_named(&json!({"id": "mp", "prompt": "hello", "complexity": 0.1})).unwrap();
    fleet.submit_bytes("sample", msgpack).await;
    let stream = fleet.nats.get_stream("RESULTS").await.unwrap();
    eventually("the result", || async { stream.direct_get_last_for_subject("result.sample.mp").await.ok() })
        .await;
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_of_a_fleet_prove_it() {
    let fleet = busy().await;
    let (proof, holds) = prove(&fleet, &[]).await;
    assert!(holds, "{proof}");
    assert_eq!((&proof["private_on_cloud"], &proof["chain"]), (&json!(0), &json!("whole")));
    assert_eq!((&proof["results"], &proof["dead_letters"]), (&json!(10), &json!(2)));
    // One each, and another for each that moved on: too long, unable, the second step.
    assert_eq!((&proof["records"], &proof["private_records"]), (&json!(11), &json!(2)));
    assert_eq!(proof["cloud_records"], 3);
    let (window, holds) = prove(&fleet, &["--since", "1h"]).await;
    assert_eq!((&window, holds), (&proof, true));
    let output = trilane(&fleet, &["prove"]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("no private task was offered to the cloud zone; the chain is whole"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_classifier_has_written_is_named() {
    let fleet = busy().await;
    let routes = fleet.nats.get_stream("ROUTES").await.unwrap();
    let last = routes.get_raw_message(routes.get_info().await.unwrap().state.last_sequence).await.unwrap();
    let mut segment: RouteSegment = Encoding::Json.decode(&last.payload).unwrap();
    segment.index += 1;
    let mut headers = HeaderMap::new();
    headers.insert("Trilane-Seal", last.headers.get("Trilane-Seal").unwrap().as_str());
    let payload = Encoding::Json.encode(&segment);
    let sent = fleet.nats.publish_with_headers(last.subject.clone(), headers, payload.into()).await.unwrap();
    let forged = sent.await.unwrap().sequence;
    let (proof, holds) = prove(&fleet, &[]).await;
    assert!(!holds);
    assert_eq!((kinds(&proof), &proof["chain"]), (vec!["altered"], &json!("broken")));
    assert_eq!(proof["findings"][0]["where"], format!("ROUTES {forged}"));
    let output = trilane(&fleet, &["prove"]).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("the proof does not hold"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_log_that_was_made_anew_proves_nothing() {
    let fleet = busy().await;
    let config = fleet.nats.get_stream("ROUTES").await.unwrap().cached_info().config.clone();
    fleet.nats.delete_stream("ROUTES").await.unwrap();
    fleet.nats.create_stream(config).await.unwrap();
    let (proof, holds) = prove(&fleet, &[]).await;
    assert!(!holds);
    let kinds = kinds(&proof);
    assert!(kinds.len() >= 6 && kinds.iter().all(|kind| *kind == "no_record"), "{proof}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_no_decision_led_to_is_named() {
    let fleet = busy().await;
    let mut result = fleet.run("sample", json!({"id": "real", "prompt": "x"})).await;
    result.task_id = "planted".parse().unwrap();
    fleet.broker.report(&result, Encoding::Json, None).await.unwrap();
    let (proof, holds) = prove(&fleet, &["--since", "1h"]).await;
    assert_eq!((kinds(&proof), holds), (vec!["no_record"], false));
    assert!(proof["findings"][0]["message"].as_str().unwrap().contains("`planted`"), "{proof}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_refused_is_named_and_proves_nothing_wrong() {
    let fleet = busy().await;
    let sent = fleet.nats.publish("lane.cloud.normal", "forged".into()).await.unwrap();
    sent.await.unwrap();
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    eventually("it is a dead letter", || async { dead.direct_get_last_for_subject("dead.cloud").await.ok() })
        .await;
    let (proof, holds) = prove(&fleet, &[]).await;
    assert_eq!((kinds(&proof), holds), (vec!["refused"], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_of_the_seal_nothing_can_be_proved() {
    let fleet = busy().await;
    assert_eq!(fleet.run("sample", json!({"prompt": "x"})).await.status, Status::Done);
    std::fs::remove_file(fleet.keys.folder().join("observer/seal.pub")).unwrap();
    let output = trilane(&fleet, &["prove"]).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("seal.pub is not there"), "{said}");
}
