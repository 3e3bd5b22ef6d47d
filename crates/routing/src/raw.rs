//! The registry as the configuration says it, and the checks that make a [`Registry`] of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use trilane_protocol::nearest::suggestion;
use trilane_protocol::{AgentName, LaneName, ModelName, Sensitivity, Usd, Zone};

use crate::registry::{
    Agent, Backend, CloudModel, DEFAULT_AGENT, GgufModel, GgufSource, Lane, Model, ModelChoice, Price,
    Provider, Registry, ServedModel,
};

/// A registry as the configuration says it, unchecked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRegistry {
    /// See [`Registry::lanes`].
    pub lanes: BTreeMap<LaneName, Lane>,
    /// See [`Registry::models`].
    pub models: BTreeMap<ModelName, RawModel>,
    /// See [`Registry::providers`].
    #[serde(default)]
    pub providers: BTreeMap<String, Provider>,
    /// See [`Registry::agents`].
    pub agents: BTreeMap<AgentName, RawAgent>,
}

/// A model as the configuration says it: the keys of all backends side by side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    backend: BackendKind,
    context_tokens: u32,
    #[serde(default = "default_slots")]
    slots: u32,
    path: Option<PathBuf>,
    sha256: Option<String>,
    bytes: Option<u64>,
    source: Option<GgufSource>,
    gpu_layers: Option<u32>,
    base_url: Option<String>,
    remote_name: Option<String>,
    provider: Option<String>,
    price: Option<Price>,
    max_output_tokens: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BackendKind {
    LlamaCpp,
    LocalServer,
    CloudApi,
}

/// An agent as the configuration says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAgent {
    #[serde(default = "auto")]
    model: String,
    sensitivity: Option<Sensitivity>,
    system_prompt: Option<String>,
    budget_day_usd: Option<f64>,
    budget_week_usd: Option<f64>,
}

fn auto() -> String {
    "auto".into()
}

fn default_slots() -> u32 {
    4
}

impl RawRegistry {
    /// Checks every reference and number.
    ///
    /// # Errors
    /// The first key at fault.
    pub fn check(self) -> Result<Registry, RegistryError> {
        let mut models = BTreeMap::new();
        for (name, raw) in self.models {
            let model = raw.check(&name, &self.providers)?;
            models.insert(name, model);
        }
        let mut agents = BTreeMap::new();
        for (name, raw) in self.agents {
            let agent = raw.check(&name, &self.lanes, &models)?;
            agents.insert(name, agent);
        }
        if !agents.contains_key(DEFAULT_AGENT) {
            return Err(RegistryError::new(
                "agents",
                "an entry `default` is needed for agents without their own",
            ));
        }
        let registry = Registry { lanes: self.lanes, models, providers: self.providers, agents };
        registry.check_lanes()?;
        Ok(registry)
    }
}

impl RawModel {
    fn check(self, name: &ModelName, providers: &BTreeMap<String, Provider>) -> Result<Model, RegistryError> {
        let key = |field: &str| format!("models.{name}.{field}");
        if self.context_tokens == 0 || self.slots == 0 {
            return Err(RegistryError::new(
                key("context_tokens"),
                "context_tokens and slots must be above 0",
            ));
        }
        self.refuse_foreign_keys(name)?;
        let need = |field: &str| RegistryError::new(key(field), "is needed for this backend");
        let backend = match self.backend {
            BackendKind::LlamaCpp => Backend::LlamaCpp(GgufModel {
                path: self.path.ok_or_else(|| need("path"))?,
                sha256: self.sha256.map(|hex| check_sha256(&key("sha256"), &hex)).transpose()?,
                bytes: self.bytes,
                source: self.source,
                gpu_layers: self.gpu_layers.unwrap_or(u32::MAX),
            }),
            BackendKind::LocalServer => Backend::LocalServer(ServedModel {
                base_url: self.base_url.ok_or_else(|| need("base_url"))?,
                remote_name: self.remote_name.ok_or_else(|| need("remote_name"))?,
            }),
            BackendKind::CloudApi => {
                let provider = self.provider.ok_or_else(|| need("provider"))?;
                check_provider(&key("provider"), &provider, providers)?;
                Backend::CloudApi(CloudModel {
                    provider,
                    remote_name: self.remote_name.ok_or_else(|| need("remote_name"))?,
                    price: check_price(&key("price"), self.price)?,
                    max_output_tokens: self.max_output_tokens.ok_or_else(|| need("max_output_tokens"))?,
                })
            }
        };
        if let Backend::LlamaCpp(GgufModel { source: Some(_), sha256: None, .. }) = &backend {
            return Err(RegistryError::new(
                key("sha256"),
                "is needed where `source` is given: only a pinned file is fetched",
            ));
        }
        Ok(Model { context_tokens: self.context_tokens, slots: self.slots, backend })
    }

    /// A key of another backend would be ignored in silence, so it is refused.
    fn refuse_foreign_keys(&self, name: &ModelName) -> Result<(), RegistryError> {
        use BackendKind::{CloudApi, LlamaCpp, LocalServer};
        let given: [(&str, bool, &[BackendKind]); 9] = [
            ("path", self.path.is_some(), &[LlamaCpp]),
            ("sha256", self.sha256.is_some(), &[LlamaCpp]),
            ("bytes", self.bytes.is_some(), &[LlamaCpp]),
            ("source", self.source.is_some(), &[LlamaCpp]),
            ("gpu_layers", self.gpu_layers.is_some(), &[LlamaCpp]),
            ("base_url", self.base_url.is_some(), &[LocalServer]),
            ("remote_name", self.remote_name.is_some(), &[LocalServer, CloudApi]),
            ("provider", self.provider.is_some(), &[CloudApi]),
            ("price", self.price.is_some(), &[CloudApi]),
        ];
        match given.iter().find(|(_, given, backends)| *given && !backends.contains(&self.backend)) {
            Some((field, ..)) => {
                Err(RegistryError::new(format!("models.{name}.{field}"), "does not belong to this backend"))
            }
            None => Ok(()),
        }
    }
}

fn check_provider(
    key: &str,
    name: &str,
    providers: &BTreeMap<String, Provider>,
) -> Result<(), RegistryError> {
    if providers.contains_key(name) {
        return Ok(());
    }
    let hint = suggestion(name, providers.keys().map(String::as_str));
    Err(RegistryError::new(key, format!("`{name}` is not under [providers]{hint}")))
}

/// Money that cannot be counted is not spent: a cloud model without a price is an error at start-up.
fn check_price(key: &str, price: Option<Price>) -> Result<Price, RegistryError> {
    let Some(price) = price else {
        let problem = "is missing: a cloud model needs dollars per million tokens, such as \
                       { input_usd_per_mtok = 3.0, cached_input_usd_per_mtok = 0.3, output_usd_per_mtok = 15.0 }";
        return Err(RegistryError::new(key, problem));
    };
    let parts = [price.input_usd_per_mtok, price.cached_input_usd_per_mtok, price.output_usd_per_mtok];
    if parts.iter().all(|usd| usd.is_finite() && *usd >= 0.0) {
        return Ok(price);
    }
    Err(RegistryError::new(key, "expected dollars, 0 or more"))
}

fn check_sha256(key: &str, hex: &str) -> Result<String, RegistryError> {
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hex.to_ascii_lowercase());
    }
    Err(RegistryError::new(key, "expected 64 hexadecimal digits"))
}

impl RawAgent {
    fn check(
        self,
        name: &AgentName,
        lanes: &BTreeMap<LaneName, Lane>,
        models: &BTreeMap<ModelName, Model>,
    ) -> Result<Agent, RegistryError> {
        let choice = self.model.as_str();
        let model = if choice == "auto" {
            ModelChoice::Auto
        } else if let Some((lane, _)) = lanes.get_key_value(choice) {
            ModelChoice::Lane(lane.clone())
        } else if let Some((model, _)) = models.get_key_value(choice) {
            ModelChoice::Model(model.clone())
        } else {
            let known = lanes.keys().map(LaneName::as_str).chain(models.keys().map(ModelName::as_str));
            let hint = suggestion(choice, known);
            let problem = format!("`{choice}` is neither `auto`, nor a lane, nor a model{hint}");
            return Err(RegistryError::new(format!("agents.{name}.model"), problem));
        };
        let budgets = [("budget_day_usd", self.budget_day_usd), ("budget_week_usd", self.budget_week_usd)];
        for (field, usd) in budgets {
            if usd.is_some_and(|usd| Usd::nearest(usd).is_none()) {
                return Err(RegistryError::new(
                    format!("agents.{name}.{field}"),
                    "expected dollars, 0 or more",
                ));
            }
        }
        Ok(Agent {
            model,
            sensitivity: self.sensitivity,
            system_prompt: self.system_prompt,
            budget_day_usd: self.budget_day_usd,
            budget_week_usd: self.budget_week_usd,
        })
    }
}

impl Registry {
    fn check_lanes(&self) -> Result<(), RegistryError> {
        if !self.lanes.values().any(|lane| lane.zone == Zone::Local) {
            return Err(RegistryError::new(
                "lanes",
                "at least one local lane is needed: private tasks go nowhere else",
            ));
        }
        for (name, lane) in &self.lanes {
            self.check_lane(name, lane)?;
        }
        Ok(())
    }

    fn check_lane(&self, name: &LaneName, lane: &Lane) -> Result<(), RegistryError> {
        let key = |field: &str| format!("lanes.{name}.{field}");
        if lane.models.is_empty() {
            return Err(RegistryError::new(key("models"), "name at least one model of the registry"));
        }
        if !(0.0..=1.0).contains(&lane.skill) {
            return Err(RegistryError::new(key("skill"), "expected a number from 0 to 1"));
        }
        let counts = [lane.ack_wait_s, lane.max_in_flight.into(), lane.max_attempts.into()];
        if counts.contains(&0) {
            return Err(RegistryError::new(key("*"), "every limit must be above 0"));
        }
        let mut kinds = Vec::new();
        for model_name in &lane.models {
            let model = self.models.get(model_name).ok_or_else(|| {
                let hint = suggestion(model_name.as_str(), self.models.keys().map(ModelName::as_str));
                RegistryError::new(key("models"), format!("`{model_name}` is not under [models]{hint}"))
            })?;
            if model.zone() != lane.zone {
                let problem =
                    format!("`{model_name}` lies in the {} zone, the lane does not", model.zone().as_str());
                return Err(RegistryError::new(key("models"), problem));
            }
            if self.lane_of(model_name) != Some(name) {
                return Err(RegistryError::new(
                    key("models"),
                    format!("`{model_name}` is on another lane already"),
                ));
            }
            kinds.push(std::mem::discriminant(&model.backend));
        }
        let first_is_gguf = matches!(self.models[&lane.models[0]].backend, Backend::LlamaCpp(_));
        if kinds.iter().any(|kind| *kind != kinds[0]) || (first_is_gguf && kinds.len() > 1) {
            let problem = "one worker serves a whole lane, so its models must share a backend, and a GGUF model needs \
                           a lane of its own";
            return Err(RegistryError::new(key("models"), problem));
        }
        Ok(())
    }
}

/// A registry that does not hold together: the key at fault and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct RegistryError {
    /// Path of the key in the configuration.
    pub key: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl RegistryError {
    fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}
