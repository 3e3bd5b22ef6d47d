//! The cloud worker's binary against a mock of both cloud APIs, through the whole fleet.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use trilane_protocol::decision::Reason;
use trilane_protocol::{Status, TaskResult, Usage};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::{Process, python};
use crate::streamed::Streamed;

const AGENT: &str = "sample";

/// The mock counts a token for every four bytes: 10 here.
const PROMPT: &str = "Please name a colour, and nothing else...";

/// Its answer to that: 5 tokens.
const ANSWER: &str = "A green, most likely.";

const RULES: &str = r#"
rules:
  - name: refused
    when: {messages_contain: "refused"}
    respond: {status: 401, error: "invalid x-api-key"}
  - name: down
    when: {messages_contain: "down"}
    respond: {status: 503, error: "the prompt was: down with CANARY"}
  - name: colour
    when: {messages_contain: "colour"}
    respond: {content: "A green, most likely."}
"#;

/// A fleet whose cloud lane is served by the real binary.
struct CloudFleet {
    fleet: Fleet,
    worker: Process,
    _mock: Process,
}

impl CloudFleet {
    async fn start() -> Self {
        let (mock, url) = start_mock().await;
        let secrets = TempDir::new().unwrap();
        let config = config(&url, secrets.path());
        let fleet = FleetBuilder::new().without_worker("cloud").config(&config).start().await;
        let mut worker = Process::binary("trilane-cloud-worker", &fleet, &config, |command| {
            command.args(["--lane", "cloud"]).env("TRILANE_TEST_KEY", "sk-from-the-environment");
        });
        worker.serves(&fleet).await;
        Self { fleet, worker, _mock: mock }
    }
}

/// Starts the mock on a port that the system chooses, and reads from its log which.
async fn start_mock() -> (Process, String) {
    let mut command = python();
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, RULES).unwrap();
    command.args(["-m", "fakellm.cli", "serve", "--port", "0", "--config"]).arg(rules);
    let mock = Process::start(command, folder);
    let url = eventually("the mock says where it listens", || {
        let log = mock.log();
        let address = log.split_once("running on http://").and_then(|(_, rest)| rest.split_once(' '));
        std::future::ready(address.map(|(address, _)| format!("http://{address}/v1")))
    })
    .await;
    (mock, url)
}

/// One key from a file, one from the environment; no waiting between attempts.
fn config(url: &str, secrets: &Path) -> String {
    let key_file = secrets.join("anthropic");
    std::fs::write(&key_file, "sk-from-a-file\n").unwrap();
    format!(
        "[providers.anthropic]\nbase_url = \"{url}\"\nkeys = [{{ file = \"{}\" }}]\n\
         [providers.openai]\nbase_url = \"{url}\"\nkeys = [{{ env = \"TRILANE_TEST_KEY\" }}]\n\
         [worker]\nretry_initial_ms = 1\nretry_max_ms = 1\n\
         [lanes.cloud]\nmax_attempts = 2\n",
        key_file.display()
    )
}

/// The price table of the default configuration, dollars per million tokens.
fn assert_costs(result: &TaskResult, input: f64, output: f64) {
    let Usage { prompt_tokens, completion_tokens, .. } = result.usage;
    let expected = (prompt_tokens as f64 * input + completion_tokens as f64 * output) / 1e6;
    assert!((result.cost_usd - expected).abs() < 1e-12, "{} is not {expected}", result.cost_usd);
}

async fn check_plain(model: &str, input: f64, output: f64) {
    let cloud = CloudFleet::start().await;
    let result = cloud.fleet.run(AGENT, json!({"prompt": PROMPT, "model": model})).await;
    assert_eq!(result.text.as_deref(), Some(ANSWER), "{:?}", result.error);
    assert_eq!(
        (result.lane.as_ref().unwrap().as_str(), result.model.as_ref().unwrap().as_str()),
        ("cloud", model)
    );
    assert_eq!(result.usage, Usage { prompt_tokens: 10, completion_tokens: 5, cached_tokens: 0 });
    assert_costs(&result, input, output);
    assert_eq!(result.attempts, 1);
}

async fn check_streamed(model: &str, input: f64, output: f64) {
    let cloud = CloudFleet::start().await;
    let mut streamed = Streamed::of(&cloud.fleet, AGENT, "streamed").await;
    let task = json!({"id": "streamed", "prompt": PROMPT, "model": model, "stream": true});
    let result = cloud.fleet.run(AGENT, task).await;
    assert_eq!(result.text.as_deref(), Some(ANSWER), "{:?}", result.error);
    assert_eq!(streamed.pieces_of(ANSWER).await.concat(), ANSWER);
    assert!(result.usage.completion_tokens >= 5, "counted, or estimated where the mock does not say");
    assert_costs(&result, input, output);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn anthropic() {
    check_plain("claude-haiku", 1.00, 5.00).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn anthropic_streamed() {
    check_streamed("claude-haiku", 1.00, 5.00).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn openai() {
    check_plain("gpt-4o-mini", 0.15, 0.60).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn openai_streamed() {
    check_streamed("gpt-4o-mini", 0.15, 0.60).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn a_refused_key_gives_the_task_to_the_deep_lane() {
    let cloud = CloudFleet::start().await;
    let result = cloud.fleet.run(AGENT, json!({"prompt": "refused", "complexity": 0.95})).await;
    assert_eq!(result.text.as_deref(), Some("echo: refused"));
    assert_eq!(result.attempts, 2, "both lanes count");
    let decision = result.decision.unwrap();
    assert_eq!((decision.lane.as_str(), decision.reason), ("local-deep", Reason::Degraded));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn a_provider_that_stays_down_fails_the_task_and_its_words_go_nowhere() {
    let cloud = CloudFleet::start().await;
    let task = json!({"prompt": "down with CANARY", "model": "gpt-4o-mini"});
    let result = cloud.fleet.run(AGENT, task).await;
    assert_eq!((result.status, result.attempts), (Status::Failed, 2));
    let error = result.error.unwrap();
    assert!(error.message.contains("503") && !error.message.contains("CANARY"), "{error}");
    assert!(!cloud.worker.log().contains("CANARY"), "prompts stay out of logs");
}
