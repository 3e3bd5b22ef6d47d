//! Posts alerts to webhooks.
//!
//! A process of its own, because the monitor reads what is stuck in queues, and what reads private text has no HTTP
//! client. This one has, and its key opens nothing but the stream of alerts.
//!
//! * [`webhook`]: one poster for each receiver
//! * `post`: hands stored alerts to the posters, and acknowledges what all of them are done with
//! * `outage`: tells when the server itself does not answer, which nobody could store

mod outage;
mod post;
pub mod webhook;

use std::sync::Arc;

use tokio::sync::Semaphore;
use trilane_broker::pull::PullError;
use trilane_broker::{Broker, ConnectError, Role};
use trilane_service::Config;
use trilane_service::start::Started;

use webhook::{MAX_WAITING, WebhookError, Webhooks};

/// Why a notifier cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    /// Nobody to tell.
    #[error("there is nobody to tell: set alerts.webhooks, or do not start a notifier")]
    NoWebhooks,
    /// A receiver that cannot be told.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No consumer.
    #[error(transparent)]
    Pull(#[from] PullError),
}

/// Posts until shutdown has begun. Of several that run side by side, one posts each alert; what it has not finished when
/// it ends goes to another, or to the next.
///
/// # Errors
/// [`NotifierError`] where it cannot begin; once it has, faults are ridden out.
pub async fn run(config: Config, started: &Started) -> Result<(), NotifierError> {
    if config.alerts.webhooks.is_empty() {
        return Err(NotifierError::NoWebhooks);
    }
    let webhooks = Webhooks::start(&config.alerts.webhooks)?;
    let name = format!("notifier-{:08x}", rand::random::<u32>());
    let broker = Broker::connect(&config, Role::Notifier, &name).await?;
    let alerts = broker.pull_alerts().await?;
    tracing::info!(notifier = name, webhooks = config.alerts.webhooks.len(), "telling");

    let slots = Arc::new(Semaphore::new(MAX_WAITING));
    let messages = alerts.start(slots, started.shutdown.begun());
    started.readiness.set(true);
    tokio::join!(
        post::keep_posting(messages, &webhooks, &started.shutdown),
        outage::keep_watch(&broker, &config, &webhooks, &started.shutdown),
    );
    started.readiness.set(false);
    broker.flush().await;
    tracing::info!("ended; what was not taken is told of by the next notifier");
    Ok(())
}
