//! The real binaries with a real model: SmolLM2 answers on the lane `local-fast`.

use serde_json::{Value, json};
use trilane_protocol::outcome::Finish;
use trilane_protocol::{Status, TaskId};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::Process;
use crate::streamed::Streamed;

const AGENT: &str = "sample";

/// A killed worker's task goes to the next one after two seconds; two sequences need little memory.
const CONFIG: &str = "[lanes.local-fast]\nack_wait_s = 2\n[models.\"smollm2-135m\"]\nslots = 2\n";

/// A server, a classifier process, and one worker process with the model.
struct RealFleet {
    worker: Process,
    _classifier: Process,
    fleet: Fleet,
}

impl RealFleet {
    async fn start() -> Self {
        let builder = FleetBuilder::new().config(CONFIG).classifiers(0);
        let builder =
            ["local-fast", "local-deep", "cloud"].into_iter().fold(builder, FleetBuilder::without_worker);
        let fleet = builder.start().await;
        let file = fleet.config.paths.model_file("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref());
        assert!(file.exists(), "{} is not there; run `trilane models fetch smollm2-135m`", file.display());
        let classifier = Process::binary("trilane-classifier", &fleet, CONFIG, |_| {});
        let worker = start_worker(&fleet).await;
        Self { worker, _classifier: classifier, fleet }
    }

    /// Publishes a task that takes the model a while, and waits until the model is at it.
    async fn submit_long(&self, max_tokens: u32) -> TaskId {
        let mut streamed = Streamed::of(&self.fleet, AGENT, "long").await;
        let prompt = "Tell a long story about a river, a mill and a miller's daughter.";
        let task = json!({"id": "long", "prompt": prompt, "max_tokens": max_tokens, "stream": true});
        let id = self.fleet.submit(AGENT, routine(task)).await;
        streamed.piece().await;
        id
    }
}

async fn start_worker(fleet: &Fleet) -> Process {
    let mut worker = Process::binary("trilane-local-worker", fleet, CONFIG, |command| {
        command.args(["--lane", "local-fast"]);
    });
    worker.serves(fleet).await;
    worker
}

/// For the lane of the model, and the same answer each time.
fn routine(mut task: Value) -> Value {
    task["complexity"] = json!(0.1);
    task["temperature"] = json!(0);
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_answer() {
    let real = RealFleet::start().await;
    let task = json!({"prompt": "Answer in one sentence: what is water?", "max_tokens": 24, "sensitivity": "private"});
    let result = real.fleet.run(AGENT, routine(task)).await;
    assert_eq!(result.status, Status::Done, "{:?}", result.error);
    let text = result.text.unwrap();
    assert!(text.to_lowercase().contains("water is"), "{text}");
    assert_eq!(result.model.unwrap().as_str(), "smollm2-135m");
    // What llama-server counts for the same conversation: the template and its system prompt are in it.
    assert_eq!(result.usage.prompt_tokens, 39);
    assert!((5..=24).contains(&result.usage.completion_tokens), "{:?}", result.usage);
    assert!(result.cost_usd.abs() < f64::EPSILON, "local lanes cost nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_keeps_to_its_schema() {
    let real = RealFleet::start().await;
    let schema = json!({
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green", "blue"]}, "is_warm": {"type": "boolean"}},
        "required": ["colour", "is_warm"],
        "additionalProperties": false,
    });
    let task = json!({"prompt": "Which colour has the sky?", "max_tokens": 64, "json_schema": schema});
    let result = real.fleet.run(AGENT, routine(task)).await;
    assert_eq!(result.finish, Some(Finish::Stop), "{:?}", result.error);
    let text = result.text.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(["red", "green", "blue"].contains(&answer["colour"].as_str().unwrap()), "{answer}");
    assert!(answer["is_warm"].is_boolean(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_text_adds_up_to_the_answer() {
    let real = RealFleet::start().await;
    let mut streamed = Streamed::of(&real.fleet, AGENT, "streamed").await;
    let task = json!({"id": "streamed", "prompt": "Name three rivers.", "max_tokens": 40, "stream": true});
    let result = real.fleet.run(AGENT, routine(task)).await;
    let text = result.text.unwrap();
    let pieces = streamed.pieces_of(&text).await;
    assert_eq!(pieces.concat(), text);
    assert!(pieces.len() > 1, "in more than one piece: {pieces:?}");
    assert!(result.timing_ms.first_token.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_the_worker_finish_and_exit_0() {
    let real = RealFleet::start().await;
    let id = real.submit_long(48).await;
    let status = real.worker.terminate().await;
    assert_eq!(status.code(), Some(0));
    let result = real.fleet.result(AGENT, &id).await;
    assert_eq!((result.status, result.attempts), (Status::Done, 1), "finished by the worker that had it");
    let workers = real.fleet.broker.workers().await.unwrap();
    assert_eq!(workers.alive().await.unwrap(), [], "it has said goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_task_is_answered_once_by_the_next() {
    let real = RealFleet::start().await;
    let id = real.submit_long(96).await;
    real.worker.kill();
    assert!(
        real.fleet.broker.result(&AGENT.parse().unwrap(), &id).await.unwrap().is_none(),
        "killed amid it"
    );
    let _next = start_worker(&real.fleet).await;
    let result = real.fleet.result(AGENT, &id).await;
    assert_eq!((result.status, result.attempts), (Status::Done, 2), "{:?}", result.error);
    let stream = real.fleet.nats.get_stream("RESULTS").await.unwrap();
    assert_eq!(stream.get_info().await.unwrap().state.messages, 1);
    let lane = real.fleet.nats.get_stream("LANE_LOCAL").await.unwrap();
    eventually("the lane is empty", || async {
        (lane.get_info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_keeps_itself_to_the_queue_or_says_that_it_cannot() {
    let real = RealFleet::start().await;
    let log = real.worker.log();
    let port = real.fleet.config.nats.url.rsplit_once(':').unwrap().1.to_owned();
    let is_confined =
        log.contains("TCP connections of this process go to the queue only") && log.contains(&port);
    assert!(is_confined || log.contains("the kernel cannot keep it from that"), "{log}");
}
