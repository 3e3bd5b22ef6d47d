//! Tells of alerts by HTTP: one after the other to each receiver, again and again until it takes them, and signed so that
//! it can tell them from another's.

use std::time::Duration;

use futures_util::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::sync::{mpsc, oneshot};
use trilane_protocol::Encoding;
use trilane_protocol::alert::Alert;
use trilane_service::config::Webhook;
use trilane_service::metrics::catalogue::WEBHOOK_POSTS;
use trilane_service::metrics::labels::Posted;

/// Alerts that may wait for one receiver. One that takes none for so long misses the newest.
pub(crate) const MAX_WAITING: usize = 128;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Times that an alert is posted to a receiver that does not take it: within some twenty minutes.
const MAX_TRIES: u32 = 12;

/// Delay before it is posted again, at first and at most; doubled each time.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(300);

/// The header with the time of the post and the signature: `t=<Unix seconds>,v1=<hexadecimal HMAC-SHA256>` of
/// `<Unix seconds>.<body>`.
const SIGNATURE: &str = "Trilane-Signature";

/// The header with what tells one word on an alert from all others, for receivers that get it twice.
const ALERT_ID: &str = "Trilane-Alert-Id";

/// Why alerts cannot be posted.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A secret cannot be read.
    #[error("cannot read the secret of alerts.webhooks.{index} in {}: {source}", path.display())]
    Secret {
        /// Which receiver.
        index: usize,
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A secret that protects nothing.
    #[error("the secret of alerts.webhooks.{index} in {} is empty", path.display())]
    EmptySecret {
        /// Which receiver.
        index: usize,
        /// The file.
        path: std::path::PathBuf,
    },
    /// No client.
    #[error("cannot set up HTTPS: {0}; install the system's root certificates (Debian: ca-certificates)")]
    Client(#[source] reqwest::Error),
}

/// All receivers.
#[derive(Debug, Default)]
pub(crate) struct Webhooks(Vec<Receiver>);

/// An alert on its way to one receiver.
#[derive(Debug)]
struct Waiting {
    alert: Alert,
    /// Dropped when the receiver has taken it, or was given up.
    done: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Receiver {
    url: String,
    kinds: Vec<String>,
    waiting: mpsc::Sender<Waiting>,
}

impl Webhooks {
    /// Starts a poster for each receiver; they end when this is dropped.
    ///
    /// # Errors
    /// [`WebhookError`] for a secret or a client that cannot be had.
    pub(crate) fn start(settings: &[Webhook]) -> Result<Self, WebhookError> {
        let receivers = settings.iter().enumerate().map(|(index, webhook)| {
            let (waiting, alerts) = mpsc::channel(MAX_WAITING);
            let poster = Poster {
                client: client().map_err(WebhookError::Client)?,
                url: webhook.url.clone(),
                secret: secret(index, webhook)?,
                tries: MAX_TRIES,
                first_delay: FIRST_DELAY,
            };
            tokio::spawn(poster.run(alerts));
            Ok(Receiver { url: shown(&webhook.url), kinds: webhook.kinds.clone(), waiting })
        });
        receivers.collect::<Result<_, _>>().map(Self)
    }

    /// Queues an alert for every receiver that wants its kind. What is returned ends when all of them have taken it or
    /// were given up.
    pub(crate) fn tell(&self, alert: &Alert) -> impl Future<Output = ()> + Send + use<> {
        let mut waiting = Vec::new();
        let wanting =
            |receiver: &&Receiver| receiver.kinds.is_empty() || receiver.kinds.contains(&alert.kind);
        for receiver in self.0.iter().filter(wanting) {
            let (done, is_done) = oneshot::channel();
            match receiver.waiting.try_send(Waiting { alert: alert.clone(), done }) {
                Ok(()) => waiting.push(is_done),
                Err(_) => {
                    let kind = &alert.kind;
                    tracing::error!(url = receiver.url, kind, "a webhook takes nothing, and misses an alert");
                }
            }
        }
        async move { drop(join_all(waiting).await) }
    }
}

fn client() -> Result<Client, reqwest::Error> {
    // Fails only where another part of the process has chosen a provider before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        // A signed alert goes where it was meant to go.
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("trilane/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn secret(index: usize, webhook: &Webhook) -> Result<Option<SecretString>, WebhookError> {
    let Some(path) = webhook.secret_file.clone() else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(|source| WebhookError::Secret {
        index,
        path: path.clone(),
        source,
    })?;
    let text = text.trim();
    if text.is_empty() {
        return Err(WebhookError::EmptySecret { index, path });
    }
    Ok(Some(SecretString::from(text)))
}

/// A URL without what may be secret in it: many receivers are known by their path or query alone.
fn shown(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else { return "(no URL)".to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

struct Poster {
    client: Client,
    url: String,
    secret: Option<SecretString>,
    tries: u32,
    first_delay: Duration,
}

/// What a receiver made of a post.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    /// It may take it later.
    Later(String),
    /// It never will.
    Never(String),
}

impl Answer {
    fn label(&self) -> Posted {
        match self {
            Self::Taken => Posted::Taken,
            Self::Later(_) => Posted::Failed,
            Self::Never(_) => Posted::Refused,
        }
    }
}

impl Poster {
    async fn run(self, mut alerts: mpsc::Receiver<Waiting>) {
        while let Some(Waiting { alert, done }) = alerts.recv().await {
            self.deliver(&alert).await;
            drop(done);
        }
    }

    async fn deliver(&self, alert: &Alert) {
        let mut delay = self.first_delay;
        for tries_left in (0..self.tries).rev() {
            let answer = self.post(alert, Timestamp::now()).await;
            WEBHOOK_POSTS.add(1, answer.label());
            let reason = match answer {
                Answer::Taken => return,
                Answer::Never(reason) => {
                    tracing::error!(url = shown(&self.url), alert.kind, reason, "a webhook refuses an alert");
                    return;
                }
                Answer::Later(reason) => reason,
            };
            tracing::warn!(
                url = shown(&self.url),
                alert.kind,
                reason,
                tries_left,
                "a webhook did not take an alert"
            );
            if tries_left > 0 {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(MAX_DELAY);
            }
        }
        tracing::error!(url = shown(&self.url), alert.kind, "a webhook never took an alert; it is given up");
    }

    async fn post(&self, alert: &Alert, now: Timestamp) -> Answer {
        let body = Encoding::Json.encode(alert);
        let mut request = self
            .client
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header(ALERT_ID, id(alert));
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, signature(secret, now.as_second(), &body));
        }
        match request.body(body).send().await {
            Ok(response) => answer(response.status()),
            Err(error) if error.is_builder() => Answer::Never(causes(&error.without_url())),
            Err(error) => Answer::Later(causes(&error.without_url())),
        }
    }
}

/// Only what says that this very post is wrong is final: a wrong path or a secret that was just changed is mended while it
/// is tried again.
fn answer(status: StatusCode) -> Answer {
    match status {
        status if status.is_success() => Answer::Taken,
        StatusCode::BAD_REQUEST
        | StatusCode::GONE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Answer::Never(status.to_string()),
        status => Answer::Later(status.to_string()),
    }
}

/// The error with all its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn id(alert: &Alert) -> String {
    format!("{}.{}.{}.{}", alert.kind, alert.lane, alert.since.as_millisecond(), alert.state.as_str())
}

fn signature(secret: &SecretString, at: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    let code: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={code}")
}

#[cfg(test)]
mod tests;
