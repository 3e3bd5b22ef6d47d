//! Signs of life: each worker writes its own key, everybody else watches the bucket.

use async_nats::jetstream::kv::{Operation, Store};
use futures_util::{Stream, StreamExt};
use trilane_protocol::Encoding;
use trilane_protocol::heartbeat::Heartbeat;

use crate::connect::Broker;
use crate::topology::WORKERS;

/// Why the bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the bucket `{WORKERS}`: {0}; was the fleet provisioned (`trilane provision`)?")]
pub struct WorkersError(String);

/// The bucket of signs of life.
#[derive(Debug, Clone)]
pub struct Workers(Store);

/// A change in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerChange {
    /// A worker said that it lives.
    Alive(Box<Heartbeat>),
    /// A worker said goodbye.
    Gone(String),
}

impl Broker {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`WorkersError`] where it is not there.
    pub async fn workers(&self) -> Result<Workers, WorkersError> {
        self.context().get_key_value(WORKERS).await.map(Workers).map_err(error)
    }
}

impl Workers {
    /// Writes a sign of life. A lost one is followed by the next, so this only warns.
    pub async fn beat(&self, heartbeat: &Heartbeat) {
        if let Err(error) = self.0.put(&heartbeat.worker, Encoding::Json.encode(heartbeat).into()).await {
            tracing::warn!(%error, "a sign of life was not stored");
        }
    }

    /// Takes the worker's key away, so that nobody waits for it to expire.
    pub async fn leave(&self, worker: &str) {
        if let Err(error) = self.0.delete(worker).await {
            tracing::debug!(%error, "the sign of life stays until it expires");
        }
    }

    /// All workers that live now, in no particular order.
    ///
    /// # Errors
    /// [`WorkersError`] where the bucket cannot be read.
    pub async fn alive(&self) -> Result<Vec<Heartbeat>, WorkersError> {
        let mut keys = self.0.keys().await.map_err(error)?;
        let mut workers = Vec::new();
        while let Some(key) = keys.next().await {
            let value = self.0.get(key.map_err(error)?).await.map_err(error)?;
            workers.extend(value.and_then(|payload| Encoding::Json.decode(&payload).ok()));
        }
        Ok(workers)
    }

    /// The workers that live now, then every change.
    ///
    /// # Errors
    /// [`WorkersError`] where the bucket cannot be watched.
    pub async fn watch(&self) -> Result<impl Stream<Item = WorkerChange> + Send + use<>, WorkersError> {
        let watch = self.0.watch_with_history(">").await.map_err(error)?;
        Ok(watch.filter_map(|entry| async move {
            let entry = entry.ok()?;
            match entry.operation {
                Operation::Put => {
                    Encoding::Json.decode(&entry.value).ok().map(|beat| WorkerChange::Alive(Box::new(beat)))
                }
                Operation::Delete | Operation::Purge => Some(WorkerChange::Gone(entry.key)),
            }
        }))
    }
}

fn error(error: impl std::fmt::Display) -> WorkersError {
    WorkersError(error.to_string())
}
