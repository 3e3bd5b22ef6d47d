//! Dead letters in the hands of an operator: listed, shown, published again once, taken away.

use serde_json::{Value, json};
use trilane_protocol::Status;
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::trilane;

/// What `trilane dead …` prints as JSON, and whether it succeeded.
async fn dead(fleet: &Fleet, arguments: &[&str]) -> (Value, bool) {
    let arguments = [&["dead", "--json"], arguments].concat();
    let output = trilane(fleet, &arguments).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| json!(said));
    (printed, output.status.success())
}

async fn count(fleet: &Fleet) -> u64 {
    fleet.nats.get_stream("DEAD").await.unwrap().get_info().await.unwrap().state.messages
}

async fn wait_for_letters(fleet: &Fleet, wanted: u64) {
    eventually("the letters are there", || async { (count(fleet).await == wanted).then_some(()) }).await;
}

/// A fleet with one letter at the intake: the second task of an id.
async fn with_letter(builder: FleetBuilder) -> Fleet {
    let fleet = builder.start().await;
    fleet.run("sample", json!({"id": "twice", "prompt": "first"})).await;
    fleet.submit("sample", json!({"id": "twice", "prompt": "SECOND", "sensitivity": "private"})).await;
    wait_for_letters(&fleet, 1).await;
    fleet
}

/// The id that the replay of letter 1 has.
async fn replay_id(fleet: &Fleet) -> String {
    let (planned, _) = dead(fleet, &["replay", "1", "--dry-run"]).await;
    assert_eq!(planned[0]["outcome"], "would_replay");
    planned[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_listed_without_its_text_and_shown_with_it_on_demand() {
    let fleet = with_letter(FleetBuilder::new()).await;
    let (listed, _) = dead(&fleet, &["list"]).await;
    assert_eq!(listed[0]["error"]["code"], "id_reused");
    assert_eq!((&listed[0]["place"], &listed[0]["task_id"]), (&json!("intake"), &json!("twice")));
    let (shown, _) = dead(&fleet, &["show", "1"]).await;
    assert!(!listed.to_string().contains("SECOND") && !shown.to_string().contains("SECOND"));
    let (whole, _) = dead(&fleet, &["show", "1", "--payload"]).await;
    assert!(whole["payload"].as_str().unwrap().contains("SECOND"));
    let (nothing, found) = dead(&fleet, &["show", "9"]).await;
    assert!(!found && nothing.as_str().unwrap().contains("no dead letter 9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_letters() {
    let fleet = with_letter(FleetBuilder::new()).await;
    fleet.run("other", json!({"promt": "x"})).await;
    fleet.run("other", json!({"prompt": "x", "model": "nobody"})).await;
    let codes = async |arguments: &[&str]| {
        let (listed, _) = dead(&fleet, &[&["list"], arguments].concat()).await;
        let codes = listed.as_array().unwrap().iter().map(|letter| letter["error"]["code"].as_str().unwrap());
        codes.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(codes(&[]).await, ["id_reused", "invalid_task", "unknown_model"]);
    assert_eq!(codes(&["--agent", "other"]).await, ["invalid_task", "unknown_model"]);
    assert_eq!(codes(&["--code", "id_reused", "--since", "1h"]).await, ["id_reused"]);
    assert_eq!(codes(&["--last", "1"]).await, ["unknown_model"]);
    assert_eq!(codes(&["--place", "intake"]).await.len(), 3);
    assert_eq!(codes(&["--place", "local-fast"]).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_task_runs_and_its_letter_is_gone() {
    let fleet = with_letter(FleetBuilder::new()).await;
    let id = replay_id(&fleet).await;
    assert_eq!(count(&fleet).await, 1, "a dry run does nothing");
    let (replayed, _) = dead(&fleet, &["replay", "--all"]).await;
    assert_eq!((&replayed[0]["outcome"], &replayed[0]["id"]), (&json!("replayed"), &json!(id)));
    let result = fleet.result("sample", &id.parse().unwrap()).await;
    assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("echo: SECOND")));
    assert_eq!(result.decision.unwrap().zone, trilane_protocol::Zone::Local, "it stays private");
    assert_eq!(count(&fleet).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_a_lane_is_replayed_from_its_work() {
    let helped =
        "[agents.helped]\nmodel = \"auto\"\nsensitivity = \"public\"\nsystem_prompt = \"You help.\"\n";
    let fleet = FleetBuilder::new().config(helped).start().await;
    // Of two tasks of one id on different lanes the later answer becomes a letter of its lane.
    for (prompt, complexity) in [("wait here", 0.1), ("wait there", 0.99)] {
        let task = json!({"id": "dup", "prompt": prompt, "complexity": complexity, "metadata": {"n": 1}});
        fleet.submit("helped", task).await;
    }
    let (local, cloud) = (&fleet.runners["local-fast"], &fleet.runners["cloud"]);
    for runner in [local, cloud] {
        eventually("both run", || async { (runner.seen().len() == 1).then_some(()) }).await;
    }
    local.release();
    fleet.result("helped", &"dup".parse().unwrap()).await;
    cloud.release();
    wait_for_letters(&fleet, 1).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), helped).unwrap();
    let config = ["--config", file.path().to_str().unwrap()];
    let (replayed, succeeded) = dead(&fleet, &[&config, &["replay", "1"][..]].concat()).await;
    assert!(succeeded, "{replayed}");
    eventually("it runs again", || async { (cloud.seen().len() == 2).then_some(()) }).await;
    cloud.release();
    let id = replayed[0]["id"].as_str().unwrap().parse().unwrap();
    let result = fleet.result("helped", &id).await;
    assert_eq!(result.text.as_deref(), Some("echo: wait there"));
    assert_eq!(result.metadata["n"], 1);
    let [first, second] = <[_; 2]>::try_from(cloud.seen()).unwrap();
    assert_eq!(first.messages, second.messages, "the system prompt is there once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_was_killed_before_the_letter_went_runs_once() {
    let fleet = with_letter(FleetBuilder::new()).await;
    let id = replay_id(&fleet).await;
    // As if an earlier `dead replay` had died behind its publish, long ago: no message id tells any more.
    let task = json!({"id": id, "prompt": "SECOND", "sensitivity": "private"});
    fleet.run("sample", task).await;
    let (replayed, succeeded) = dead(&fleet, &["replay", "1"]).await;
    assert_eq!((&replayed[0]["outcome"], succeeded), (&json!("replayed_before"), true));
    assert_eq!(count(&fleet).await, 0, "neither the letter nor a new one");
    let seen = fleet.runners["local-fast"].seen();
    assert_eq!(seen.iter().filter(|work| work.task_id.as_str() == id).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_waits_at_the_intake_is_seen_there() {
    let fleet = with_letter(FleetBuilder::new()).await;
    let idle = FleetBuilder::new().classifiers(0).start().await;
    let letter = fleet.nats.get_stream("DEAD").await.unwrap().direct_get(1).await.unwrap();
    let buried = idle.nats.publish("dead.intake", letter.payload).await.unwrap();
    assert_eq!(buried.await.unwrap().sequence, 1);
    idle.submit("sample", json!({"prompt": "another"})).await;
    publish_replay(&idle, json!({"prompt": "SECOND"})).await;
    let (replayed, _) = dead(&idle, &["replay", "1"]).await;
    assert_eq!(replayed[0]["outcome"], "replayed_before");
    assert_eq!(count(&idle).await, 0);
}

/// Publishes a task as `dead replay` would, under the id of letter 1's replay.
async fn publish_replay(fleet: &Fleet, mut task: Value) -> String {
    let id = replay_id(fleet).await;
    task["id"] = json!(id);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", id.as_str());
    let sent = fleet.nats.publish_with_headers("tasks.sample", headers, task.to_string().into()).await;
    sent.unwrap().await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_runs_is_seen_in_the_routing_log() {
    let fleet = with_letter(FleetBuilder::new()).await;
    let id = publish_replay(&fleet, json!({"prompt": "wait", "complexity": 0.1})).await;
    let runs =
        || fleet.runners["local-fast"].seen().iter().filter(|work| work.task_id.as_str() == id).count();
    eventually("it runs", || async { (runs() == 1).then_some(()) }).await;
    let (replayed, _) = dead(&fleet, &["replay", "1"]).await;
    assert_eq!(replayed[0]["outcome"], "replayed_before");
    fleet.runners["local-fast"].release();
    fleet.result("sample", &id.parse().unwrap()).await;
    assert_eq!((runs(), count(&fleet).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_waits_until_it_is_due_is_seen_there() {
    let fleet = with_letter(FleetBuilder::new()).await;
    publish_replay(&fleet, json!({"prompt": "x", "not_before": 3600.0})).await;
    let [tasks, later] = ["TASKS", "LATER"].map(|name| fleet.nats.get_stream(name));
    let (tasks, later) = (tasks.await.unwrap(), later.await.unwrap());
    eventually("it waits", || async {
        let messages =
            [tasks.get_info().await.ok()?, later.get_info().await.ok()?].map(|info| info.state.messages);
        (messages == [0, 1]).then_some(())
    })
    .await;
    let (replayed, _) = dead(&fleet, &["replay", "1"]).await;
    assert_eq!(replayed[0]["outcome"], "replayed_before");
    assert_eq!(tasks.get_info().await.unwrap().state.messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replayed_is_said_and_stays_while_the_rest_goes_on() {
    let fleet = with_letter(FleetBuilder::new()).await;
    fleet.run("sample", json!({"promt": "CANARY"})).await;
    let (replayed, succeeded) = dead(&fleet, &["replay", "1", "2"]).await;
    assert!(!succeeded);
    assert_eq!(replayed[0]["outcome"], "replayed");
    assert_eq!(replayed[1]["outcome"], "refused");
    let reason = replayed[1]["reason"].as_str().unwrap();
    assert!(reason.contains("did you mean `prompt`?") && !reason.contains("CANARY"), "{reason}");
    assert_eq!(count(&fleet).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_discarded_by_number_or_after_a_yes() {
    let fleet = with_letter(FleetBuilder::new()).await;
    fleet.run("other", json!({"promt": "x"})).await;
    fleet.run("other", json!({"prompt": "x", "model": "nobody"})).await;
    let (said, succeeded) = dead(&fleet, &["discard", "--agent", "other"]).await;
    assert!(!succeeded && said.as_str().unwrap().contains("would be gone for good: 2"), "{said}");
    assert_eq!(count(&fleet).await, 3);
    let (discarded, _) = dead(&fleet, &["discard", "--code", "unknown_model", "--yes"]).await;
    assert_eq!(discarded["discarded"], json!([3]));
    let (discarded, _) = dead(&fleet, &["discard", "1"]).await;
    assert_eq!((&discarded["discarded"], count(&fleet).await), (&json!([1]), 1));
    let (said, succeeded) = dead(&fleet, &["discard", "1"]).await;
    assert!(!succeeded && said.as_str().unwrap().contains("no dead letter 1"));
}
