//! What one row of the benchmark runs on: a server, the model, classifiers and workers, each a process that can be added.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use trilane_broker::Broker;
use trilane_service::config::load_from;
use trilane_testkit::Proxy;
use trilane_trust::{Keys, Role as KeyRole};

use super::model::{MODEL, Model};
use crate::evidence::{Listener, Reader};
use crate::fleet::{provisioned, recipe, url};
use crate::notes::Notes;
use crate::process::Process;
use crate::producers::Door;
use crate::queue::{Queue, free_addresses};
use crate::schedule::Role;

/// The lane that everything goes to.
pub const LANE: &str = "local-fast";

/// How long processes may take to show themselves.
const LONGEST_START: Duration = Duration::from_secs(60);

/// Between two looks at who is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A worker's grace time is so many sleeps of the model, so that what runs when it leaves has time to finish.
const GRACE_SLEEPS: u32 = 2;

/// How much longer than its grace time a worker may take to end.
const LONGEST_EXIT: Duration = Duration::from_secs(20);

/// What all rows have in common.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Each row has a folder of its own in it.
    pub folder: PathBuf,
    /// Tasks that each worker runs at once.
    pub slots: usize,
    /// How long the model sleeps.
    pub sleep: Duration,
    /// Tasks for each worker.
    pub tasks_per_worker: usize,
}

impl Ground {
    /// Seconds that a worker may go on after SIGTERM; whole ones, as its configuration has them.
    pub fn grace(&self) -> Duration {
        Duration::from_secs((self.sleep * GRACE_SLEEPS).as_secs_f64().ceil().max(1.0) as u64)
    }
}

/// The running processes. All end when it is dropped, the server last.
#[derive(Debug)]
pub struct Stand {
    workers: Vec<Process>,
    classifiers: Vec<Process>,
    /// Connections of classifiers that are far away.
    links: Vec<Proxy>,
    /// The model.
    pub model: Model,
    /// Hears results.
    pub listener: Listener,
    /// Reads the queue.
    pub reader: Reader,
    /// How producers come in.
    pub door: Door,
    admin: Broker,
    address: SocketAddr,
    folder: PathBuf,
    config_file: PathBuf,
    grace: Duration,
    started: usize,
    _queue: Queue,
}

impl Stand {
    /// Starts server and model for the row `name`; classifiers and workers are added.
    ///
    /// # Errors
    /// Where a part cannot be started, or does not come up in time.
    pub async fn start(ground: &Ground, name: &str) -> anyhow::Result<Self> {
        let folder = ground.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let model = Model::start(ground.sleep).await?;
        let keys = Keys::new(folder.join("keys"));
        let text = toml(ground, &model.base_url(), keys.folder());
        let config_file = folder.join("trilane.toml");
        std::fs::write(&config_file, &text)?;

        let addresses = free_addresses(1)?;
        let address = addresses[0];
        let config = load_from(Some(&text), [("TRILANE__NATS__URL".to_owned(), url(address))])?;
        keys.init(&config.zones(), true)?;
        let accounts = std::fs::read_to_string(keys.accounts_file())?;
        let queue = Queue::start(addresses, &accounts, &folder, &Arc::new(Notes::default()))?;
        let admin = provisioned(&config).await?;
        let reader = Reader::connect(address, &keys).await?;
        Ok(Self {
            workers: Vec::new(),
            classifiers: Vec::new(),
            links: Vec::new(),
            model,
            listener: reader.listen().await?,
            reader,
            door: Door { address, seed: keys.user_seed(&KeyRole::Producer)? },
            admin,
            address,
            folder,
            config_file,
            grace: ground.grace(),
            started: 0,
            _queue: queue,
        })
    }

    /// Starts classifiers whose connections, one each, hold everything back for `distance`.
    ///
    /// # Errors
    /// Where one cannot be started.
    pub async fn add_classifiers(&mut self, count: usize, distance: Duration) -> anyhow::Result<()> {
        for _ in 0..count {
            let mut queue = self.address;
            if !distance.is_zero() {
                let link = Proxy::start(vec![queue]).await?;
                link.delay(distance);
                queue = link.address();
                self.links.push(link);
            }
            let process = self.process(Role::Classifier, queue)?;
            self.classifiers.push(process);
        }
        Ok(())
    }

    /// Starts workers. They are told nothing but the lane, as is anyone who joins.
    ///
    /// # Errors
    /// Where one cannot be started.
    pub fn add_workers(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let process = self.process(Role::Endpoint(LANE), self.address)?;
            self.workers.push(process);
        }
        Ok(())
    }

    /// Waits until all workers have shown themselves.
    ///
    /// # Errors
    /// Where they take too long.
    pub async fn wait_for_workers(&self) -> anyhow::Result<()> {
        let wanted = self.workers.len();
        let workers = self.admin.workers().await?;
        let deadline = Instant::now() + LONGEST_START;
        loop {
            let alive = workers.alive().await.map(|alive| alive.len()).unwrap_or_default();
            if alive >= wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("only {alive} of {wanted} workers came up; see their logs (--keep DIR)");
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Tells a worker to leave and waits until it has; 0 is the one that has been there longest.
    ///
    /// # Errors
    /// Where it stays, or ends with a failure.
    pub async fn dismiss(&mut self, position: usize) -> anyhow::Result<()> {
        let mut worker = self.workers.remove(position);
        let ended = worker.terminate(self.grace + LONGEST_EXIT).await;
        let status = ended.with_context(|| format!("{} stays after SIGTERM", worker.name()))?;
        if !ExitStatus::success(&status) {
            bail!("{} ended with {status} after SIGTERM; see its log (--keep DIR)", worker.name());
        }
        Ok(())
    }

    fn process(&mut self, role: Role, queue: SocketAddr) -> anyhow::Result<Process> {
        let recipe = recipe(self.started, role, queue, &self.config_file, &self.folder)?;
        self.started += 1;
        Process::start(recipe)
    }
}

/// Everything that differs from the shipped configuration: one model on one lane, and a store that fits a small disk.
fn toml(ground: &Ground, base_url: &str, keys: &Path) -> String {
    let (slots, grace_s) = (ground.slots, ground.grace().as_secs());
    format!(
        r#"
[security]
keys = {keys:?}

[streams]
intake_max_bytes = 268_435_456
lane_max_bytes = 268_435_456
later_max_bytes = 67_108_864
results_max_bytes = 268_435_456
routes_max_bytes = 268_435_456
dead_max_bytes = 67_108_864
ledger_max_bytes = 67_108_864

[worker]
heartbeat_s = 1
drain_grace_s = {grace_s}

[telemetry]
log = "warn"

[lanes.{LANE}]
models = ["{MODEL}"]

[models.{MODEL}]
backend = "local-server"
base_url = "{base_url}"
remote_name = "{MODEL}"
context_tokens = 4_096
slots = {slots}
"#
    )
}
