//! Which models of a lane can be served, and with which keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use trilane_protocol::nearest::suggestion;
use trilane_protocol::{LaneName, ModelName};
use trilane_providers::endpoint::EndpointError;
use trilane_providers::http::{HttpError, cloud_client};
use trilane_providers::keys::{self, ApiKey, KeyError};
use trilane_providers::pool::{KeyLimits, KeyPool};
use trilane_providers::{ChatClient, Endpoint};
use trilane_routing::policy::Policy;
use trilane_routing::registry::{Backend, CloudModel, Lane, Provider};
use trilane_service::Config;

/// The models of one lane whose provider has a key.
#[derive(Debug)]
pub struct Catalogue {
    models: BTreeMap<ModelName, ServedModel>,
    policy: Policy,
    slots: u32,
}

/// A model that can be called.
#[derive(Debug, Clone)]
pub struct ServedModel {
    /// Its entry of the registry.
    pub entry: CloudModel,
    /// Calls its provider.
    pub client: ChatClient,
    /// The provider's keys; all its models share them.
    pub keys: Arc<KeyPool>,
}

/// Why a cloud worker cannot start. All of them are faults of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// There is no such lane.
    #[error("there is no lane `{lane}`{hint}; see [lanes]")]
    UnknownLane {
        /// As given.
        lane: LaneName,
        /// The nearest known one.
        hint: String,
    },
    /// The lane is for another worker.
    #[error("lane `{lane}` has no cloud models; serve it with the worker for its backend")]
    NotCloud {
        /// The lane.
        lane: LaneName,
    },
    /// No provider of the lane has a key.
    #[error("lane `{lane}` has no API key: set one of {places}")]
    NoKey {
        /// The lane.
        lane: LaneName,
        /// Where keys may be put.
        places: String,
    },
    /// A key that is there cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A provider's address cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// HTTPS cannot be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// A provider that has keys.
struct Opened {
    client: ChatClient,
    keys: Arc<KeyPool>,
}

impl Catalogue {
    /// Reads the keys of the lane's providers. A model whose provider has no key is left out; that is said
    /// in the log.
    ///
    /// # Errors
    /// [`CatalogueError`] when nothing can be served, or a key or address that is there cannot be used.
    pub fn build(
        config: &Config,
        lane: &LaneName,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CatalogueError> {
        let registry = &config.registry;
        let entry = registry.lanes.get(lane).ok_or_else(|| CatalogueError::UnknownLane {
            lane: lane.clone(),
            hint: suggestion(lane.as_str(), registry.lanes.keys().map(LaneName::as_str)),
        })?;
        let mut opened: BTreeMap<&str, Option<Opened>> = BTreeMap::new();
        let mut models = BTreeMap::new();
        let mut slots: u32 = 0;
        for (name, model) in cloud_models(config, entry) {
            let Backend::CloudApi(cloud) = &model.backend else {
                return Err(CatalogueError::NotCloud { lane: lane.clone() });
            };
            if !opened.contains_key(cloud.provider.as_str()) {
                let provider = &registry.providers[&cloud.provider];
                opened.insert(&cloud.provider, open(&cloud.provider, provider, &variable)?);
            }
            let Some(Opened { client, keys }) = &opened[cloud.provider.as_str()] else { continue };
            let served = ServedModel { entry: cloud.clone(), client: client.clone(), keys: Arc::clone(keys) };
            models.insert(name.clone(), served);
            slots = slots.saturating_add(model.slots);
        }
        if models.is_empty() {
            return Err(CatalogueError::NoKey { lane: lane.clone(), places: places(config, opened.keys()) });
        }
        Ok(Self { models, policy: config.policy.clone(), slots })
    }

    /// The models that can be served, by name.
    pub fn served_models(&self) -> Vec<ModelName> {
        self.models.keys().cloned().collect()
    }

    /// Tasks that all its models together may run at once.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// A model that can be served.
    pub fn model(&self, name: &ModelName) -> Option<&ServedModel> {
        self.models.get(name)
    }

    /// Most tokens to generate for tasks that do not say.
    pub fn default_max_tokens(&self) -> u32 {
        self.policy.default_max_tokens
    }

    /// What the second screen goes by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

fn cloud_models<'a>(
    config: &'a Config,
    lane: &'a Lane,
) -> impl Iterator<Item = (&'a ModelName, &'a trilane_routing::registry::Model)> {
    lane.models.iter().map(|name| (name, &config.registry.models[name]))
}

/// Opens a provider; `None` where it has no key.
fn open(
    name: &str,
    provider: &Provider,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Opened>, CatalogueError> {
    let read = provider.keys.iter().map(|source| ApiKey::read(source, &variable));
    let keys: Vec<ApiKey> = read.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        tracing::warn!(provider = name, "no API key: its models are not served");
        return Ok(None);
    }
    let endpoint = Endpoint::cloud(name, provider)?;
    if !endpoint.is_encrypted() {
        tracing::warn!(provider = name, "base_url is not https: keys and prompts travel in the clear");
    }
    let client = ChatClient::new(cloud_client(endpoint.is_encrypted())?, endpoint);
    Ok(Some(Opened { client, keys: KeyPool::new(name, keys, KeyLimits::from(provider)) }))
}

/// Where keys may be put, in words.
fn places<'a>(config: &Config, providers: impl Iterator<Item = &'a &'a str>) -> String {
    let sources = providers.flat_map(|name| &config.registry.providers[*name].keys);
    let labels: Vec<String> = sources.map(keys::label).collect();
    if labels.is_empty() {
        return "`keys` under its [providers], such as keys = [{ env = \"ANTHROPIC_API_KEY\" }]".to_owned();
    }
    labels.join(", ")
}

#[cfg(test)]
mod tests {
    use trilane_service::config::load_from;

    use super::*;

    const HTTP: &str = "[providers.anthropic]\nbase_url = \"http://127.0.0.1:1/v1\"\n\
                        [providers.openai]\nbase_url = \"http://127.0.0.1:1/v1\"";

    fn build(lane: &str, variables: &'static [&'static str]) -> Result<Catalogue, CatalogueError> {
        let config = load_from(Some(HTTP), []).unwrap();
        let variable = |name: &str| variables.contains(&name).then(|| "k".to_owned());
        Catalogue::build(&config, &lane.parse().unwrap(), variable)
    }

    fn names(catalogue: &Catalogue) -> Vec<String> {
        catalogue.served_models().into_iter().map(String::from).collect()
    }

    #[test]
    fn only_models_whose_provider_has_a_key_are_served() {
        let one = build("cloud", &["OPENAI_API_KEY"]).unwrap();
        assert_eq!(names(&one), ["gpt-4o", "gpt-4o-mini"]);
        assert_eq!(one.slots(), 32);
        let both = build("cloud", &["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]).unwrap();
        assert_eq!(names(&both), ["claude-haiku", "claude-sonnet", "gpt-4o", "gpt-4o-mini"]);
    }

    #[test]
    fn models_of_one_provider_share_its_keys() {
        let catalogue = build("cloud", &["OPENAI_API_KEY"]).unwrap();
        let keys = |name: &str| &catalogue.model(&name.parse().unwrap()).unwrap().keys;
        assert!(Arc::ptr_eq(keys("gpt-4o"), keys("gpt-4o-mini")));
    }

    #[test]
    fn without_any_key_the_message_says_which_variables_to_set() {
        let error = build("cloud", &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "lane `cloud` has no API key: set one of env ANTHROPIC_API_KEY, env OPENAI_API_KEY"
        );
    }

    #[test]
    fn a_lane_of_another_worker_is_refused() {
        let local = build("local-deep", &["OPENAI_API_KEY"]).unwrap_err().to_string();
        assert!(local.contains("has no cloud models"), "{local}");
        let unknown = build("cluod", &["OPENAI_API_KEY"]).unwrap_err().to_string();
        assert!(unknown.contains("did you mean `cloud`?"), "{unknown}");
    }
}
