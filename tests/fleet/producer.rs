//! A producer's rights are enough to publish a task and to wait for its answer.

use std::process::Output;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use serde_json::{Value, json};
use trilane_broker::topology::Topology;
use trilane_service::config;
use trilane_testkit::NatsServer;

use crate::processes::trilane;

/// Who connects without credentials is `$user`: `producer` may do what one of the agent `ops` needs, `hears` and
/// `looks` may do one half of it each.
fn permissions(user: &str) -> String {
    let users = r#"
        TASKS = "tasks.ops"
        LOOK = "$JS.API.DIRECT.GET.RESULTS.result.ops.*"
        INBOX = "_INBOX.>"
        HEAR = "results.ops.>"
        authorization { users: [
          { user: admin, password: x }
          { user: producer, password: x, permissions: {
            publish: [$TASKS, $LOOK], subscribe: [$INBOX, $HEAR, "partial.ops.>"] } }
          { user: hears, password: x, permissions: { publish: [$TASKS], subscribe: [$INBOX, $HEAR] } }
          { user: looks, password: x, permissions: { publish: [$TASKS, $LOOK], subscribe: [$INBOX] } }
        ] }
    "#;
    format!("{users}\nno_auth_user: {user}\n")
}

/// A provisioned server on which `user` needs no credentials, and all rights on it.
async fn server(user: &str) -> (NatsServer, Context) {
    let server = NatsServer::start_with(&permissions(user)).await;
    let options = async_nats::ConnectOptions::with_user_and_password("admin".into(), "x".into());
    let admin = jetstream::new(options.connect(server.url()).await.unwrap());
    let config = config::load_from(None, []).unwrap();
    let topology = Topology::new(&config);
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
    let text = |line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    lines.lines().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_waits_for_an_answer_with_its_own_rights() {
    let (server, admin) = server("producer").await;
    for how in ["--wait", "--stream"] {
        let submitted = trilane(&server.url(), &["submit", "--agent", "ops", "--json", how, "a question"]);
        answer(&admin, 1).await;
        assert_eq!(texts(&submitted.await.unwrap()), ["an answer"], "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_enough() {
    let (server, admin) = server("hears").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"prompt\":\"a\"}\n".repeat(40)).unwrap();
    let file = file.path().to_str().unwrap();
    let submitted = trilane(&server.url(), &["submit", "--agent", "ops", "--json", "--wait", "--file", file]);
    answer(&admin, 40).await;
    assert_eq!(texts(&submitted.await.unwrap()).len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_up_is_enough() {
    let (server, admin) = server("looks").await;
    let submitted = trilane(&server.url(), &["submit", "--agent", "ops", "--json", "--wait", "a question"]);
    answer(&admin, 1).await;
    assert_eq!(texts(&submitted.await.unwrap()), ["an answer"]);
}
