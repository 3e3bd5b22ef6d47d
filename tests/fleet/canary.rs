//! A text that stands in every place of a task where a producer can put one, and in nothing that a run writes but the
//! streams that carry tasks: no log at its most talkative, no metric, no route record, no ledger, no alert, no error.

use futures_util::StreamExt;
use serde_json::{Value, json};
use trilane_protocol::{Status, TaskId};
use trilane_testkit::{Fleet, FleetBuilder, eventually};
use trilane_trust::Role;

use crate::processes::{Process, metrics};
use crate::scripted_http::{Reply, Server};

const CANARY: &str = "canary-51c9";

fn config(server: &Server) -> String {
    format!(
        "[providers.openai]\nbase_url = \"{}/v1\"\nkeys = [{{ env = \"TRILANE_TEST_KEY\" }}]\n\
         [worker]\nretry_initial_ms = 1\nretry_max_ms = 1\n\
         [lanes.cloud]\nmodels = [\"gpt-4o\"]\nmax_attempts = 1\n\
         [agents.sample]\nmodel = \"auto\"\nsensitivity = \"public\"\nsystem_prompt = \"{CANARY}\"\n",
        server.url
    )
}

/// One of the fleet's programs with a log that holds everything of ours.
async fn program(name: &str, fleet: &Fleet, config: &str, arguments: &[&str]) -> Process {
    let process = Process::binary(name, fleet, config, |command| {
        command
            .args(arguments)
            .env("RUST_LOG", "debug,trilane=trace")
            .env("TRILANE_TEST_KEY", "key")
            .env("NO_COLOR", "1");
    });
    eventually("it works", || {
        let log = process.log();
        std::future::ready((log.contains("slots=") || log.contains("classifying")).then_some(()))
    })
    .await;
    process
}

/// Every message of a stream, headers and subject too.
async fn everything_in(fleet: &Fleet, stream: &str) -> String {
    let stream = fleet.nats.get_stream(stream).await.unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut text = String::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        text += &format!(
            "{} {:?} {}\n",
            message.subject,
            message.headers,
            String::from_utf8_lossy(&message.payload)
        );
    }
    assert!(last > 0, "there is something to look at");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn no_prompt_is_written_where_it_does_not_belong() {
    let choice = json!({"message": {"content": CANARY}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 10});
    let refusal = json!({"error": {"message": format!("cannot do {CANARY}"), "code": CANARY}});
    let replies = vec![
        Reply::json(200, &json!({"choices": [choice], "usage": usage})),
        Reply::json(400, &refusal),
        Reply::json(500, &refusal),
    ];
    let mut server = Server::start(replies).await;
    let config = config(&server);
    let fleet = FleetBuilder::new().config(&config).without_worker("cloud").classifiers(0).start().await;
    let observer = fleet.keys.user_seed(&Role::Observer).unwrap().unwrap();
    let observer =
        async_nats::ConnectOptions::with_nkey(observer).connect(&fleet.config.nats.url).await.unwrap();
    let mut alerts = observer.subscribe("alert.>").await.unwrap();
    let worker = program("trilane-cloud-worker", &fleet, &config, &["--lane", "cloud"]).await;
    let classifier = program("trilane-classifier", &fleet, &config, &[]).await;

    let task = |sensitivity: &str| {
        json!({
            "messages": [{"role": "system", "content": CANARY}, {"role": "user", "content": CANARY}],
            "complexity": 0.99, "sensitivity": sensitivity, "metadata": {CANARY: CANARY}, "stop": [CANARY],
            "tags": [CANARY], "json_schema": {"type": "object", "description": CANARY},
        })
    };
    let mut errors = String::new();
    for (sensitivity, status) in [
        ("public", Status::Done),
        ("public", Status::Failed),
        ("public", Status::Failed),
        ("private", Status::Done),
    ] {
        let result = fleet.run("sample", task(sensitivity)).await;
        assert_eq!(result.status, status, "{:?}", result.error);
        errors += &format!("{:?} {:?}", result.error, result.decision);
    }
    for _ in 0..3 {
        let (_, body) = server.request().await;
        assert!(body.to_string().contains(CANARY), "it was sent where it belongs");
    }
    for malformed in [json!({"prompt": CANARY, CANARY: 1}), json!({"prompt": CANARY, "max_tokens": CANARY})] {
        // A field's name is told to whoever used it, and to nobody else.
        let id = fleet.submit("sample", malformed).await;
        assert_eq!(fleet.result("sample", &id).await.status, Status::Rejected);
    }
    fleet.nats.publish("lane.cloud.normal", CANARY.into()).await.unwrap().await.unwrap();
    let alert = alerts.next().await.unwrap();
    let cancelled = fleet.submit("sample", json!({"prompt": CANARY, "not_before": 3600})).await;
    fleet.broker.cancel(&"sample".parse().unwrap(), &cancelled).await.unwrap();
    fleet.result("sample", &TaskId::new(cancelled.as_str()).unwrap()).await;

    let written = [
        ("the log of the cloud worker", worker.log()),
        ("the log of the classifier", classifier.log()),
        ("the metrics of the cloud worker", metrics(&worker).await),
        ("the metrics of the classifier", metrics(&classifier).await),
        ("the routing log", everything_in(&fleet, "ROUTES").await),
        ("the ledger", everything_in(&fleet, "LEDGER").await),
        ("cancellations", everything_in(&fleet, "CANCELLED").await),
        ("an alert", format!("{alert:?}")),
        ("errors and decisions", errors),
    ];
    for (place, text) in written {
        let at = text.find(CANARY);
        assert_eq!(at, None, "{place}: {}", &text[at.unwrap_or(0).saturating_sub(300)..]);
    }
    let kept: Value = json!([everything_in(&fleet, "RESULTS").await, everything_in(&fleet, "DEAD").await]);
    assert!(kept.to_string().contains(CANARY), "the search finds what is there");
}
