//! From a published task to its result.

use serde_json::json;
use trilane_protocol::chain::RouteSegment;
use trilane_protocol::decision::Reason;
use trilane_protocol::{Encoding, Priority, Status, TaskResult, Zone};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_comes_back_answered_with_all_that_led_to_it() {
    let fleet = FleetBuilder::new().start().await;
    let task = json!({"prompt": "hello", "complexity": 0.1, "metadata": {"order": 7}});
    let result = fleet.run("sample", task).await;

    assert_eq!(result.status, Status::Done);
    assert_eq!(result.text.as_deref(), Some("echo: hello"));
    assert_eq!(result.lane.unwrap().as_str(), "local-fast");
    assert_eq!(result.attempts, 1);
    assert_eq!(result.metadata["order"], 7);
    let decision = result.decision.unwrap();
    assert_eq!(decision.reason, Reason::GoodEnough);
    assert_eq!(decision.candidates.len(), 3);
    assert_eq!(decision.policy_version, "shipped-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn complexity_takes_a_public_task_up_the_lanes() {
    let fleet = FleetBuilder::new().start().await;
    for (complexity, lane) in [(0.1, "local-fast"), (0.5, "local-deep"), (0.95, "cloud")] {
        let result = fleet.run("sample", json!({"prompt": "x", "complexity": complexity})).await;
        assert_eq!(result.lane.unwrap().as_str(), lane, "complexity {complexity}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messagepack_in_messagepack_out() {
    let fleet = FleetBuilder::new().start().await;
    let task = rmp_serde::to_vec_named(&json!({"id": "mp-1", "prompt": "hello"})).unwrap();
    fleet.submit_bytes("sample", task).await;
    let stream = fleet.nats.get_stream("RESULTS").await.unwrap();
    let payload = eventually("the result", || async {
        stream.direct_get_last_for_subject("result.sample.mp-1").await.ok().map(|message| message.payload)
    })
    .await;
    let result: TaskResult = Encoding::Msgpack.decode(&payload).unwrap();
    assert_eq!(result.status, Status::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_text_is_published_and_adds_up_to_the_result() {
    use futures_util::StreamExt;
    let fleet = FleetBuilder::new().start().await;
    let client = async_nats::connect(&fleet.config.nats.url).await.unwrap();
    let mut partials = client.subscribe("partial.sample.s1").await.unwrap();
    client.flush().await.unwrap();
    let result = fleet.run("sample", json!({"id": "s1", "prompt": "one two three", "stream": true})).await;
    let mut text = String::new();
    while text != result.text.as_deref().unwrap() {
        let message = partials.next().await.unwrap();
        let partial: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(partial["attempt"], 1);
        text.push_str(partial["text"].as_str().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_model_is_used() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("sample", json!({"prompt": "x", "complexity": 0.0, "model": "gpt-4o"})).await;
    assert_eq!(result.model.unwrap().as_str(), "gpt-4o");
    assert_eq!(result.decision.unwrap().reason, Reason::Pinned);
    assert!((result.cost_usd - 0.01).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cloud_worker_hard_public_tasks_degrade_to_the_deep_lane() {
    let fleet = FleetBuilder::new().without_worker("cloud").start().await;
    let result = fleet.run("sample", json!({"prompt": "x", "complexity": 0.95})).await;
    let decision = result.decision.unwrap();
    assert_eq!((decision.lane.as_str(), decision.reason), ("local-deep", Reason::NoWorker));
    assert_eq!(decision.adjustments[0].from.as_str(), "cloud");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_lane_that_is_unable_gives_its_task_to_the_deep_lane() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("sample", json!({"prompt": "unable", "complexity": 0.95})).await;
    let decision = result.decision.unwrap();
    assert_eq!((decision.zone, decision.reason), (Zone::Local, Reason::Degraded));
    assert_eq!(result.attempts, 2, "both lanes count");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_does_not_fit_goes_one_lane_up() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("sample", json!({"prompt": "too-long", "complexity": 0.1})).await;
    let decision = result.decision.unwrap();
    assert_eq!((decision.lane.as_str(), decision.reason), ("local-deep", Reason::Escalated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_through_two_classifiers_are_answered_once_each() {
    let fleet = FleetBuilder::new().classifiers(2).slots(32).start().await;
    let mut pending = Vec::new();
    for index in 0..1000 {
        let priority = ["low", "normal", "high"][index % 3];
        let task = json!({"prompt": format!("n{index}"), "priority": priority});
        let payload = task.to_string().into_bytes();
        pending.push(fleet.nats.publish("tasks.sample", payload.into()).await.unwrap());
    }
    for ack in pending {
        ack.await.unwrap();
    }
    let stream = fleet.nats.get_stream("RESULTS").await.unwrap();
    eventually("all results", || async {
        (stream.get_info().await.unwrap().state.messages == 1000).then_some(())
    })
    .await;
    assert_eq!(logged_decisions(&fleet).await, 1000);
    for queue in ["TASKS", "LANE_LOCAL"] {
        let stream = fleet.nats.get_stream(queue).await.unwrap();
        eventually("the queues are empty", || async {
            (stream.get_info().await.unwrap().state.messages == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn high_goes_first_and_low_does_not_starve() {
    let fleet = FleetBuilder::new().slots(1).start().await;
    let lane = "local-fast".parse().unwrap();
    fleet.broker.pause(&lane, Zone::Local, std::time::Duration::from_secs(3600)).await.unwrap();
    let task = |priority: &str| json!({"prompt": priority, "complexity": 0.1, "priority": priority});
    fleet.submit("sample", task("low")).await;
    for _ in 0..60 {
        fleet.submit("sample", task("high")).await;
    }
    eventually("all wait", || async {
        (fleet.broker.depth(&lane, Zone::Local).await.unwrap().waiting == 61).then_some(())
    })
    .await;
    fleet.broker.resume(&lane, Zone::Local).await.unwrap();
    let runner = fleet.runners["local-fast"].clone();
    let seen = eventually("all ran", || async { Some(runner.seen()).filter(|seen| seen.len() == 61) }).await;
    let low = seen.iter().position(|work| work.priority == Priority::Low).unwrap();
    assert!(low < 60, "the low one ran last of 61");
}

/// Decisions in the routing log, all segments together.
async fn logged_decisions(fleet: &Fleet) -> usize {
    let routes = fleet.nats.get_stream("ROUTES").await.unwrap();
    let mut count = 0;
    for sequence in 1..=routes.get_info().await.unwrap().state.last_sequence {
        let message = routes.direct_get(sequence).await.unwrap();
        let segment: RouteSegment = Encoding::Json.decode(&message.payload).unwrap();
        count += segment.records.len();
    }
    count
}

/// Eight slots want sixteen tasks; once they are gone, the four that are configured are enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_s_bound_follows_its_workers_and_a_pause_stays() {
    let config = "[lanes.local-fast]\nmax_in_flight = 4\n";
    let mut fleet = FleetBuilder::new().config(config).slots(8).start().await;
    let (lane, broker) = ("local-fast".parse().unwrap(), fleet.broker.clone());
    let bound = async |most| {
        eventually("the bound follows", || async {
            let depth = broker.depth(&lane, Zone::Local).await.ok()?;
            (depth.most_in_flight == most).then_some(depth.is_paused)
        })
        .await
    };
    assert!(!bound(16).await);
    broker.pause(&lane, Zone::Local, std::time::Duration::from_secs(600)).await.unwrap();
    fleet.drain_worker("local-fast").await;
    assert!(bound(4).await, "the change of the bound has let the lane go on");
}
