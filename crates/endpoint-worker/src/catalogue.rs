//! The models of a lane that local servers run, and how they are called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use trilane_protocol::nearest::suggestion;
use trilane_protocol::{LaneName, ModelName};
use trilane_providers::endpoint::EndpointError;
use trilane_providers::http::{AddressRefused, HttpError, direct_client};
use trilane_providers::{ChatClient, Endpoint};
use trilane_routing::registry::{Backend, ServedModel};
use trilane_service::Config;

use crate::address::check_literal;
use crate::remote;
use crate::resolver::{Lookup, PrivateResolver};

/// Longest silence of a local server. Before the first token it may load a model from disk and read a long
/// prompt on a CPU.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// The models of one lane.
#[derive(Debug)]
pub struct Catalogue {
    models: BTreeMap<ModelName, LocalModel>,
    default_max_tokens: u32,
    slots: u32,
}

/// A model that can be called.
#[derive(Debug, Clone)]
pub struct LocalModel {
    /// The server's own name for it.
    pub remote_name: String,
    /// Calls its server.
    pub client: ChatClient,
    /// Asks its server what it is; connects as `client` does.
    pub http: Client,
    /// Where to ask.
    pub show_url: String,
}

/// Why an endpoint worker cannot start. All of them are faults of the configuration.
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
    #[error("lane `{lane}` has no local-server models; serve it with the worker for its backend")]
    NotServed {
        /// The lane.
        lane: LaneName,
    },
    /// A server lies elsewhere.
    #[error("models.{model}.base_url: {refused}; a local server lies on this host or network")]
    Public {
        /// The model.
        model: ModelName,
        /// Its address.
        refused: AddressRefused,
    },
    /// A model runs elsewhere.
    #[error(
        "models.{model}.remote_name: `{remote_name}` runs in Ollama's cloud; name a model that runs locally"
    )]
    Cloud {
        /// The model.
        model: ModelName,
        /// The server's name for it.
        remote_name: String,
    },
    /// A server's address cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// HTTPS cannot be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl Catalogue {
    /// Checks the lane's models and makes their clients; names are looked up with `lookup`. Nothing is
    /// connected to: a server may start later than its worker.
    ///
    /// # Errors
    /// [`CatalogueError`] with the key at fault.
    pub fn build(
        config: &Config,
        lane: &LaneName,
        lookup: &(impl Lookup + Clone),
    ) -> Result<Self, CatalogueError> {
        let registry = &config.registry;
        let entry = registry.lanes.get(lane).ok_or_else(|| CatalogueError::UnknownLane {
            lane: lane.clone(),
            hint: suggestion(lane.as_str(), registry.lanes.keys().map(LaneName::as_str)),
        })?;
        let mut models = BTreeMap::new();
        let mut slots: u32 = 0;
        for name in &entry.models {
            let model = &registry.models[name];
            let Backend::LocalServer(served) = &model.backend else {
                return Err(CatalogueError::NotServed { lane: lane.clone() });
            };
            models.insert(name.clone(), open(name, served, lookup.clone())?);
            slots = slots.saturating_add(model.slots);
        }
        Ok(Self { models, default_max_tokens: config.policy.default_max_tokens, slots })
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
    pub fn model(&self, name: &ModelName) -> Option<&LocalModel> {
        self.models.get(name)
    }

    /// Most tokens to generate for tasks that do not say.
    pub fn default_max_tokens(&self) -> u32 {
        self.default_max_tokens
    }
}

fn open(name: &ModelName, served: &ServedModel, lookup: impl Lookup) -> Result<LocalModel, CatalogueError> {
    let endpoint = Endpoint::served(name.as_str(), &served.base_url, LONGEST_SILENCE)?;
    check_literal(&endpoint.base_url)
        .map_err(|refused| CatalogueError::Public { model: name.clone(), refused })?;
    let remote_name = served.remote_name.clone();
    if remote::is_cloud_name(&remote_name) {
        return Err(CatalogueError::Cloud { model: name.clone(), remote_name });
    }
    let http = direct_client(endpoint.is_encrypted(), Arc::new(PrivateResolver::new(lookup)))?;
    let show_url = remote::show_url(&endpoint.base_url);
    Ok(LocalModel { remote_name, client: ChatClient::new(http.clone(), endpoint), http, show_url })
}
