//! A connection that names itself, keeps to its own inbox, and finds its way back after any server restart.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use trilane_service::Config;
use trilane_service::config::{Nats, Tls};
use trilane_service::metrics::catalogue::{NATS_CONNECTED, NATS_RECONNECTS, NATS_REFUSALS};
use trilane_trust::role::Account;
use trilane_trust::{Keys, KeysError, Role};

/// Oldest server that has what the fleet needs (per-message TTL, schedules, atomic batches).
const OLDEST_SERVER: (i64, i64, i64) = (2, 12, 0);

/// Publishes that may wait for their acknowledgement at once, all of this process together.
const MAX_UNCONFIRMED_PUBLISHES: usize = 4_096;

/// Between two signs of life on a quiet connection; without an answer to two of them it is given up. One that is open at
/// this end only would else go unnoticed for minutes.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Longest delay between two tries to connect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(4);

/// A connection to the broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    client: Client,
    context: jetstream::Context,
    refusals: Refusals,
}

/// What the server has refused lately. A caller sees a refused subject as silence; this is where it finds out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<VecDeque<String>>>);

/// Refusals that are remembered.
const MAX_REFUSALS: usize = 64;

impl Refusals {
    fn note(&self, refusal: String) {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() == MAX_REFUSALS {
            refusals.pop_front();
        }
        refusals.push_back(refusal);
    }

    /// Whether the server has refused `subject` to this process.
    pub(crate) fn name(&self, subject: &str) -> bool {
        let quoted = format!("\"{subject}\"");
        let refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().any(|refusal| refusal.contains(&quoted))
    }
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
    /// The server does not know the key, or lets nobody in without one.
    #[error(
        "the server at {url} refuses {who}; is it the server that the keys in {folder} were made for? `trilane up` and \
         `trilane keys init` write its accounts, and it reads them when it starts"
    )]
    Refused {
        /// Where it is.
        url: String,
        /// Whom.
        who: String,
        /// Where keys are looked for.
        folder: String,
    },
    /// The server wants keys, and there are none here.
    #[error(
        "the server at {url} wants the key of the role `{role}`, and there is none in {folder}; run this where `trilane up` or \
         `trilane keys init` made the keys (security.keys), or copy the folder `{role}` of it to this host"
    )]
    NoKey {
        /// Where it is.
        url: String,
        /// Who this process is.
        role: String,
        /// Where the key was looked for.
        folder: String,
    },
    /// A key does not read.
    #[error(transparent)]
    Key(#[from] KeysError),
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
    pub async fn connect(config: &Config, role: Role, name: &str) -> Result<Self, ConnectError> {
        let nats = &config.nats;
        let role = match (&config.security.agent, role) {
            (Some(agent), Role::Producer) => Role::Agent(agent.clone()),
            (_, role) => role,
        };
        let keys = Keys::new(config.keys_folder());
        let seed = keys.user_seed(&role)?;
        let refusals = Refusals::default();
        let failed = |error: async_nats::ConnectError| {
            let url = shown(&nats.url);
            if error.kind() != ConnectErrorKind::AuthorizationViolation {
                return ConnectError::Unreachable { url, reason: error.to_string() };
            }
            let who = match &seed {
                Some(_) => format!("the key of the role `{}`", role.name()),
                None => "a client without a key".to_owned(),
            };
            ConnectError::Refused { url, who, folder: keys.folder().display().to_string() }
        };
        let options = options(nats, &role, seed.clone(), name, refusals.clone());
        let client = options.connect(nats.url.as_str()).await.map_err(failed)?;
        check(&client, nats)?;
        let has_accounts = !client.server_info().nonce.is_empty();
        if has_accounts && seed.is_none() && role != Role::Producer {
            let folder = keys.folder().display().to_string();
            return Err(ConnectError::NoKey { url: shown(&nats.url), role: role.name(), folder });
        }
        let account = if has_accounts { role.account() } else { Account::Core };
        let context = ContextBuilder::new()
            .api_prefix(account.api_prefix())
            .timeout(Duration::from_secs(nats.publish_timeout_s))
            .max_ack_inflight(MAX_UNCONFIRMED_PUBLISHES)
            .build(client.clone());
        Ok(Self { client, context, refusals })
    }

    /// The connection itself.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream on it.
    pub(crate) fn context(&self) -> &jetstream::Context {
        &self.context
    }

    /// What the server has refused.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Whether the server can be reached now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// How often this process has connected: more than before means that the connection was cut in between.
    pub fn connects(&self) -> u64 {
        self.client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
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

/// What the fleet needs of the server.
fn check(client: &Client, nats: &Nats) -> Result<(), ConnectError> {
    let server = client.server_info();
    let (major, minor, patch) = OLDEST_SERVER;
    if !client.is_server_compatible(major, minor, patch) {
        return Err(ConnectError::TooOld { url: shown(&nats.url), found: server.version });
    }
    if !server.jetstream {
        return Err(ConnectError::NoJetStream { url: shown(&nats.url) });
    }
    if server.nonce.is_empty() {
        tracing::debug!("this server knows no roles: whoever reaches it may do everything");
    }
    Ok(())
}

/// A URL without the credentials that it may carry.
fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        }
        None => url.rsplit_once('@').map_or(url, |(_, host)| host).to_owned(),
    }
}

fn options(nats: &Nats, role: &Role, seed: Option<String>, name: &str, refusals: Refusals) -> ConnectOptions {
    let has_connected = Arc::new(AtomicBool::new(false));
    // A client without a key is let in with a producer's rights, and those know the common inbox only.
    let inbox = if seed.is_some() { role.inbox_prefix() } else { "_INBOX".to_owned() };
    let options = match seed {
        Some(seed) => ConnectOptions::with_nkey(seed),
        None => ConnectOptions::new(),
    };
    with_tls(options, &nats.tls)
        .name(name)
        .custom_inbox_prefix(inbox)
        .connection_timeout(Duration::from_secs(nats.connect_timeout_s))
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let delay = Duration::from_millis(100 * 2_u64.saturating_pow(attempts.min(10) as u32));
            delay.min(MAX_RECONNECT_DELAY)
        })
        .event_callback(move |event| {
            let (refusals, has_connected) = (refusals.clone(), Arc::clone(&has_connected));
            async move { report(&event, &refusals, &has_connected) }
        })
}

fn with_tls(options: ConnectOptions, tls: &Tls) -> ConnectOptions {
    let is_given = |path: &std::path::Path| !path.as_os_str().is_empty();
    let options = match is_given(&tls.ca) {
        true => options.add_root_certificates(tls.ca.clone()).require_tls(true),
        false => options,
    };
    match is_given(&tls.cert) {
        true => options.add_client_certificate(tls.cert.clone(), tls.key.clone()),
        false => options,
    }
}

fn report(event: &Event, refusals: &Refusals, has_connected: &AtomicBool) {
    match event {
        Event::Connected => {
            NATS_CONNECTED.set(1.0, ());
            NATS_RECONNECTS.add(has_connected.swap(true, Ordering::Relaxed).into(), ());
            tracing::info!("connected to NATS");
        }
        Event::Disconnected => {
            NATS_CONNECTED.set(0.0, ());
            tracing::warn!("the connection to NATS is cut; trying again");
        }
        // The caller sees a refused subject as a timeout, so this line is the only one that names it.
        Event::ServerError(error) => {
            NATS_REFUSALS.add(1, ());
            tracing::error!(%error, "NATS refused what this process asked for");
            refusals.note(error.to_string());
        }
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "messages were dropped because this process reads too slowly");
        }
        other => tracing::debug!(event = %other, "NATS"),
    }
}
