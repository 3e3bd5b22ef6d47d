//! What a stolen key can do: each attempt by a plain NATS client, and how the server refuses it.

use std::sync::{Arc, Mutex};

use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt;
use serde_json::json;
use trilane_broker::Broker;
use trilane_protocol::{AgentName, Zone};
use trilane_testkit::{Fleet, FleetBuilder, NatsServer, eventually};
use trilane_trust::permissions::{Lanes, Permissions};
use trilane_trust::{Keys, Role};

/// One thing that the holder of a key tries.
enum Attempt {
    /// To publish on a subject, with an answer to an inbox that it may hear.
    Publish(String, &'static str),
    /// To hear a subject.
    Hear(String),
}

impl Attempt {
    fn describe(&self) -> String {
        match self {
            Self::Publish(subject, payload) => format!("publish on {subject} {payload}"),
            Self::Hear(subject) => format!("subscribe to {subject}"),
        }
    }

    /// What the server says where it refuses.
    fn refusal(&self) -> String {
        match self {
            Self::Publish(subject, _) => format!("Permissions Violation for Publish to \"{subject}\""),
            Self::Hear(subject) => format!("Permissions Violation for Subscription to \"{subject}\""),
        }
    }
}

/// A plain client with somebody's key.
struct Attacker {
    client: Client,
    inbox: String,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Attacker {
    async fn new(url: &str, keys: &Keys, role: Option<&Role>) -> Self {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&errors);
        let seed = role.map(|role| keys.user_seed(role).unwrap().unwrap());
        let inbox = role.map_or_else(|| "_INBOX".to_owned(), Role::inbox_prefix);
        let options = seed.map_or_else(ConnectOptions::new, ConnectOptions::with_nkey);
        let options = options.custom_inbox_prefix(inbox.clone()).event_callback(move |event| {
            if let Event::ServerError(error) = event {
                noted.lock().unwrap().push(error.to_string());
            }
            std::future::ready(())
        });
        Self { client: options.connect(url).await.unwrap(), inbox, errors }
    }

    /// Tries everything; returns what was not refused.
    async fn try_all(&self, attempts: &[Attempt]) -> Vec<String> {
        let mut passed = Vec::new();
        for (round, attempts) in attempts.chunks(AT_ONCE).enumerate() {
            for attempt in attempts {
                self.attempt(attempt).await;
            }
            // A last one that is refused for certain: the server answers in order, so all answers are there after it.
            let last = publish(format!("surely.refused.{round}"), "");
            self.attempt(&last).await;
            eventually("the last answer", || std::future::ready(self.is_refused(&last).then_some(()))).await;
            for attempt in attempts {
                match self.is_refused(attempt) {
                    true => println!("{}: {}", attempt.describe(), attempt.refusal()),
                    false => passed.push(attempt.describe()),
                }
            }
            self.errors.lock().unwrap().clear();
        }
        passed
    }

    async fn attempt(&self, attempt: &Attempt) {
        match attempt {
            Attempt::Publish(subject, payload) => {
                let answer = format!("{}.answer", self.inbox);
                self.client.publish_with_reply(subject.clone(), answer, (*payload).into()).await.unwrap();
            }
            // It is refused at once or not at all; what it would hear does not matter here.
            Attempt::Hear(subject) => drop(self.client.subscribe(subject.clone()).await.unwrap()),
        }
    }

    fn is_refused(&self, attempt: &Attempt) -> bool {
        let refusal = attempt.refusal();
        self.errors.lock().unwrap().iter().any(|error| error.contains(&refusal))
    }
}

/// Attempts at once: the client forgets errors that nobody takes in time.
const AT_ONCE: usize = 8;

fn publish(subject: impl Into<String>, payload: &'static str) -> Attempt {
    Attempt::Publish(subject.into(), payload)
}

fn hear(subject: impl Into<String>) -> Attempt {
    Attempt::Hear(subject.into())
}

/// What nobody but the fleet's own core may do, whoever it is that tries.
fn on_the_core(api: &str) -> Vec<Attempt> {
    let streams = [
        "TASKS",
        "RETURNS",
        "LATER",
        "LANE_LOCAL",
        "RESULTS",
        "ROUTES",
        "DEAD",
        "CANCELS",
        "KV_pipelines",
        "KV_workers",
    ];
    let mut attempts = Vec::new();
    for stream in streams {
        let request = |what: &str| format!("{api}.{what}.{stream}");
        attempts.extend([
            publish(request("STREAM.INFO"), ""),
            publish(request("STREAM.MSG.GET"), "{\"seq\":1}"),
            publish(request("STREAM.MSG.DELETE"), "{\"seq\":1}"),
            publish(request("STREAM.PURGE"), ""),
            publish(request("STREAM.DELETE"), ""),
            publish(request("STREAM.SNAPSHOT"), "{\"deliver_subject\":\"x\"}"),
            publish(request("DIRECT.GET"), "{\"seq\":1}"),
            publish(request("CONSUMER.CREATE"), "{\"config\":{}}"),
            publish(format!("{api}.CONSUMER.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("{api}.CONSUMER.DURABLE.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("{api}.CONSUMER.MSG.NEXT.{stream}.classify"), "1"),
            publish(format!("$JS.ACK.{stream}.classify.1.1.1.1.0"), "+NXT"),
            publish(format!("$JS.ACK.{stream}.classify.1.1.1.1.0"), "+ACK"),
        ]);
    }
    attempts.extend([
        publish(format!("{api}.CONSUMER.MSG.NEXT.LANE_LOCAL.local-deep_normal"), "1"),
        publish("$JS.ACK.LANE_LOCAL.local-deep_normal.1.1.1.1.0", "+NXT"),
        publish("$JS.ACK.LANE_LOCAL.local-deep_normal.1.1.1.1.0", "+TERM"),
        // A stream that mirrors, sources or republishes another.
        publish(format!("{api}.STREAM.CREATE.SPY"), "{\"name\":\"SPY\",\"mirror\":{\"name\":\"TASKS\"}}"),
        publish(format!("{api}.STREAM.UPDATE.TASKS"), "{\"name\":\"TASKS\",\"republish\":{\"dest\":\"x\"}}"),
        publish(format!("{api}.CONSUMER.PAUSE.LANE_CLOUD.cloud_normal"), "{}"),
        publish("lane.local-fast.normal", "x"),
        publish("lane.cloud.normal", "x"),
        publish("route.classifier-1", "x"),
        publish("later.TASKS-1", "x"),
        publish("due.TASKS-1", "x"),
        publish("cancelled.00", ""),
        publish("result.other.1", "{}"),
        publish("results.other.1", "{}"),
        publish("dead.local-fast", "{}"),
        publish("$KV.pipelines.a.b", ""),
        publish("$KV.workers.local.x", ""),
        hear(">"),
        hear("*.>"),
        hear("tasks.*"),
        hear("lane.>"),
        hear("lane.local-fast.*"),
        hear("result.>"),
        hear("route.>"),
        hear("reroute.*"),
        hear("return.*"),
        hear("$JS.>"),
        hear("$JS.API.>"),
        hear("$JS.ACK.>"),
        hear("$KV.>"),
        hear("_INBOX_ROLE.>"),
        hear("_INBOX_ROLE.classifier.>"),
        hear("_INBOX_ROLE.local.>"),
        hear("_INBOX_AGENT.>"),
        hear("$SYS.>"),
    ]);
    attempts
}

fn by_a_cloud_worker() -> Vec<Attempt> {
    let mut attempts = on_the_core("CORE.API");
    attempts.extend(on_the_core("$JS.API"));
    attempts.extend([
        publish("tasks.sample", "{\"prompt\":\"x\"}"),
        publish("cancel.sample.1", ""),
        publish("dead.cloud", "{}"),
        publish("CORE.API.DIRECT.GET.RESULTS.result.sample.1", ""),
        publish("CORE.API.DIRECT.GET.KV_workers.$KV.workers.local.x", ""),
        hear("_INBOX.>"),
        hear("_INBOX_ROLE.*.>"),
        hear("results.>"),
        hear("partial.>"),
        hear("cancel.>"),
    ]);
    attempts
}

fn by_a_producer(another: &str) -> Vec<Attempt> {
    let mut attempts = on_the_core("CORE.API");
    attempts.extend(on_the_core("$JS.API"));
    attempts.extend([
        publish(format!("tasks.{another}"), "{\"prompt\":\"x\"}"),
        publish(format!("cancel.{another}.1"), ""),
        publish(format!("CORE.API.DIRECT.GET.RESULTS.result.{another}.1"), ""),
        publish("reroute.marketing", ""),
        publish("return.marketing", ""),
        publish("spend.marketing.1", "{}"),
        publish("partial.marketing.1", "{}"),
        hear(format!("results.{another}.*")),
        hear("results.>"),
        hear("results.*.*"),
        hear(format!("partial.{another}.*")),
        hear(format!("_INBOX_AGENT.{another}.>")),
        hear("_INBOX.>"),
        hear("cancelled.*"),
    ]);
    attempts
}

/// Those who look, and the monitor.
fn by_an_operator() -> Vec<Attempt> {
    let mut attempts = on_the_core("$JS.API");
    for stream in ["TASKS", "RETURNS", "RETURNS_CLOUD", "LATER", "LANE_LOCAL", "LANE_CLOUD", "KV_pipelines"] {
        attempts.extend([
            publish(format!("CORE.API.CONSUMER.CREATE.{stream}"), "{\"config\":{}}"),
            publish(format!("CORE.API.CONSUMER.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("CORE.API.CONSUMER.DURABLE.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("CORE.API.CONSUMER.MSG.NEXT.{stream}.classify"), "1"),
            publish(format!("CORE.API.DIRECT.GET.{stream}"), "{\"seq\":1}"),
            publish(format!("CORE.API.STREAM.PURGE.{stream}"), ""),
            publish(format!("CORE.API.STREAM.DELETE.{stream}"), ""),
        ]);
    }
    attempts.extend([
        publish("tasks.sample", ""),
        publish("cancel.sample.1", ""),
        publish("lane.cloud.normal", ""),
        publish("route.x", ""),
        publish("spend.a.1", ""),
        publish("reroute.a", ""),
        publish("return.a", ""),
        publish("later.TASKS-1", ""),
        publish("$KV.workers.local.x", ""),
        hear(">"),
        hear("tasks.*"),
        hear("lane.>"),
        hear("_INBOX_ROLE.>"),
        hear("_INBOX_ROLE.classifier.>"),
    ]);
    attempts
}

fn by_a_local_worker() -> Vec<Attempt> {
    let subjects = [
        "tasks.sample",
        "lane.cloud.normal",
        "lane.local-fast.normal",
        "route.classifier-1",
        "dead.cloud",
        "return.sample",
        "spend.sample.1",
        "later.TASKS-1",
        "cancelled.00",
        "return.sample",
        "CORE.API.STREAM.MSG.GET.TASKS",
        "CORE.API.CONSUMER.CREATE.LANE_CLOUD.spy",
        "CORE.API.CONSUMER.MSG.NEXT.LANE_CLOUD.cloud_normal",
        "$JS.API.STREAM.MSG.GET.TASKS",
        "$JS.API.CONSUMER.CREATE.LANE_CLOUD.spy",
        "$JS.API.CONSUMER.MSG.NEXT.LANE_CLOUD.cloud_normal",
        "$JS.ACK.LANE_CLOUD.cloud_normal.1.1.1.1.0",
        "$JS.ACK.TASKS.classify.1.1.1.1.0",
        "$KV.workers.cloud.x",
    ];
    let heard = ["tasks.*", "lane.>", "_INBOX_ROLE.classifier.>", "result.>", ">"];
    subjects.into_iter().map(|subject| publish(subject, "")).chain(heard.into_iter().map(hear)).collect()
}

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
