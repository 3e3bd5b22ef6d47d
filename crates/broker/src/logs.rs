//! One reader for all streams that keep what has happened: results, routing log, spending, dead letters.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use trilane_protocol::streams::{
    ALERTS, DEAD, EXAMPLES, FEEDBACK, LEDGER, OUTCOMES, RESULTS, ROUTES, SHADOWED, WORKERS_STREAM,
};
use trilane_protocol::{AgentName, DecodeError, Encoding, TaskId};

use crate::connect::Broker;

/// Silence after which reading what is stored is given up: what was counted at the start has gone meanwhile, or
/// the server has.
const MAX_SILENCE: Duration = Duration::from_secs(15);

/// A stream that keeps what has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// One result for each task.
    Results,
    /// Every decision.
    Routes,
    /// What was spent.
    Ledger,
    /// What ended without an answer.
    Dead,
    /// The last sign of life of each worker.
    Workers,
    /// How each alert began and ended.
    Alerts,
    /// Verdicts on results.
    Feedback,
    /// How good answers were.
    Outcomes,
    /// What can be learned from each task.
    Examples,
    /// What local lanes would have answered.
    Shadowed,
}

impl Log {
    /// The stream's name.
    pub fn stream(self) -> &'static str {
        match self {
            Self::Results => RESULTS,
            Self::Routes => ROUTES,
            Self::Ledger => LEDGER,
            Self::Dead => DEAD,
            Self::Workers => WORKERS_STREAM,
            Self::Alerts => ALERTS,
            Self::Feedback => FEEDBACK,
            Self::Outcomes => OUTCOMES,
            Self::Examples => EXAMPLES,
            Self::Shadowed => SHADOWED,
        }
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest entry that is kept.
    Oldest,
    /// At the first that was stored at this time or later.
    At(Timestamp),
    /// Behind the entry of this sequence; 0 is at the oldest.
    Behind(u64),
    /// Behind the newest: what comes from now on.
    Now,
}

/// One message of a log, as it is stored.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the server stored it.
    pub stored_at: Timestamp,
    /// Its subject.
    pub subject: String,
    /// Its payload, byte for byte.
    pub payload: Bytes,
    headers: Option<HeaderMap>,
}

/// How far a log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Sequence of the oldest message that is kept; one more than the newest where none is.
    pub first_sequence: u64,
    /// Sequence of the newest message there ever was.
    pub last_sequence: u64,
    /// Messages that are kept.
    pub messages: u64,
    /// Bytes that are kept.
    pub bytes: u64,
    /// When the stream was made.
    pub created_at: Timestamp,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the stream {stream}: {reason}")]
pub struct ReadError {
    stream: &'static str,
    reason: Reason,
}

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{0}; was the fleet provisioned (`trilane provision`), and may this role read it?")]
    Unread(String),
    #[error("an entry is none of this fleet's, or of another version: {0}")]
    Garbage(String),
}

impl ReadError {
    pub(crate) fn new(log: Log, reason: impl std::fmt::Display) -> Self {
        Self { stream: log.stream(), reason: Reason::Unread(reason.to_string()) }
    }

    /// The entry is there, and does not decode.
    pub(crate) fn garbage(log: Log, reason: impl std::fmt::Display) -> Self {
        Self { stream: log.stream(), reason: Reason::Garbage(reason.to_string()) }
    }

    /// Whether what is stored is at fault: it reads the same whenever it is read.
    pub fn is_garbage(&self) -> bool {
        matches!(self.reason, Reason::Garbage(_))
    }
}

impl Entry {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.as_ref()?.get(name)?.as_str())
    }

    /// The payload as what it says, in either encoding.
    ///
    /// # Errors
    /// [`DecodeError`] names the field at fault.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        Encoding::detect(self.header("Content-Type"), &self.payload)?.decode(&self.payload)
    }

    /// The agent and the task that its subject names, where it ends with both as those of results do.
    pub fn task(&self) -> Option<(AgentName, TaskId)> {
        let (_, rest) = self.subject.split_once('.')?;
        let (agent, task_id) = rest.split_once('.')?;
        Some((AgentName::new(agent).ok()?, TaskId::new(task_id).ok()?))
    }

    fn new(message: &Message) -> Result<Self, String> {
        let info = message.info().map_err(|error| error.to_string())?;
        let stored_at = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos());
        Ok(Self {
            sequence: info.stream_sequence,
            stored_at: stored_at.map_err(|error| error.to_string())?,
            subject: message.subject.to_string(),
            payload: message.payload.clone(),
            headers: message.headers.clone(),
        })
    }
}

impl Broker {
    /// What a log holds now under `filter`, oldest first, and no more than that.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn stored(
        &self,
        log: Log,
        filter: &str,
        start: Start,
    ) -> Result<impl Stream<Item = Result<Entry, ReadError>> + Send + use<>, ReadError> {
        let consumer = self.reader(log, filter, start).await?;
        let left = consumer.cached_info().num_pending;
        let messages = consumer.messages().await.map_err(|error| ReadError::new(log, error))?;
        Ok(stream::try_unfold((messages, left), move |(mut messages, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let next = tokio::time::timeout(MAX_SILENCE, messages.next()).await;
            let silent = |_| ReadError::new(log, "the server has fallen silent; try again");
            let Some(message) = next.map_err(silent)? else { return Ok(None) };
            let message = message.map_err(|error| ReadError::new(log, error))?;
            // What was taken out since the count never comes; then the server's own count ends it.
            let pending = message.info().map_or(0, |info| info.pending);
            let entry = Entry::new(&message).map_err(|error| ReadError::new(log, error))?;
            Ok(Some((entry, (messages, pending.min(left - 1)))))
        }))
    }

    /// What a log holds under `filter`, then what comes, without end.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn followed(
        &self,
        log: Log,
        filter: &str,
        start: Start,
    ) -> Result<impl Stream<Item = Result<Entry, ReadError>> + Send + use<>, ReadError> {
        let consumer = self.reader(log, filter, start).await?;
        let messages = consumer.messages().await.map_err(|error| ReadError::new(log, error))?;
        Ok(messages.map(move |message| {
            let message = message.map_err(|error| ReadError::new(log, error))?;
            Entry::new(&message).map_err(|error| ReadError::new(log, error))
        }))
    }

    /// How far a log reaches now.
    ///
    /// # Errors
    /// [`ReadError`] where the server does not say.
    pub async fn reach(&self, log: Log) -> Result<Reach, ReadError> {
        let failed = |error: &dyn std::fmt::Display| ReadError::new(log, error);
        let stream = self.context().get_stream(log.stream()).await.map_err(|error| failed(&error))?;
        let info = stream.cached_info();
        let created_at = Timestamp::from_nanosecond(info.created.unix_timestamp_nanos());
        Ok(Reach {
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            messages: info.state.messages,
            bytes: info.state.bytes,
            created_at: created_at.map_err(|error| failed(&error))?,
        })
    }

    async fn reader(
        &self,
        log: Log,
        filter: &str,
        start: Start,
    ) -> Result<async_nats::jetstream::consumer::Consumer<pull::OrderedConfig>, ReadError> {
        let config = pull::OrderedConfig {
            filter_subject: filter.to_owned(),
            deliver_policy: deliver_policy(start).map_err(|error| ReadError::new(log, error))?,
            ..pull::OrderedConfig::default()
        };
        let created = self.context().create_consumer_on_stream(config, log.stream()).await;
        created.map_err(|error| ReadError::new(log, error))
    }
}

fn deliver_policy(start: Start) -> Result<DeliverPolicy, String> {
    let since = match start {
        Start::Oldest => return Ok(DeliverPolicy::All),
        Start::Now => return Ok(DeliverPolicy::New),
        Start::Behind(sequence) => {
            return Ok(DeliverPolicy::ByStartSequence { start_sequence: sequence.saturating_add(1) });
        }
        Start::At(since) => since.as_nanosecond(),
    };
    let start_time = async_nats::datetime::DateTime::from_unix_timestamp_nanos(since);
    Ok(DeliverPolicy::ByStartTime { start_time: start_time.map_err(|error| error.to_string())? })
}
