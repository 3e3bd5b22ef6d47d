//! Any NATS client is a producer: nats-py publishes, and reads a result in the encoding of its task.

use serde_json::{Value, json};
use trilane_testkit::{Fleet, FleetBuilder};

use crate::processes::{python, tool};

/// What `any_client.py` prints.
async fn exchange(fleet: &Fleet, encoding: &str, naming: &str, task: Value) -> Value {
    let mut command = python();
    command.arg(tool("any_client.py")).args([&fleet.config.nats.url, "sample", encoding, naming]);
    command.arg(task.to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One exchange, and all that a producer may rely on in what comes back.
async fn check(encoding: &str, naming: &str) {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({
        "id": "from-python",
        "prompt": "grüße",
        "complexity": 0.1,
        "max_tokens": 8,
        "metadata": {"order": 7, "nested": {"list": [1, null, "x"]}},
    });
    let metadata = task["metadata"].clone();
    let seen = exchange(&fleet, encoding, naming, task).await;
    assert_eq!(seen["stored_in"], "TASKS");
    assert_eq!(seen["subject"], "results.sample.from-python");
    assert_eq!(seen["content_type"], format!("application/{encoding}"));
    let result = &seen["result"];
    assert_eq!((&result["status"], &result["text"]), (&json!("done"), &json!("echo: grüße")));
    assert_eq!((&result["task_id"], &result["agent"]), (&json!("from-python"), &json!("sample")));
    assert_eq!((&result["lane"], &result["attempts"]), (&json!("local-fast"), &json!(1)));
    assert_eq!(result["usage"], json!({"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 0}));
    assert_eq!(result["metadata"], metadata, "untouched");
    assert_eq!(result["decision"]["zone"], "local");
    let work = &fleet.runners["local-fast"].seen()[0];
    assert_eq!((work.messages[0].content.as_str(), work.generation.max_tokens), ("grüße", Some(8)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn json_from_python() {
    check("json", "named").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn messagepack_from_python() {
    check("msgpack", "named").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn messagepack_from_python_without_a_content_type() {
    check("msgpack", "unnamed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON"]
async fn a_malformed_task_comes_back_to_python_as_rejected() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({"id": "wrong", "promt": "x"});
    let seen = exchange(&fleet, "msgpack", "named", task).await;
    assert_eq!(seen["content_type"], "application/msgpack");
    assert_eq!(seen["result"]["status"], "rejected");
    assert!(seen["result"]["error"]["message"].as_str().unwrap().contains("`prompt`"), "{seen}");
}
