//! A producer's rights are enough to publish a task and to wait for its answer.

use std::process::Output;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use trilane_broker::topology::Topology;
use trilane_service::config;
use trilane_testkit::{FleetBuilder, NatsServer};

use crate::processes::trilane_at;

/// Who connects without credentials is `$user`: `hears` and `looks` may do one half each of what waiting needs.
fn halves(user: &str) -> String {
    let users = r#"
        authorization { users: [
          { user: admin, password: x }
          { user: hears, password: x, permissions: {
            publish: ["tasks.ops"], subscribe: ["_INBOX.>", "results.ops.*"] } }
          { user: looks, password: x, permissions: {
            publish: ["tasks.ops", "$JS.API.DIRECT.GET.RESULTS.result.ops.*"], subscribe: ["_INBOX.>"] } }
        ] }
    "#;
    format!("{users}\nno_auth_user: {user}\n")
}

/// A provisioned server on which `user` needs no credentials, and all rights on it.
async fn server(user: &str) -> (NatsServer, Context) {
    let server = NatsServer::start_with(&halves(user)).await;
    let options = async_nats::ConnectOptions::with_user_and_password("admin".into(), "x".into());
    let admin = jetstream::new(options.connect(server.url()).await.unwrap());
    let topology = Topology::new(&config::load_from(None, []).unwrap());
    for stream in topology.streams {
        admin.create_stream(stream).await.unwrap();
    }
    for (stream, consumer) in topology.consumers {
        admin.create_consumer_on_stream(consumer, stream).await.unwrap();
    }
    (server, admin)
}

/// Takes so many tasks from the queue and answers them, as classifier and worker would.
async fn answer(admin: &Context, count: usize) {
    let intake: PullConsumer = admin.get_consumer_from_stream("classify", "TASKS").await.unwrap();
    let mut tasks = intake.messages().await.unwrap();
    for _ in 0..count {
        let task = tasks.next().await.unwrap().unwrap();
        let id = task.headers.as_ref().unwrap().get("Nats-Msg-Id").unwrap().as_str();
        let result = json!({
            "task_id": id, "agent": "ops", "status": "done", "text": "an answer", "finish": "stop",
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cached_tokens": 0}, "cost_usd": 0.0,
            "timing_ms": {"queued": 1, "waited": 1, "run": 1}, "attempts": 1,
            "finished_at": "2026-01-01T00:00:00Z",
        });
        let sent = admin.publish(format!("result.ops.{id}"), result.to_string().into()).await.unwrap();
        sent.await.unwrap();
        task.ack().await.unwrap();
    }
}

fn texts(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    let text = |line| Some(serde_json::from_str::<Value>(line).ok()?["text"].as_str()?.to_owned());
    lines.lines().filter_map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_wait_for_answers_with_their_own_rights() {
    let mut fleet = FleetBuilder::new().start().await;
    let url = &fleet.config.nats.url;
    fleet.keys.add_agent(&"ops".parse().unwrap(), &fleet.config.zones(), true).unwrap();
    let accounts = std::fs::read_to_string(fleet.keys.accounts_file()).unwrap();
    fleet.server.restart_with(&accounts).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("trilane.toml");
    std::fs::write(&file, "[security]\nagent = \"ops\"\n").unwrap();
    let agent = ["--config", file.to_str().unwrap()];
    let submit = ["submit", "--agent", "ops", "--json", "a question"];
    for how in ["--wait", "--stream"] {
        let keyed = [&agent[..], &submit, &[how]].concat();
        let keyed = trilane_at(url, fleet.keys.folder(), &keyed).await.unwrap();
        let anonymous = trilane_at(url, folder.path(), &[&submit[..], &[how]].concat()).await.unwrap();
        for output in [keyed, anonymous] {
            let text = texts(&output).pop().unwrap();
            assert_eq!(text, "echo: a question", "{how}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_enough() {
    let (server, admin) = server("hears").await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tasks.jsonl");
    std::fs::write(&file, "{\"prompt\":\"a\"}\n".repeat(40)).unwrap();
    let arguments = ["submit", "--agent", "ops", "--json", "--wait", "--file", file.to_str().unwrap()];
    let submitted = trilane_at(&server.url(), folder.path(), &arguments);
    answer(&admin, 40).await;
    assert_eq!(texts(&submitted.await.unwrap()).len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_up_is_enough() {
    let (server, admin) = server("looks").await;
    let arguments = ["submit", "--agent", "ops", "--json", "--wait", "a question"];
    let submitted = trilane_at(&server.url(), TempDir::new().unwrap().path(), &arguments);
    answer(&admin, 1).await;
    assert_eq!(texts(&submitted.await.unwrap()), ["an answer"]);
}
