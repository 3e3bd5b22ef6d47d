//! A trace is carried from the task to its result, over every hop, and stands in the log lines of each; and what each of
//! these processes counts of a task.

use async_nats::HeaderMap;
use serde_json::{Value, json};
use trilane_protocol::{Status, TaskId, TaskResult};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::{Process, metrics};
use crate::scripted_http::{Reply, Server};

const AGENT: &str = "sample";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Stands in every prompt and answer, and in no log.
const CANARY: &str = "canary-77aa";

/// A server, a classifier process, a cloud worker process, and workers in this process for the local lanes.
struct TracedFleet {
    fleet: Fleet,
    classifier: Process,
    worker: Process,
    _provider: Server,
}

impl TracedFleet {
    async fn start(replies: Vec<Reply>) -> Self {
        let server = Server::start(replies).await;
        let config = format!(
            "[providers.openai]\nbase_url = \"{}/v1\"\nkeys = [{{ env = \"TRILANE_TEST_KEY\" }}]\n\
             [lanes.cloud]\nmodels = [\"gpt-4o\"]\nmax_attempts = 1\n\
             [telemetry]\nlog = \"info\"\nlog_format = \"json\"\n",
            server.url
        );
        let fleet = FleetBuilder::new().config(&config).without_worker("cloud").classifiers(0).start().await;
        let start = |name: &str, arguments: &[&str]| {
            Process::binary(name, &fleet, &config, |command| {
                command.args(arguments).env("TRILANE_TEST_KEY", "key").env_remove("RUST_LOG");
            })
        };
        let mut worker = start("trilane-cloud-worker", &["--lane", "cloud"]);
        let classifier = start("trilane-classifier", &[]);
        worker.serves(&fleet).await;
        Self { fleet, classifier, worker, _provider: server }
    }

    /// Publishes a task with a `traceparent`, and waits for its result.
    async fn run(&self, id: &str, traceparent: &str, mut task: Value) -> TaskResult {
        task["id"] = json!(id);
        self.publish(&format!("tasks.{AGENT}"), traceparent, task.to_string()).await;
        self.fleet.result(AGENT, &TaskId::new(id).unwrap()).await
    }

    async fn publish(&self, subject: &str, traceparent: &str, payload: String) {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent);
        let sent = self.fleet.nats.publish_with_headers(subject.to_owned(), headers, payload.into()).await;
        sent.unwrap().await.unwrap();
    }

    /// The `traceparent` of the last message on a subject.
    async fn stored(&self, stream: &str, subject: &str) -> Option<String> {
        let stream = self.fleet.nats.get_stream(stream).await.unwrap();
        let message = stream.get_last_raw_message_by_subject(subject).await.unwrap();
        message.headers.get("traceparent").map(|value| value.as_str().to_owned())
    }
}

fn answer() -> Reply {
    let choice = json!({"message": {"content": CANARY}, "finish_reason": "stop"});
    Reply::json(200, &json!({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 10}}))
}

/// The messages of those lines that carry the trace and this task, once one of them is `awaited`.
async fn lines_about(process: &Process, task_id: &str, awaited: &str) -> Vec<String> {
    eventually(&format!("a line `{awaited}` about {task_id}"), || {
        let log = process.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_about = |line: &Value| {
            let span = &line["span"];
            span["trace_id"] == TRACE_ID && span["task_id"] == task_id && span["agent"] == AGENT
        };
        let messages =
            lines.filter(is_about).map(|line| line["fields"]["message"].as_str().unwrap().to_owned());
        let messages: Vec<_> = messages.collect();
        std::future::ready(messages.iter().any(|message| message == awaited).then_some(messages))
    })
    .await
}

/// A public task for the cloud lane.
fn task(mut fields: Value) -> Value {
    fields["prompt"] = json!(CANARY);
    fields["complexity"] = json!(0.99);
    fields["sensitivity"] = json!("public");
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_carried_over_every_hop_and_stands_in_its_lines() {
    let refusal = Reply::json(400, &json!({"error": {"message": CANARY, "code": "x"}}));
    let traced = TracedFleet::start(vec![answer(), refusal, answer(), answer()]).await;

    let result = traced.run("plain", TRACEPARENT, task(json!({}))).await;
    assert_eq!(result.status, Status::Done, "{:?}", result.error);
    let lines = lines_about(&traced.classifier, "plain", "a task has ended in the cloud zone").await;
    assert!(lines.contains(&"routed".to_owned()), "{lines:?}");
    lines_about(&traced.worker, "plain", "an attempt has ended").await;

    let result = traced.run("refused", TRACEPARENT, task(json!({}))).await;
    assert_eq!(result.status, Status::Failed);
    assert_eq!(traced.stored("DEAD", "dead.cloud").await.as_deref(), Some(TRACEPARENT));

    let steps = json!([
        {"name": "one", "prompt": "{{input}}", "complexity": 0.99},
        {"name": "two", "prompt": "{{steps.one.text}}", "complexity": 0.1, "sensitivity": "private"},
    ]);
    let result = traced.run("pipeline", TRACEPARENT, task(json!({"steps": steps}))).await;
    assert_eq!((result.status, result.lane.unwrap().as_str()), (Status::Done, "local-fast"));

    let result = traced.run("later", TRACEPARENT, task(json!({"not_before": 1}))).await;
    assert_eq!(result.status, Status::Done, "{:?}", result.error);

    traced.publish(&format!("cancel.{AGENT}.cancelled"), TRACEPARENT, String::new()).await;
    traced.fleet.result(AGENT, &TaskId::new("cancelled").unwrap()).await;
    lines_about(&traced.classifier, "cancelled", "a task is cancelled").await;

    for id in ["plain", "refused", "pipeline", "later", "cancelled"] {
        let stored = traced.stored("RESULTS", &format!("result.{AGENT}.{id}")).await;
        assert_eq!(stored.as_deref(), Some(TRACEPARENT), "the result of `{id}`");
    }
    for process in [&traced.classifier, &traced.worker] {
        assert!(!process.log().contains(CANARY), "no text of a task: {}", process.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_counted_by_its_worker_and_its_task_by_who_stores_the_result() {
    let traced = TracedFleet::start(vec![answer()]).await;
    let result = traced.run("counted", TRACEPARENT, task(json!({}))).await;
    let nanodollars = (result.cost_usd * 1e9).round();
    assert!(nanodollars > 0.0, "{result:?}");
    lines_about(&traced.classifier, "counted", "a task has ended in the cloud zone").await;
    let (worker, classifier) = (metrics(&traced.worker).await, metrics(&traced.classifier).await);
    let labels = r#"{lane="cloud",model="gpt-4o""#;
    for series in [
        format!("trilane_cost_nanodollars_total{labels},agent=\"{AGENT}\"}} {nanodollars}\n"),
        format!("trilane_prompt_tokens_total{labels}}} 10\n"),
        format!("trilane_completion_tokens_total{labels}}} 10\n"),
        "trilane_worker_slots{lane=\"cloud\"} ".to_owned(),
    ] {
        assert!(worker.contains(&series), "{series}: {worker}");
    }
    let ended = format!("trilane_tasks_total{{lane=\"cloud\",outcome=\"done\",agent=\"{AGENT}\"}} 1\n");
    assert!(classifier.contains(&ended) && !worker.contains("trilane_tasks_total{"), "once: {classifier}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_does_not_read_is_dropped() {
    let traced = TracedFleet::start(vec![answer()]).await;
    let result = traced.run("malformed", &format!("00-{CANARY}"), task(json!({}))).await;
    assert_eq!(result.status, Status::Done, "{:?}", result.error);
    assert_eq!(traced.stored("RESULTS", &format!("result.{AGENT}.malformed")).await, None);
    for process in [&traced.classifier, &traced.worker] {
        assert!(!process.log().contains(CANARY), "{}", process.log());
    }
}
