//! What is kept of a pipeline while its steps run.

use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store};
use bytes::Bytes;
use trilane_protocol::{AgentName, Encoding, TaskId};
use trilane_routing::pipeline::{self, Pipeline};

use crate::connect::Broker;
use crate::dead::HEADERS_BYTES;
use crate::topology::PIPELINES;

/// Why a pipeline's record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Not now: the bucket cannot be reached, or is full.
    #[error(
        "cannot use the bucket `{PIPELINES}`: {0}; was the fleet provisioned (`trilane provision`), and is there room?"
    )]
    NotNow(String),
    /// Never: it is larger than the server takes.
    #[error(
        "the pipeline has grown to {bytes} bytes, the server takes {most}; give its steps less to pass on"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The server's bound.
        most: usize,
    },
}

/// The bucket of pipelines under way.
#[derive(Debug, Clone)]
pub struct Pipelines {
    store: Store,
    max_payload: usize,
}

/// What is known of a pipeline.
#[derive(Debug)]
pub enum Known {
    /// It is under way; with the revision of its record.
    Kept(Box<Pipeline>, u64),
    /// Its last step was put on a lane, and its record forgotten.
    Over,
    /// Nothing, or nothing any more, or nothing yet: in a cluster a server may answer that is behind.
    Nothing,
}

impl Broker {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`PipelineError`] where it is not there.
    pub async fn pipelines(&self) -> Result<Pipelines, PipelineError> {
        let store = self.context().get_key_value(PIPELINES).await.map_err(not_now)?;
        Ok(Pipelines { store, max_payload: self.max_payload() })
    }
}

impl Pipelines {
    /// The record of a pipeline, if one is kept.
    ///
    /// # Errors
    /// [`PipelineError`] where the bucket cannot be read.
    pub async fn get(&self, agent: &AgentName, task_id: &TaskId) -> Result<Option<Pipeline>, PipelineError> {
        Ok(match self.look_up(agent, task_id).await? {
            Known::Kept(record, _) => Some(*record),
            Known::Over | Known::Nothing => None,
        })
    }

    /// What is known of a pipeline. What is forgotten leaves a mark, so that it is told from what is lost.
    ///
    /// # Errors
    /// [`PipelineError`] where the bucket cannot be read.
    pub async fn look_up(&self, agent: &AgentName, task_id: &TaskId) -> Result<Known, PipelineError> {
        let entry = self.store.entry(pipeline::key(agent, task_id)).await.map_err(not_now)?;
        let Some(entry) = entry else { return Ok(Known::Nothing) };
        match entry.operation {
            Operation::Put => {
                let record = Encoding::Msgpack.decode(&entry.value).map_err(not_now)?;
                Ok(Known::Kept(Box::new(record), entry.revision))
            }
            Operation::Delete | Operation::Purge => Ok(Known::Over),
        }
    }

    /// Keeps the record of a new pipeline. Where one of the same id is kept already, that one is returned
    /// and stays: it may be this very task's, delivered again, or another's.
    ///
    /// # Errors
    /// [`PipelineError`] where the bucket cannot be written.
    pub async fn create(&self, record: &Pipeline) -> Result<Option<Pipeline>, PipelineError> {
        let (agent, task_id) = (&record.base.agent, &record.base.task_id);
        match self.store.create(pipeline::key(agent, task_id), self.encoded(record)?).await {
            Ok(_) => Ok(None),
            Err(refused) if refused.kind() == CreateErrorKind::AlreadyExists => {
                match self.get(agent, task_id).await? {
                    Some(earlier) => Ok(Some(earlier)),
                    None => {
                        Err(PipelineError::NotNow("another record is there and cannot be read yet".into()))
                    }
                }
            }
            Err(refused) => Err(not_now(refused)),
        }
    }

    /// Keeps what has become of a pipeline since its record had this revision. Where it has changed meanwhile, what was
    /// read was out of date, and nothing is written.
    ///
    /// # Errors
    /// [`PipelineError`] where the bucket cannot be written, or the record has another revision.
    pub async fn update(&self, record: &Pipeline, revision: u64) -> Result<(), PipelineError> {
        let key = pipeline::key(&record.base.agent, &record.base.task_id);
        self.store.update(key, self.encoded(record)?, revision).await.map(drop).map_err(not_now)
    }

    /// Forgets a pipeline that is over. A record that stays all the same goes when it is old enough.
    pub async fn forget(&self, agent: &AgentName, task_id: &TaskId) {
        if let Err(error) = self.store.purge(pipeline::key(agent, task_id)).await {
            tracing::debug!(%error, "the record of a pipeline stays until it is old");
        }
    }

    fn encoded(&self, record: &Pipeline) -> Result<Bytes, PipelineError> {
        let payload = Encoding::Msgpack.encode(record);
        let bytes = payload.len() + HEADERS_BYTES;
        if bytes > self.max_payload {
            return Err(PipelineError::TooLarge { bytes, most: self.max_payload });
        }
        Ok(payload.into())
    }
}

fn not_now(error: impl std::fmt::Display) -> PipelineError {
    PipelineError::NotNow(error.to_string())
}
