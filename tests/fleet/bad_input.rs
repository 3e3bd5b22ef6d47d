//! Bad input gets a clear answer, and the fleet goes on.

use serde_json::json;
use trilane_broker::results::Reported;
use trilane_protocol::{AgentName, Encoding, Status, TaskId, TaskResult};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

async fn dead_letters(fleet: &Fleet) -> u64 {
    fleet.nats.get_stream("DEAD").await.unwrap().get_info().await.unwrap().state.messages
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_task_is_rejected_by_name_and_kept_as_a_dead_letter() {
    let fleet = FleetBuilder::new().start().await;
    let cases: [(&str, Vec<u8>, &str); 18] = [
        ("not JSON", b"hello".to_vec(), "expected a JSON object or a MessagePack map"),
        ("empty", Vec::new(), "found nothing"),
        ("an array", b"[1]".to_vec(), "expected a JSON object"),
        ("cut JSON", b"{\"prompt\": \"x".to_vec(), "EOF"),
        ("trailing text", b"{\"prompt\": \"x\"} {}".to_vec(), "nothing behind"),
        ("broken MessagePack", vec![0x81, 0xa6, b'p'], ""),
        ("invalid UTF-8", b"{\"prompt\": \"\xff\xfe\"}".to_vec(), "prompt"),
        ("an unknown field", json!({"promt": "x"}).to_string().into(), "did you mean `prompt`?"),
        ("a wrong type", json!({"prompt": "x", "max_tokens": "ten"}).to_string().into(), "max_tokens"),
        (
            "two prompts",
            json!({"prompt": "x", "messages": [{"role": "user", "content": "y"}]}).to_string().into(),
            "not both",
        ),
        ("no prompt", json!({"tags": []}).to_string().into(), "found neither"),
        ("an empty prompt", json!({"prompt": "  "}).to_string().into(), "expected some text"),
        (
            "an unknown model",
            json!({"prompt": "x", "model": "gpt4o"}).to_string().into(),
            "did you mean `gpt-4o`?",
        ),
        (
            "a model on no lane",
            json!({"prompt": "x", "model": "hermes-3-8b"}).to_string().into(),
            "is on no lane",
        ),
        ("complexity 7", json!({"prompt": "x", "complexity": 7}).to_string().into(), "from 0 to 1"),
        ("a bad id", json!({"prompt": "x", "id": "a.b"}).to_string().into(), "task id"),
        ("deadline in words", json!({"prompt": "x", "deadline": "soon"}).to_string().into(), "RFC 3339"),
        (
            "a huge max_tokens",
            json!({"prompt": "x", "max_tokens": 1_000_000}).to_string().into(),
            "limits.max_tokens",
        ),
    ];
    for (index, (what, payload, expected)) in cases.into_iter().enumerate() {
        let sequence = fleet.submit_bytes("sample", payload).await;
        let result = fleet.result("sample", &TaskId::new(sequence.to_string()).unwrap()).await;
        assert_eq!(result.status, Status::Rejected, "{what}");
        let error = result.error.unwrap();
        assert!(error.message.contains(expected), "{what}: {}", error.message);
        assert_eq!(dead_letters(&fleet).await, index as u64 + 1, "{what}");
    }
    assert_eq!(fleet.run("sample", json!({"prompt": "still here"})).await.status, Status::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_never_repeats_the_prompt() {
    let fleet = FleetBuilder::new().start().await;
    let payload = json!({"prompt": ["CANARY-TEXT"], "id": "c1"}).to_string();
    fleet.submit_bytes("sample", payload.into()).await;
    let result = fleet.result("sample", &"c1".parse().unwrap()).await;
    assert!(!result.error.unwrap().message.contains("CANARY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_over_the_size_limit_is_rejected_with_the_limit_s_name() {
    let fleet = FleetBuilder::new().config("[limits]\nmax_task_bytes = 1000\n").start().await;
    let result = fleet.run("sample", json!({"prompt": "x".repeat(2000)})).await;
    let error = result.error.unwrap();
    assert_eq!(error.code, "task_too_large");
    assert!(error.message.contains("limits.max_task_bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_used_twice_keeps_its_first_result_and_buries_the_second_task() {
    let fleet = FleetBuilder::new().start().await;
    let first = fleet.run("sample", json!({"id": "twice", "prompt": "first"})).await;
    fleet.submit("sample", json!({"id": "twice", "prompt": "second"})).await;
    eventually("the second task is a dead letter", || async {
        (dead_letters(&fleet).await == 1).then_some(())
    })
    .await;
    let agent = AgentName::new("sample").unwrap();
    let still = fleet.broker.result(&agent, &"twice".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(still, first);
    let elsewhere = fleet.run("other", json!({"id": "twice", "prompt": "mine"})).await;
    assert_eq!(elsewhere.status, Status::Done, "ids are unique per agent, not in all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_in_the_past_ends_as_expired() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("sample", json!({"prompt": "x", "deadline": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(result.status, Status::Expired);
    assert!(fleet.runners["local-fast"].seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_agent_is_rejected_where_the_policy_says_so() {
    let fleet = FleetBuilder::new().config("[policy]\nunknown_agent = \"reject\"\n").start().await;
    let result = fleet.run("sampel", json!({"prompt": "x"})).await;
    let error = result.error.unwrap();
    assert_eq!(error.code, "unknown_agent");
    assert!(error.message.contains("did you mean `sample`?"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_keeps_a_task_off_the_lanes_that_cost_more() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("sample", json!({"prompt": "x", "complexity": 0.99, "max_cost_usd": 0.0})).await;
    assert_eq!(result.lane.unwrap().as_str(), "local-deep");
    let pinned = json!({"prompt": "x", "model": "gpt-4o", "max_cost_usd": 0.0});
    assert_eq!(fleet.run("sample", pinned).await.error.unwrap().code, "over_max_cost");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_of_one_id_at_once_give_one_result_to_stream_and_subscribers() {
    use futures_util::StreamExt;
    let fleet = FleetBuilder::new().start().await;
    let client = async_nats::connect(&fleet.config.nats.url).await.unwrap();
    let mut results = client.subscribe("results.sample.>").await.unwrap();
    client.flush().await.unwrap();
    // Different lanes of different zones, so that neither sees the other before its result.
    fleet.submit("sample", json!({"id": "dup", "prompt": "wait", "complexity": 0.1})).await;
    fleet.submit("sample", json!({"id": "dup", "prompt": "wait", "complexity": 0.99})).await;
    for lane in ["local-fast", "cloud"] {
        let runner = &fleet.runners[lane];
        eventually("both run", || async { (runner.seen().len() == 1).then_some(()) }).await;
    }
    fleet.runners["local-fast"].release();
    fleet.runners["cloud"].release();
    eventually("the other is a dead letter", || async { (dead_letters(&fleet).await == 1).then_some(()) })
        .await;
    fleet.run("sample", json!({"id": "after", "prompt": "x"})).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|subject| subject != "results.sample.after") {
        seen.push(results.next().await.unwrap().subject.to_string());
    }
    assert_eq!(seen, ["results.sample.dup", "results.sample.after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_no_dead_letter_can_hold_ends_all_the_same() {
    let fleet = FleetBuilder::new().start().await;
    let sequence = fleet.submit_bytes("sample", vec![0xff; 600_000]).await;
    let result = fleet.result("sample", &TaskId::new(sequence.to_string()).unwrap()).await;
    assert_eq!(result.status, Status::Rejected);
    let dead = fleet.nats.get_stream("DEAD").await.unwrap();
    let letter = dead.direct_get_last_for_subject("dead.intake").await.unwrap();
    let letter: serde_json::Value = serde_json::from_slice(&letter.payload).unwrap();
    assert_eq!((&letter["payload_bytes"], &letter["payload"]), (&json!(600_000), &json!("")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_s_own_ids_and_far_deadlines_are_refused() {
    let fleet = FleetBuilder::new().start().await;
    // Not under the id that it wants, which may be another task's.
    let sequence =
        fleet.submit_bytes("sample", json!({"id": "17", "prompt": "x"}).to_string().into_bytes()).await;
    let result = fleet.result("sample", &TaskId::new(sequence.to_string()).unwrap()).await;
    assert!(result.error.unwrap().message.contains("digits alone"));
    for far in [json!("2099-01-01T00:00:00Z"), json!(604_900), json!(1e300)] {
        let result = fleet.run("sample", json!({"prompt": "x", "deadline": far})).await;
        assert!(result.error.unwrap().message.contains("limits.max_deadline_s"));
    }
}

/// However often a message was delivered before anybody looked at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_task_of_an_id_is_told_apart_after_redeliveries_too() {
    let mut fleet = FleetBuilder::new().classifiers(0).start().await;
    for prompt in ["first", "second"] {
        fleet.submit("sample", json!({"id": "dup", "prompt": prompt, "complexity": 0.1})).await;
    }
    let tasks = fleet.nats.get_stream("TASKS").await.unwrap();
    let intake: async_nats::jetstream::consumer::PullConsumer = tasks.get_consumer("classify").await.unwrap();
    let mut taken = intake.fetch().max_messages(2).messages().await.unwrap();
    while let Some(message) = futures_util::StreamExt::next(&mut taken).await {
        message.unwrap().ack_with(async_nats::jetstream::AckKind::Nak(None)).await.unwrap();
    }
    fleet.start_classifier().await;
    assert_eq!(fleet.result("sample", &TaskId::new("dup").unwrap()).await.status, Status::Done);
    eventually("the other is a dead letter", || async { (dead_letters(&fleet).await == 1).then_some(()) })
        .await;
    let dead = fleet.nats.get_stream("DEAD").await.unwrap().get_raw_message(1).await.unwrap();
    assert!(String::from_utf8_lossy(&dead.payload).contains("id_reused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_result_is_there_is_told_by_the_task_s_sequence() {
    let fleet = FleetBuilder::new().start().await;
    let ours = fleet.run("sample", json!({"id": "once", "prompt": "x"})).await;
    let report = async |result: &TaskResult| fleet.broker.report(result, Encoding::Json, None).await.unwrap();
    assert_eq!(report(&ours).await, Reported::Stored, "the very same: its acknowledgement was lost");
    let again = TaskResult { attempts: ours.attempts + 1, ..ours.clone() };
    assert_eq!(report(&again).await, Reported::AlreadyThere);
    let anothers = TaskResult { task_seq: Some(99), ..ours };
    assert_eq!(report(&anothers).await, Reported::AnotherTasks);
}
