//! Signs of life: each worker writes its own key, everybody else watches the bucket.

use futures_util::{Stream, StreamExt, TryStreamExt};
use trilane_protocol::Encoding;
use trilane_protocol::heartbeat::Heartbeat;

use crate::connect::Broker;
use crate::logs::{Entry, Log, Start};
use crate::topology::WORKERS;

/// Why the bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the bucket `{WORKERS}`: {0}; was the fleet provisioned (`trilane provision`)?")]
pub struct WorkersError(String);

/// Where signs of life are kept.
const SIGNS: &str = "$KV.workers.>";

/// The header by which buckets tell a goodbye from a value.
const OPERATION: &str = "KV-Operation";
const DELETE: &str = "DEL";

/// The bucket of signs of life.
#[derive(Debug, Clone)]
pub struct Workers {
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
        self.reach(Log::Workers).await.map_err(error)?;
        Ok(Workers { broker: self.clone() })
    }

    /// Writes a sign of life. A lost one is followed by the next, so nobody waits for its confirmation.
    pub async fn beat(&self, heartbeat: &Heartbeat) {
        self.publish_unstored(subject(heartbeat), Encoding::Json.encode(heartbeat).into()).await;
    }

    /// Takes a worker's sign of life away, so that nobody waits for it to expire.
    pub async fn leave(&self, heartbeat: &Heartbeat) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(OPERATION, DELETE);
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

impl Workers {
    /// All workers that live now, in no particular order.
    ///
    /// # Errors
    /// [`WorkersError`] where the bucket cannot be read.
    pub async fn alive(&self) -> Result<Vec<Heartbeat>, WorkersError> {
        let mut stored =
            std::pin::pin!(self.broker.stored(Log::Workers, SIGNS, Start::Oldest).await.map_err(error)?);
        let mut workers = Vec::new();
        while let Some(entry) = stored.try_next().await.map_err(error)? {
            if let Some(WorkerChange::Alive(heartbeat)) = change(&entry) {
                workers.push(*heartbeat);
            }
        }
        Ok(workers)
    }

    /// The workers that live now, then every change. By pulling: what the server pushes does not leave the core.
    ///
    /// # Errors
    /// [`WorkersError`] where the bucket cannot be watched.
    pub async fn watch(&self) -> Result<impl Stream<Item = WorkerChange> + Send + use<>, WorkersError> {
        let followed = self.broker.followed(Log::Workers, SIGNS, Start::Oldest).await.map_err(error)?;
        Ok(followed.filter_map(|entry| async move { change(&entry.ok()?) }))
    }
}

/// A sign of life under another's key is none.
fn change(entry: &Entry) -> Option<WorkerChange> {
    let key = entry.subject.strip_prefix(SIGNS.trim_end_matches('>'))?;
    if entry.header(OPERATION).is_some() {
        return Some(WorkerChange::Gone(key.to_owned()));
    }
    let heartbeat: Heartbeat = entry.decode().ok()?;
    (self::key(&heartbeat) == key).then(|| WorkerChange::Alive(Box::new(heartbeat)))
}

fn error(error: impl std::fmt::Display) -> WorkersError {
    WorkersError(error.to_string())
}
