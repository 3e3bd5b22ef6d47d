//! The configuration: raw as the file says it, then checked.
//!
//! Sources, later ones win: the embedded default, the operator's file, the environment.

mod environment;
mod learning;
mod load;
mod watching;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trilane_protocol::limits::TaskLimits;
use trilane_protocol::{AgentName, LaneName, ModelName, Zone};
use trilane_routing::budget::{BudgetSettings, Budgets};
use trilane_routing::policy::Policy;
use trilane_routing::raw::{RawAgent, RawModel};
use trilane_routing::registry::{Lane, Provider, Registry};
use trilane_routing::validate::Commands;

pub use learning::{Judge, JudgeLane, JudgeRule, Learning, Promote};
pub use load::{ConfigError, DEFAULT_TOML, EXIT_BAD_CONFIG, load, load_from};
pub use watching::{Alerts, Dashboard, LaneLimits, LaneOverrides, Monitor, Webhook};

/// The checked configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// The queue's server.
    pub nats: Nats,
    /// Who may do what.
    pub security: Security,
    /// Bounds of the streams.
    pub streams: Streams,
    /// Bounds of one task.
    pub limits: TaskLimits,
    /// Files.
    pub paths: Paths,
    /// What routing follows.
    pub policy: Policy,
    /// What all agents together may spend.
    pub budget: BudgetSettings,
    /// The commands that validators may name.
    pub validators: Commands,
    /// Lanes, models, providers and agents.
    #[serde(flatten)]
    pub registry: Registry,
    /// The runtime of all workers.
    pub worker: Worker,
    /// llama.cpp in process.
    pub local_worker: LocalWorker,
    /// The classifier.
    pub classifier: Classifier,
    /// The monitor.
    pub monitor: Monitor,
    /// The learner.
    pub learning: Learning,
    /// When alerts are raised, and who is told.
    pub alerts: Alerts,
    /// The page that the monitor serves.
    pub dashboard: Dashboard,
    /// Logs, metrics, health.
    pub telemetry: Telemetry,
}

impl Config {
    /// What may be spent, in total and by agent.
    pub fn budgets(&self) -> Budgets {
        Budgets::new(&self.budget, &self.registry)
    }
}

/// The configuration as the file says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    nats: Nats,
    security: Security,
    streams: Streams,
    limits: TaskLimits,
    paths: Paths,
    policy: Policy,
    budget: BudgetSettings,
    validators: Commands,
    lanes: BTreeMap<LaneName, Lane>,
    models: BTreeMap<ModelName, RawModel>,
    #[serde(default)]
    providers: BTreeMap<String, Provider>,
    agents: BTreeMap<AgentName, RawAgent>,
    worker: Worker,
    local_worker: LocalWorker,
    classifier: Classifier,
    monitor: Monitor,
    learning: Learning,
    alerts: Alerts,
    dashboard: Dashboard,
    telemetry: Telemetry,
}

/// The queue's server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Where it is.
    pub url: String,
    /// The binary that `trilane up` starts; empty: the fetched one.
    pub server: String,
    /// Seconds that a connect may take.
    pub connect_timeout_s: u64,
    /// Seconds until a publish without acknowledgement is repeated.
    pub publish_timeout_s: u64,
    /// Whether the server that `trilane up` starts encrypts its files.
    pub encrypt_at_rest: bool,
    /// Certificates.
    pub tls: Tls,
}

/// Certificates, as PEM files; an empty path is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whose certificates of the server are trusted. With it, no connection goes without TLS.
    pub ca: PathBuf,
    /// What this process shows the server.
    pub cert: PathBuf,
    /// The key of that.
    pub key: PathBuf,
    /// What the server that `trilane up` starts shows.
    pub server_cert: PathBuf,
    /// The key of that.
    pub server_key: PathBuf,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// The folder of keys; empty: `keys` inside `paths.data`. Use [`Config::keys_folder`].
    pub keys: PathBuf,
    /// The agent whose key a producer connects with; empty: the operator's own producer.
    #[serde(deserialize_with = "named")]
    pub agent: Option<AgentName>,
    /// Whether the server that `trilane up` starts lets clients without credentials publish tasks.
    pub anonymous_producers: bool,
    /// Seconds that a lane message may be run after it was put on its lane.
    pub seal_valid_s: u64,
    /// Whether local workers give up the right to open connections elsewhere.
    pub isolate_local: Isolation,
}

/// Whether a process gives up a right that it does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Where the kernel can.
    Auto,
    /// It does not start where the kernel cannot.
    Require,
    /// No.
    Off,
}

/// A name, or none where the text is empty.
fn named<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<AgentName>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.is_empty() {
        true => Ok(None),
        false => AgentName::new(text).map(Some).map_err(serde::de::Error::custom),
    }
}

/// A lane's name, or none where the text is empty.
fn named_lane<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<LaneName>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.is_empty() {
        true => Ok(None),
        false => LaneName::new(text).map(Some).map_err(serde::de::Error::custom),
    }
}

impl Config {
    /// Where the keys lie.
    pub fn keys_folder(&self) -> PathBuf {
        match self.security.keys.as_os_str().is_empty() {
            true => self.paths.data.join("keys"),
            false => self.security.keys.clone(),
        }
    }

    /// The lanes with their zones.
    pub fn zones(&self) -> BTreeMap<LaneName, Zone> {
        self.registry.lanes.iter().map(|(name, lane)| (name.clone(), lane.zone)).collect()
    }
}

/// Bounds of the streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// Copies of each stream.
    pub replicas: usize,
    /// Tasks that the intake holds.
    pub intake_max_messages: i64,
    /// Bytes that the intake holds.
    pub intake_max_bytes: i64,
    /// Tasks that all classifiers together may have in hand.
    pub intake_max_in_flight: i64,
    /// Seconds after which a silent classifier loses what it had in hand.
    pub intake_ack_wait_s: u64,
    /// Tasks of one priority that one lane holds.
    pub lane_max_messages: i64,
    /// Bytes that all lanes of one zone hold together.
    pub lane_max_bytes: i64,
    /// Bytes of tasks that are not due yet.
    pub later_max_bytes: u64,
    /// Seconds that results are kept.
    pub results_max_age_s: u64,
    /// Bytes of results.
    pub results_max_bytes: i64,
    /// Seconds that the routing log is kept.
    pub routes_max_age_s: u64,
    /// Bytes of the routing log.
    pub routes_max_bytes: i64,
    /// Seconds that dead letters are kept.
    pub dead_max_age_s: u64,
    /// Bytes of dead letters.
    pub dead_max_bytes: i64,
    /// Seconds that it is kept what can be learned from a task, and what its shadow has answered.
    pub examples_max_age_s: u64,
    /// Bytes of each of the two.
    pub examples_max_bytes: i64,
    /// Seconds that feedback and outcomes are kept.
    pub outcomes_max_age_s: u64,
    /// Bytes of each of the two.
    pub outcomes_max_bytes: i64,
    /// Seconds that the spend ledger is kept.
    pub ledger_max_age_s: u64,
    /// Bytes of the spend ledger.
    pub ledger_max_bytes: i64,
    /// Seconds within which the same message id is the same message.
    pub duplicate_window_s: u64,
}

/// Files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// Where `trilane up` keeps the queue.
    pub data: PathBuf,
    /// Where GGUF files lie; empty: the user's cache. Use [`Paths::models_dir`].
    pub models: PathBuf,
}

impl Paths {
    /// Where GGUF files and the fetched server lie.
    pub fn models_dir(&self) -> PathBuf {
        if !self.models.as_os_str().is_empty() {
            return self.models.clone();
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        cache.or_else(home).unwrap_or_else(|| PathBuf::from(".trilane")).join("trilane")
    }

    /// The file of a GGUF model: as it is when absolute, else in [`Paths::models_dir`].
    pub fn model_file(&self, path: &std::path::Path) -> PathBuf {
        self.models_dir().join(path)
    }
}

/// The runtime of all workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Seconds between signs of life.
    pub heartbeat_s: u64,
    /// Seconds to finish after SIGTERM.
    pub drain_grace_s: u64,
    /// First delay before a repeated attempt, milliseconds.
    pub retry_initial_ms: u64,
    /// Longest delay, milliseconds.
    pub retry_max_ms: u64,
    /// Growth of the delay from attempt to attempt.
    pub retry_factor: f64,
    /// Half the width of the range that a delay is drawn from, as a share of it.
    pub retry_jitter: f64,
}

impl Worker {
    /// Between signs of life.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_s)
    }

    /// To finish after SIGTERM.
    pub fn drain_grace(&self) -> Duration {
        Duration::from_secs(self.drain_grace_s)
    }
}

/// llama.cpp in process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalWorker {
    /// Threads that decode; 0: one less than the machine has.
    pub threads: u32,
    /// What waiting threads do.
    pub wait_policy: WaitPolicy,
    /// Tokens in one decode call.
    pub batch_tokens: u32,
    /// Tasks that may wait inside the worker for a free sequence.
    pub max_waiting: u32,
}

/// What OpenMP threads do while they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitPolicy {
    /// Sleep.
    Passive,
    /// Spin.
    Active,
}

/// The classifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classifier {
    /// Messages in hand at once.
    pub window: usize,
    /// Seconds between two looks at the depth of the lanes.
    pub lane_poll_s: u64,
    /// First delay before a full lane is offered a task again, milliseconds.
    pub full_lane_retry_initial_ms: u64,
    /// Longest such delay, milliseconds.
    pub full_lane_retry_max_ms: u64,
}

/// Logs, metrics, health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Where health and metrics are served.
    pub listen: std::net::SocketAddr,
    /// Log filter.
    pub log: String,
    /// How a log line looks.
    pub log_format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
