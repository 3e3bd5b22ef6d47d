//! What a stolen key can do: each attempt by a plain NATS client, and how the server refuses it.

mod attacker;
mod attempts;

use async_nats::{ConnectOptions, HeaderMap};
use futures_util::StreamExt;
use serde_json::json;
use trilane_broker::Broker;
use trilane_protocol::{AgentName, Zone};
use trilane_testkit::{Fleet, FleetBuilder, NatsServer, eventually};
use trilane_trust::permissions::{Lanes, Permissions};
use trilane_trust::{Keys, Role};

use attacker::Attacker;
use attempts::{
    Attempt, by_a_cloud_worker, by_a_learner, by_a_local_worker, by_a_producer, by_an_operator, hear,
    on_the_core, publish,
};

/// A fleet with something worth stealing in each place.
async fn fleet() -> Fleet {
    let config = "[policy.adjust]\ncloud_without_worker = \"park\"\n";
    let builder = FleetBuilder::new().config(config).without_worker("local-deep").without_worker("cloud");
    let mut fleet = builder.start().await;
    fleet.run("sample", json!({"prompt": "x", "complexity": 0.1})).await;
    fleet.submit("sample", json!({"prompt": "private", "sensitivity": "private", "complexity": 0.99})).await;
    fleet.submit("sample", json!({"prompt": "public", "complexity": 0.99})).await;
    for (lane, zone) in [("local-deep", Zone::Local), ("cloud", Zone::Cloud)] {
        let lane = lane.parse().unwrap();
        eventually("a task waits on its lane", || async {
            (fleet.broker.depth(&lane, zone).await.unwrap().waiting == 1).then_some(())
        })
        .await;
    }
    fleet.kill_classifiers();
    fleet.submit("sample", json!({"prompt": "waits in the intake"})).await;
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_worker_s_key_reaches_nothing_but_its_own_lane() {
    let fleet = fleet().await;
    let attacker = Attacker::new(&fleet.config.nats.url, &fleet.keys, Some(&Role::CloudWorker)).await;
    assert_eq!(attacker.try_all(&by_a_cloud_worker()).await, [""; 0]);
    let info = "CORE.API.CONSUMER.INFO.LANE_CLOUD.cloud_normal";
    let own = attacker.client.request(info, "".into()).await.unwrap();
    assert!(
        String::from_utf8_lossy(&own.payload).contains("\"stream_name\":\"LANE_CLOUD\""),
        "its own lane it does reach"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_s_key_is_for_one_agent() {
    let mut fleet = fleet().await;
    let agent = |name: &str| AgentName::new(name).unwrap();
    for name in ["marketing", "sales"] {
        fleet.keys.add_agent(&agent(name), &fleet.config.zones(), true).unwrap();
    }
    let accounts = std::fs::read_to_string(fleet.keys.accounts_file()).unwrap();
    fleet.server.restart_with(&accounts).await;
    let role = Role::Agent(agent("marketing"));
    let url = &fleet.config.nats.url;
    eventually("the server knows the new key", || async {
        let seed = fleet.keys.user_seed(&role).unwrap().unwrap();
        ConnectOptions::with_nkey(seed).connect(url).await.ok()
    })
    .await;
    let attacker = Attacker::new(url, &fleet.keys, Some(&role)).await;
    assert_eq!(attacker.try_all(&by_a_producer("sales")).await, [""; 0]);
    let own = attacker.client.request("tasks.marketing", "{\"prompt\":\"x\"}".into()).await.unwrap();
    assert!(
        String::from_utf8_lossy(&own.payload).contains("\"stream\":\"TASKS\""),
        "its own tasks it may publish"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_key_is_a_producer_and_nothing_else() {
    let fleet = fleet().await;
    let attacker = Attacker::new(&fleet.config.nats.url, &fleet.keys, None).await;
    let mut attempts = on_the_core("CORE.API");
    attempts.extend(on_the_core("$JS.API"));
    attempts.extend([
        publish("reroute.a", ""),
        publish("return.a", ""),
        publish("spend.a.1", ""),
        hear("cancelled.*"),
    ]);
    assert_eq!(attacker.try_all(&attempts).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_worker_s_key_neither_chooses_lanes_nor_reaches_the_cloud_s() {
    let fleet = fleet().await;
    let attacker = Attacker::new(&fleet.config.nats.url, &fleet.keys, Some(&Role::LocalWorker)).await;
    assert_eq!(attacker.try_all(&by_a_local_worker()).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_look_change_nothing() {
    let fleet = fleet().await;
    let url = &fleet.config.nats.url;
    let observer = Attacker::new(url, &fleet.keys, Some(&Role::Observer)).await;
    let mut attempts = by_an_operator();
    attempts.extend([publish("result.a.1", ""), publish("dead.intake", ""), publish("alert.a.b", "")]);
    attempts.push(publish("CORE.API.STREAM.MSG.GET.TASKS", "{\"seq\":1}"));
    attempts.push(publish("alerted.lane_slow.cloud", ""));
    attempts.push(publish("CORE.API.CONSUMER.PAUSE.LANE_LOCAL.local-fast_normal", "{}"));
    // The routing log it may hear.
    attempts.retain(|attempt| attempt.describe() != "subscribe to route.>");
    assert_eq!(observer.try_all(&attempts).await, [""; 0]);
    let monitor = Attacker::new(url, &fleet.keys, Some(&Role::Monitor)).await;
    let its_own = ["publish on result.other.1 {}", "publish on dead.local-fast {}", "subscribe to route.>"];
    let attempts: Vec<Attempt> = by_an_operator()
        .into_iter()
        .filter(|attempt| !its_own.contains(&attempt.describe().as_str()))
        .collect();
    assert_eq!(monitor.try_all(&attempts).await, [""; 0]);
}

/// Whoever has it can order the lanes that the screen leaves open; he can neither put anything on a lane, nor answer, nor take
/// anything away.
#[tokio::test(flavor = "multi_thread")]
async fn a_learner_s_key_writes_policies_and_nothing_else() {
    let fleet = fleet().await;
    let learner = Attacker::new(&fleet.config.nats.url, &fleet.keys, Some(&Role::Learner)).await;
    assert_eq!(learner.try_all(&by_a_learner()).await, [""; 0]);
    let own = learner.client.request("outcome.sample.1", "{}".into()).await.unwrap();
    assert!(
        String::from_utf8_lossy(&own.payload).contains("\"stream\":\"OUTCOMES\""),
        "its own outcomes it may publish"
    );
}

/// Whoever breaks into the one process with a way out has alerts, and nothing to read or to write besides.
#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_s_key_opens_alerts_and_nothing_else() {
    let fleet = fleet().await;
    let notifier = Attacker::new(&fleet.config.nats.url, &fleet.keys, Some(&Role::Notifier)).await;
    let mut attempts = by_an_operator();
    for stream in ["RESULTS", "ROUTES", "DEAD", "LEDGER", "KV_workers", "CANCELLED", "ALERTS"] {
        attempts.extend([
            publish(format!("CORE.API.STREAM.INFO.{stream}"), ""),
            publish(format!("CORE.API.CONSUMER.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("CORE.API.DIRECT.GET.{stream}"), "{\"seq\":1}"),
            publish(format!("CORE.API.STREAM.MSG.GET.{stream}"), "{\"seq\":1}"),
        ]);
    }
    attempts.extend([publish("result.a.1", ""), publish("dead.intake", ""), publish("alerted.a.b", "")]);
    attempts.extend([publish("alert.a.b", ""), hear("alert.*.*"), hear("results.>"), hear("route.*")]);
    attempts.push(publish("CORE.API.CONSUMER.PAUSE.LANE_LOCAL.local-fast_normal", "{}"));
    assert_eq!(notifier.try_all(&attempts).await, [""; 0]);
}

/// The server publishes an answer wherever a request says, and asks for no permission. Outside the core that reaches
/// nobody: no lane, no result, no ledger, no other agent.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cannot_be_aimed_at_another_account() {
    let mut fleet = fleet().await;
    let (mallory, victim) = (AgentName::new("mallory").unwrap(), AgentName::new("victim").unwrap());
    for agent in [&mallory, &victim] {
        fleet.keys.add_agent(agent, &fleet.config.zones(), true).unwrap();
    }
    let accounts = std::fs::read_to_string(fleet.keys.accounts_file()).unwrap();
    fleet.server.restart_with(&accounts).await;
    let url = &fleet.config.nats.url;
    let role = Role::Agent(victim);
    eventually("the server knows the new keys", || async {
        let seed = fleet.keys.user_seed(&role).unwrap().unwrap();
        ConnectOptions::with_nkey(seed).connect(url).await.ok()
    })
    .await;
    let victim = Attacker::new(url, &fleet.keys, Some(&role)).await;
    let mut heard = victim.client.subscribe("results.victim.*").await.unwrap();
    victim.client.flush().await.unwrap();
    let messages = async || {
        let mut counts = Vec::new();
        for stream in ["LANE_LOCAL", "LANE_CLOUD", "RESULTS", "ROUTES", "LEDGER", "LATER", "CANCELLED"] {
            let stream = fleet.nats.get_stream(stream).await.unwrap();
            counts.push(stream.get_info().await.unwrap().state.last_sequence);
        }
        counts
    };
    let before = messages().await;
    let replies = [
        "lane.cloud.normal",
        "lane.local-fast.normal",
        "result.victim.1",
        "results.victim.1",
        "route.x",
        "spend.a.1",
        "cancelled.00",
        "later.x",
        "_INBOX_AGENT.victim.x",
    ];
    let requests = [
        (
            Some(Role::CloudWorker),
            "CORE.API.CONSUMER.MSG.NEXT.LANE_CLOUD.cloud_normal",
            "{\"batch\":1,\"no_wait\":true}",
        ),
        (Some(Role::CloudWorker), "return.sample", "x"),
        (
            Some(Role::LocalWorker),
            "CORE.API.CONSUMER.MSG.NEXT.LANE_LOCAL.local-deep_normal",
            "{\"batch\":1,\"no_wait\":true}",
        ),
        (Some(Role::LocalWorker), "CORE.API.DIRECT.GET.RESULTS.result.sample.1", ""),
        (Some(Role::Observer), "CORE.API.DIRECT.GET.RESULTS.result.sample.1", ""),
        (Some(Role::Observer), "CORE.API.STREAM.INFO.TASKS", ""),
        (Some(Role::Monitor), "CORE.API.STREAM.MSG.GET.TASKS", "{\"seq\":4}"),
        (Some(Role::Producer), "tasks.sample", "{\"prompt\":\"x\"}"),
        (Some(Role::Agent(mallory)), "tasks.mallory", "{\"prompt\":\"x\"}"),
        (None, "CORE.API.DIRECT.GET.RESULTS.result.sample.1", ""),
    ];
    for (role, request, payload) in requests {
        let attacker = Attacker::new(url, &fleet.keys, role.as_ref()).await;
        for reply in replies {
            attacker.client.publish_with_reply(request, reply, payload.into()).await.unwrap();
        }
        attacker.client.flush().await.unwrap();
    }
    for (stream, stored) in [("TASKS", 2 * replies.len() as u64), ("RETURNS_CLOUD", replies.len() as u64)] {
        let stream = fleet.nats.get_stream(stream).await.unwrap();
        eventually("what may be published is stored", || async {
            (stream.get_info().await.unwrap().state.last_sequence >= stored).then_some(())
        })
        .await;
    }
    assert_eq!(messages().await, before);
    victim.client.flush().await.unwrap();
    assert!(
        tokio::time::timeout(std::time::Duration::ZERO, heard.next()).await.is_err(),
        "nothing was heard"
    );
}

/// The suite itself: with one permission too many it must not pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_loosened_permission_is_noticed() {
    let folder = tempfile::TempDir::new().unwrap();
    let keys = Keys::new(folder.path());
    let lanes: Lanes = trilane_service::config::load_from(None, []).unwrap().zones();
    keys.init(&lanes, true).unwrap();
    let accounts = std::fs::read_to_string(keys.accounts_file()).unwrap();
    let cloud = Permissions::of(&Role::CloudWorker, &lanes);
    let anchor = format!("publish: {{ allow: [\"{}\"", cloud.publish[0]);
    for (loosened, caught) in [
        ("CORE.API.STREAM.MSG.GET.*", "publish on CORE.API.STREAM.MSG.GET.TASKS {\"seq\":1}"),
        ("result.*.*", "publish on result.other.1 {}"),
        ("$JS.ACK.>", "publish on $JS.ACK.TASKS.classify.1.1.1.1.0 +NXT"),
    ] {
        let text = accounts.replacen(&anchor, &format!("{anchor}, \"{loosened}\""), 1);
        assert_ne!(text, accounts);
        let server = NatsServer::start_with(&text).await;
        let attacker = Attacker::new(&server.url(), &keys, Some(&Role::CloudWorker)).await;
        let passed = attacker.try_all(&by_a_cloud_worker()).await;
        assert!(passed.iter().any(|attempt| attempt == caught), "{loosened}: {passed:?}");
    }
}

/// What a producer without a key is for.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_key_publishes_and_hears_its_answer() {
    let fleet = FleetBuilder::new().start().await;
    let client = async_nats::connect(&fleet.config.nats.url).await.unwrap();
    let mut results = client.subscribe("results.me.*").await.unwrap();
    client.publish("tasks.me", "{\"prompt\":\"hello\"}".into()).await.unwrap();
    let result = results.next().await.unwrap();
    assert!(String::from_utf8_lossy(&result.payload).contains("echo: hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_fleet_is_refused_by_name() {
    let fleet = FleetBuilder::new().start().await;
    let folder = tempfile::TempDir::new().unwrap();
    Keys::new(folder.path()).init(&fleet.config.zones(), true).unwrap();
    let mut config = fleet.config.clone();
    config.security.keys = folder.path().to_owned();
    let error = Broker::connect(&config, Role::Observer, "test").await.unwrap_err().to_string();
    assert!(
        error.contains("refuses the key of the role `observer`") && error.contains("trilane keys init"),
        "{error}"
    );
}

/// What the cloud zone hands back under a guessed message id must not keep out what the local zone hands back.
#[tokio::test(flavor = "multi_thread")]
async fn message_ids_of_one_zone_mean_nothing_in_the_other() {
    let fleet = FleetBuilder::new().classifiers(0).start().await;
    let url = &fleet.config.nats.url;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "reroute.hr.77.0.0.77");
    for (role, subject) in [(Role::CloudWorker, "return.hr"), (Role::LocalWorker, "reroute.hr")] {
        let client = Attacker::new(url, &fleet.keys, Some(&role)).await.client;
        let answer = client.request_with_headers(subject, headers.clone(), "x".into()).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer["seq"] == 1 && answer["duplicate"].is_null(), "{subject}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cannot_take_the_signs_of_life_of_others_away() {
    let fleet = FleetBuilder::new().start().await;
    let client = Attacker::new(&fleet.config.nats.url, &fleet.keys, Some(&Role::CloudWorker)).await.client;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Rollup", "all");
    let answer = client.request_with_headers("$KV.workers.cloud.x", headers, "x".into()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["error"]["description"].as_str().unwrap().contains("rollup"), "{answer}");
    let large = client.request("$KV.workers.cloud.x", vec![b'x'; 9_000].into()).await.unwrap();
    assert!(String::from_utf8_lossy(&large.payload).contains("error"), "a sign of life is small");
}
