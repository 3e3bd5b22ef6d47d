//! A connection that names itself, keeps to its own inbox, and finds its way back after any server restart.

use std::time::Duration;

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, Event};
use trilane_service::config::Nats;

/// Oldest server that has what the fleet needs (per-message TTL, schedules, atomic batches).
const OLDEST_SERVER: (i64, i64, i64) = (2, 12, 0);

/// Publishes that may wait for their acknowledgement at once, all of this process together.
const MAX_UNCONFIRMED_PUBLISHES: usize = 4_096;

/// Longest delay between two tries to connect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(4);

/// Who a process is to the broker. Each role has an inbox of its own, so that permissions can tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Publishes tasks and reads their results.
    Producer,
    /// Puts tasks on lanes.
    Classifier,
    /// Serves a local lane.
    LocalWorker,
    /// Serves a cloud lane.
    CloudWorker,
    /// Looks, and changes nothing.
    Observer,
    /// Ends what is stuck in a queue.
    Monitor,
    /// Creates streams, consumers and buckets.
    Admin,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Classifier => "classifier",
            Self::LocalWorker => "local",
            Self::CloudWorker => "cloud",
            Self::Observer => "observer",
            Self::Monitor => "monitor",
            Self::Admin => "admin",
        }
    }
}

/// A connection to the broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    client: Client,
    context: jetstream::Context,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answers, or it refuses.
    #[error(
        "cannot connect to NATS at {url}: {reason}; start it with `trilane up`, or set nats.url to where it runs"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What was met.
        reason: String,
    },
    /// The server lacks what the fleet needs.
    #[error(
        "the NATS server at {url} has version {found}; Trilane needs 2.12 or later (Debian's package is too old: `trilane up` fetches 2.15)"
    )]
    TooOld {
        /// Where it is.
        url: String,
        /// Its version.
        found: String,
    },
    /// The server runs without JetStream.
    #[error("the NATS server at {url} runs without JetStream; start it with `-js`")]
    NoJetStream {
        /// Where it is.
        url: String,
    },
}

impl Broker {
    /// Connects once, and fails where that fails. After that the connection comes back by itself.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub async fn connect(nats: &Nats, role: Role, name: &str) -> Result<Self, ConnectError> {
        let unreachable = |reason: String| ConnectError::Unreachable { url: nats.url.clone(), reason };
        let client = options(nats, role, name)
            .connect(nats.url.as_str())
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let server = client.server_info();
        let (major, minor, patch) = OLDEST_SERVER;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(ConnectError::TooOld { url: nats.url.clone(), found: server.version });
        }
        if !server.jetstream {
            return Err(ConnectError::NoJetStream { url: nats.url.clone() });
        }
        let context = ContextBuilder::new()
            .ack_timeout(Duration::from_secs(nats.publish_timeout_s))
            .max_ack_inflight(MAX_UNCONFIRMED_PUBLISHES)
            .build(client.clone());
        Ok(Self { client, context })
    }

    /// The connection itself.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream on it.
    pub(crate) fn context(&self) -> &jetstream::Context {
        &self.context
    }

    /// Whether the server can be reached now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Waits until all that was published has left this process.
    pub async fn flush(&self) {
        if let Err(error) = self.client.flush().await {
            tracing::warn!(%error, "the last messages may not have left");
        }
    }

    /// Largest message that the server takes, bytes.
    pub fn max_payload(&self) -> usize {
        self.client.max_payload()
    }
}

fn options(nats: &Nats, role: Role, name: &str) -> ConnectOptions {
    ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(format!("_INBOX.{}", role.as_str()))
        .connection_timeout(Duration::from_secs(nats.connect_timeout_s))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let delay = Duration::from_millis(100 * 2_u64.saturating_pow(attempts.min(10) as u32));
            delay.min(MAX_RECONNECT_DELAY)
        })
        .event_callback(|event| async move { report(&event) })
}

fn report(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("the connection to NATS is cut; trying again"),
        // The caller sees a refused subject as a timeout, so this line is the only one that names it.
        Event::ServerError(error) => tracing::error!(%error, "NATS refused what this process asked for"),
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "messages were dropped because this process reads too slowly");
        }
        other => tracing::debug!(event = %other, "NATS"),
    }
}
