//! Signs of life: each worker writes its own key, everybody else watches the bucket.

use async_nats::jetstream::kv::{Operation, Store};
use futures_util::{Stream, StreamExt};
use trilane_protocol::Encoding;
use trilane_protocol::heartbeat::Heartbeat;

use crate::connect::Broker;
use crate::logs::{Log, Start};
use crate::topology::WORKERS;

/// Why the bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the bucket `{WORKERS}`: {0}; was the fleet provisioned (`trilane provision`)?")]
pub struct WorkersError(String);

/// The bucket of signs of life.
#[derive(Debug, Clone)]
pub struct Workers {
    store: Store,
    broker: Broker,
}

/// A change in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerChange {
    /// A worker said that it lives.
    Alive(Box<Heartbeat>),
    /// The worker under this [`key`] said goodbye.
    Gone(String),
}

impl Broker {
    /// Opens the bucket.
    ///
    /// # Errors
    /// [`WorkersError`] where it is not there.
    pub async fn workers(&self) -> Result<Workers, WorkersError> {
        let store = self.context().get_key_value(WORKERS).await.map_err(error)?;
        Ok(Workers { store, broker: self.clone() })
    }

    /// Writes a sign of life. A lost one is followed by the next, so nobody waits for its confirmation.
    pub async fn beat(&self, heartbeat: &Heartbeat) {
        self.publish_unstored(subject(heartbeat), Encoding::Json.encode(heartbeat).into()).await;
    }

    /// Takes a worker's sign of life away, so that nobody waits for it to expire.
    pub async fn leave(&self, heartbeat: &Heartbeat) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        let sent = self.client().publish_with_headers(subject(heartbeat), headers, bytes::Bytes::new());
        if let Err(error) = sent.await {
            tracing::debug!(%error, "the sign of life stays until it expires");
        }
    }
}

/// A worker may only write below its own zone. The bucket is not opened for it: a cloud worker may not read it.
fn subject(heartbeat: &Heartbeat) -> String {
    format!("$KV.{WORKERS}.{}", key(heartbeat))
}

/// Where a worker's sign of life is kept: below its zone, since a worker may write there only.
pub fn key(heartbeat: &Heartbeat) -> String {
    format!("{}.{}", heartbeat.zone.as_str(), heartbeat.worker)
}

/// A sign of life under another's key is none.
fn read(found: &str, payload: &[u8]) -> Option<Heartbeat> {
    let heartbeat: Heartbeat = Encoding::Json.decode(payload).ok()?;
    (key(&heartbeat) == found).then_some(heartbeat)
}

impl Workers {
    /// All workers that live now, in no particular order.
    ///
    /// # Errors
    /// [`WorkersError`] where the bucket cannot be read.
    pub async fn alive(&self) -> Result<Vec<Heartbeat>, WorkersError> {
        let subjects = format!("$KV.{WORKERS}.>");
        let stored = self.broker.stored(Log::Workers, &subjects, Start::Oldest).await.map_err(error)?;
        let mut stored = std::pin::pin!(stored);
        let mut workers = Vec::new();
        while let Some(entry) = stored.next().await {
            let entry = entry.map_err(error)?;
            let key = entry.subject.splitn(3, '.').nth(2).unwrap_or_default();
            workers.extend(read(key, &entry.payload));
        }
        Ok(workers)
    }

    /// The workers that live now, then every change.
    ///
    /// # Errors
    /// [`WorkersError`] where the bucket cannot be watched.
    pub async fn watch(&self) -> Result<impl Stream<Item = WorkerChange> + Send + use<>, WorkersError> {
        let watch = self.store.watch_with_history(">").await.map_err(error)?;
        Ok(watch.filter_map(|entry| async move {
            let entry = entry.ok()?;
            match entry.operation {
                Operation::Put => {
                    read(&entry.key, &entry.value).map(|beat| WorkerChange::Alive(Box::new(beat)))
                }
                Operation::Delete | Operation::Purge => Some(WorkerChange::Gone(entry.key)),
            }
        }))
    }
}

fn error(error: impl std::fmt::Display) -> WorkersError {
    WorkersError(error.to_string())
}
