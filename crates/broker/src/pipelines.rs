//! What is kept of a pipeline while its steps run.

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use trilane_protocol::{AgentName, Encoding, TaskId};
use trilane_routing::pipeline::{self, Pipeline};

use crate::connect::Broker;
use crate::topology::PIPELINES;

/// Why a pipeline's record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the bucket `{PIPELINES}`: {0}; was the fleet provisioned (`trilane provision`)?")]
pub struct PipelineError(String);

/// The bucket of pipelines under way.
#[derive(Debug, Clone)]
pub struct Pipelines(Store);

impl Broker {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`PipelineError`] where it is not there.
    pub async fn pipelines(&self) -> Result<Pipelines, PipelineError> {
        self.context().get_key_value(PIPELINES).await.map(Pipelines).map_err(error)
    }
}

impl Pipelines {
    /// The record of a pipeline, if one is kept.
    ///
    /// # Errors
    /// [`PipelineError`] where the bucket cannot be read.
    pub async fn get(&self, agent: &AgentName, task_id: &TaskId) -> Result<Option<Pipeline>, PipelineError> {
        let value = self.0.get(pipeline::key(agent, task_id)).await.map_err(error)?;
        value.map(|payload| Encoding::Msgpack.decode(&payload).map_err(error)).transpose()
    }

    /// Keeps the record of a new pipeline, unless one is kept already.
    ///
    /// # Errors
    /// [`PipelineError`] where the bucket cannot be written.
    pub async fn create(&self, record: &Pipeline) -> Result<(), PipelineError> {
        let key = pipeline::key(&record.base.agent, &record.base.task_id);
        match self.0.create(key, Encoding::Msgpack.encode(record).into()).await {
            Ok(_) => Ok(()),
            Err(refused) if refused.kind() == CreateErrorKind::AlreadyExists => Ok(()),
            Err(refused) => Err(error(refused)),
        }
    }

    /// Keeps the record of a pipeline.
    ///
    /// # Errors
    /// [`PipelineError`] where the bucket cannot be written.
    pub async fn put(&self, record: &Pipeline) -> Result<(), PipelineError> {
        let key = pipeline::key(&record.base.agent, &record.base.task_id);
        self.0.put(key, Encoding::Msgpack.encode(record).into()).await.map(drop).map_err(error)
    }
}

fn error(error: impl std::fmt::Display) -> PipelineError {
    PipelineError(error.to_string())
}
