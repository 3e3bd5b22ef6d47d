//! Relays tasks from the intake to their lanes, many at a time.
//!
//! A message's life is one function, [`relay`]'s `relay`: read, route, put on the lane, log, acknowledge. The
//! source is acknowledged only after the lane and the routing log have confirmed. Any number of classifiers
//! work side by side.
//!
//! * [`fleet`]: the state of the lanes, watched
//! * `read`: from a message to work
//! * `relay`: from work to its lane
//! * `refuse`: what becomes of a task that goes nowhere

pub mod fleet;
mod read;
mod refuse;
mod relay;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trilane_broker::pipelines::PipelineError;
use trilane_broker::pull::PullError;
use trilane_broker::workers::WorkersError;
use trilane_broker::{Broker, ConnectError, Role};
use trilane_service::Config;
use trilane_service::start::Started;

use crate::fleet::FleetWatch;
use crate::shared::Shared;

/// Why a classifier cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ClassifierError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No consumer.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// No bucket of workers.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// No bucket of pipelines.
    #[error(transparent)]
    Pipelines(#[from] PipelineError),
}

/// Classifies until shutdown has begun, then finishes what is in hand.
///
/// # Errors
/// [`ClassifierError`] where it cannot begin; once it has, faults are ridden out.
pub async fn run(config: Config, started: &Started) -> Result<(), ClassifierError> {
    let name = format!("classifier-{:08x}", rand::random::<u32>());
    let broker = Broker::connect(&config.nats, Role::Classifier, &name).await?;
    let puller = broker.pull_intake().await?;
    let pipelines = broker.pipelines().await?;
    let fleet = FleetWatch::start(&broker, &config, &started.shutdown).await?;
    let slots = Arc::new(Semaphore::new(config.classifier.window));
    tracing::info!(classifier = name, window = config.classifier.window, "classifying");

    let grace = config.worker.drain_grace();
    let shared = Arc::new(Shared { config, broker: broker.clone(), pipelines, fleet, name });
    let mut messages = puller.start(slots, started.shutdown.begun());
    let mut tasks = JoinSet::new();
    started.readiness.set(true);
    while let Some(slotted) = messages.recv().await {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            shared.relay(&slotted.delivery).await;
            drop(slotted.slot);
        });
        while tasks.try_join_next().is_some() {}
    }
    started.readiness.set(false);
    finish(tasks, grace).await;
    broker.flush().await;
    tracing::info!("drained");
    Ok(())
}

/// What is not relayed within the grace time was not acknowledged, so another classifier gets it.
async fn finish(mut tasks: JoinSet<()>, grace: Duration) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::warn!("not everything was relayed in time; another classifier takes the rest");
    }
}
