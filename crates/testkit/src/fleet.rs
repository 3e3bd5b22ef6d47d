//! A whole fleet in this process, on a server of its own, with scripted runners.

use std::collections::BTreeMap;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use trilane_broker::topology::Topology;
use trilane_broker::{Broker, Role};
use trilane_protocol::heartbeat::WorkerState;
use trilane_protocol::{AgentName, LaneName, TaskId, TaskResult};
use trilane_service::Shutdown;
use trilane_service::config::{self, Config};
use trilane_service::health::Readiness;
use trilane_service::start::Started;
use trilane_service::telemetry;
use trilane_trust::Keys;
use trilane_worker::{WorkerSpec, serve};

use crate::eventually::eventually;
use crate::nats::NatsServer;
use crate::scripted::Scripted;

/// What a fleet is made of.
#[derive(Debug, Default)]
pub struct FleetBuilder {
    toml: String,
    lanes: BTreeMap<&'static str, Scripted>,
    slots: u32,
    classifiers: usize,
}

/// A running fleet. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// Its server.
    pub server: NatsServer,
    /// The keys of its roles.
    pub keys: Keys,
    _folder: TempDir,
    /// Its configuration.
    pub config: Config,
    /// A connection with every right.
    pub broker: Broker,
    /// The same without our own code in between, as any client has it.
    pub nats: async_nats::jetstream::Context,
    /// The runners, by lane.
    pub runners: BTreeMap<&'static str, Scripted>,
    workers: BTreeMap<&'static str, Process>,
    classifiers: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl FleetBuilder {
    /// One classifier and a worker with four slots on each of the two local lanes and the cloud lane. Nothing is drawn at
    /// random where the configuration does not say so.
    pub fn new() -> Self {
        let lanes = ["local-fast", "local-deep", "cloud"]
            .map(|lane| (lane, Scripted::costing(if lane == "cloud" { 0.01 } else { 0.0 })));
        Self { toml: String::new(), lanes: lanes.into(), slots: 4, classifiers: 1 }
    }

    /// Changes the configuration.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.toml.push_str(toml);
        self
    }

    /// Leaves a lane without a worker.
    #[must_use]
    pub fn without_worker(mut self, lane: &str) -> Self {
        self.lanes.remove(lane);
        self
    }

    /// Sets the slots of each worker.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Sets how many classifiers run.
    #[must_use]
    pub fn classifiers(mut self, count: usize) -> Self {
        self.classifiers = count;
        self
    }

    /// Starts everything and waits until every worker has shown itself.
    pub async fn start(self) -> Fleet {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let keys = Keys::new(folder.path());
        let explores = self.toml.contains("explore");
        let load = |url: &str| {
            let keys = folder.path().display().to_string();
            let variables = [
                ("TRILANE__NATS__URL", url),
                ("TRILANE__SECURITY__KEYS", keys.as_str()),
                ("TRILANE__POLICY__EXPLORE", "0.0"),
            ];
            let variables = variables.into_iter().take(if explores { 2 } else { 3 });
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            config::load_from(Some(&self.toml), variables).expect("the test's configuration holds")
        };
        let server = NatsServer::secured(&keys, &load("nats://127.0.0.1:4222").zones()).await;
        let config = load(&server.url());
        telemetry::start_logging(&config.telemetry).expect("the log filter reads");
        let broker = Broker::connect(&config, Role::Admin, "test").await.expect("the server is up");
        let seed = keys.user_seed(&Role::Admin).expect("the key reads").expect("the key is there");
        let options = async_nats::ConnectOptions::with_nkey(seed);
        let client = options.connect(&config.nats.url).await.expect("the server is up");
        broker.provision(&Topology::new(&config)).await.expect("the server takes the topology");
        let mut fleet = Fleet {
            server,
            keys,
            _folder: folder,
            config,
            broker,
            nats: async_nats::jetstream::new(client),
            runners: self.lanes,
            workers: BTreeMap::new(),
            classifiers: Vec::new(),
        };
        for lane in fleet.runners.keys().copied().collect::<Vec<_>>() {
            fleet.start_worker(lane, self.slots).await;
        }
        for _ in 0..self.classifiers {
            fleet.start_classifier().await;
        }
        fleet
    }
}

impl Fleet {
    /// Starts a worker for `lane` and waits until it has shown itself.
    pub async fn start_worker(&mut self, lane: &'static str, slots: u32) {
        let name = LaneName::new(lane).expect("a lane's name");
        let entry = &self.config.registry.lanes[&name];
        let spec = WorkerSpec { lane: name.clone(), zone: entry.zone, models: entry.models.clone(), slots };
        let runner = self.runners.get(lane).cloned().unwrap_or_default();
        self.runners.insert(lane, runner.clone());
        let (started, shutdown) = started();
        let config = self.config.clone();
        let task = tokio::spawn(async move {
            serve(&config, spec, runner, &started).await.expect("a worker serves");
        });
        self.workers.insert(lane, Process { shutdown, task });
        let workers = self.broker.workers().await.expect("the bucket is there");
        eventually("the worker shows itself", || async {
            let alive = workers.alive().await.ok()?;
            alive.iter().find(|worker| worker.lane == name && worker.state == WorkerState::Ready).map(drop)
        })
        .await;
    }

    /// Starts another classifier and waits until it is ready.
    pub async fn start_classifier(&mut self) {
        let (started, shutdown) = started();
        let readiness = started.readiness.clone();
        let config = self.config.clone();
        let task = tokio::spawn(async move {
            trilane_classifier::run(config, &started).await.expect("a classifier classifies");
        });
        self.classifiers.push(Process { shutdown, task });
        eventually("the classifier is ready", || async { readiness.is_ready().then_some(()) }).await;
    }

    /// Tells a lane's worker to stop, as SIGTERM would, and waits until it has drained.
    ///
    /// # Panics
    /// Where the lane has no worker.
    pub async fn drain_worker(&mut self, lane: &str) {
        let worker = self.workers.remove(lane).expect("the lane has a worker");
        worker.shutdown.begin();
        worker.task.await.expect("a worker drains");
    }

    /// Ends a lane's worker at once, as kill -9 would.
    ///
    /// # Panics
    /// Where the lane has no worker.
    pub fn kill_worker(&mut self, lane: &str) {
        self.workers.remove(lane).expect("the lane has a worker").task.abort();
    }

    /// Ends all classifiers at once, as kill -9 would.
    pub fn kill_classifiers(&mut self) {
        self.classifiers.drain(..).for_each(|classifier| classifier.task.abort());
    }

    /// Publishes a JSON task as `agent` and returns its stream sequence, which is its id where it has none.
    ///
    /// # Panics
    /// Where the server does not take it.
    pub async fn submit(&self, agent: &str, task: serde_json::Value) -> TaskId {
        let stored = self.submit_bytes(agent, task.to_string().into_bytes()).await;
        let id = task["id"].as_str().map_or_else(|| stored.to_string(), str::to_owned);
        TaskId::new(id).expect("an id")
    }

    /// Publishes any payload as `agent` and returns its stream sequence.
    ///
    /// # Panics
    /// Where the server does not take it.
    pub async fn submit_bytes(&self, agent: &str, payload: Vec<u8>) -> u64 {
        let subject = format!("tasks.{agent}");
        let sent = self.nats.publish(subject, payload.into()).await.expect("the connection is up");
        sent.await.expect("the server takes the task").sequence
    }

    /// Waits for the result of a task.
    pub async fn result(&self, agent: &str, task_id: &TaskId) -> TaskResult {
        let agent = AgentName::new(agent).expect("an agent's name");
        let what = format!("the result of task {task_id}");
        eventually(&what, || async { self.broker.result(&agent, task_id).await.ok().flatten() }).await
    }

    /// Publishes a JSON task as `agent` and waits for its result.
    pub async fn run(&self, agent: &str, task: serde_json::Value) -> TaskResult {
        let id = self.submit(agent, task).await;
        self.result(agent, &id).await
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let processes = self.workers.values().chain(&self.classifiers);
        processes.for_each(|process| process.task.abort());
    }
}

fn started() -> (Started, Shutdown) {
    let shutdown = Shutdown::new();
    (Started { shutdown: shutdown.clone(), readiness: Readiness::default() }, shutdown)
}
