//! Relays tasks from the intake to their lanes, many at a time.
//!
//! A message's life is one function, [`relay`]'s `relay`: read, route, log, put on the lane, acknowledge. The
//! source is acknowledged only after the routing log and the lane have confirmed. Any number of classifiers
//! work side by side.
//!
//! * [`fleet`]: the state of the lanes, watched; with `room`, how many tasks their workers may have in hand
//! * `policy`: the learned policy in force, followed; the bar for the cloud where a target steers it
//! * `read`: from a message to work
//! * `take_back`: what workers hand back
//! * `relay`: from work to its lane; `improve`: one lane up with an answer that is not good enough
//! * `examples`: what is kept to learn from; `shadow`: finished tasks once more on a local lane
//! * `log`: the routing log, written before anything is on a lane
//! * `refuse`: what becomes of a task that goes nowhere
//! * `cancel`: what producers no longer want

mod cancel;
mod examples;
pub mod fleet;
mod improve;
mod log;
mod policy;
mod read;
mod refuse;
mod relay;
mod room;
mod shadow;
mod shared;
mod take_back;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trilane_broker::lanes::Sealing;
use trilane_broker::pipelines::PipelineError;
use trilane_broker::pull::PullError;
use trilane_broker::workers::WorkersError;
use trilane_broker::{Broker, ConnectError, Role};
use trilane_service::Config;
use trilane_service::metrics::catalogue::POLICY_INFO;
use trilane_service::metrics::labels::Version;
use trilane_service::start::Started;
use trilane_trust::{Keys, KeysError};

use crate::examples::Examples;
use crate::fleet::FleetWatch;
use crate::log::RouteLog;
use crate::policy::{Bar, PolicyWatch};
use crate::shadow::InHand;
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
    /// No key to seal with.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Cancellations in hand at once.
const CANCEL_WINDOW: usize = 16;

/// Shadows in hand at once.
const SHADOW_WINDOW: usize = 1;

/// Classifies until shutdown has begun, then finishes what is in hand.
///
/// # Errors
/// [`ClassifierError`] where it cannot begin; once it has, faults are ridden out.
pub async fn run(config: Config, started: &Started) -> Result<(), ClassifierError> {
    let name = format!("classifier-{:08x}", rand::random::<u32>());
    let keys = Keys::new(config.keys_folder());
    let (seal_key, trusted) = (keys.seal_key()?, keys.trusted(&Role::Classifier)?);
    let broker = Broker::connect(&config, Role::Classifier, &name).await?;
    let (puller, cancels) = (broker.pull_intake().await?, broker.pull_cancels().await?);
    let shadows = broker.pull_shadows().await?;
    let pipelines = broker.pipelines().await?;
    let fleet = FleetWatch::start(&broker, &config, &started.shutdown).await?;
    let policy = PolicyWatch::start(&broker, &started.shutdown).await;
    let slots = Arc::new(Semaphore::new(config.classifier.window));
    tracing::info!(classifier = name, window = config.classifier.window, "classifying");

    let grace = config.worker.drain_grace();
    let log = RouteLog::start(&broker, &name, seal_key.clone());
    let valid = Duration::from_secs(config.security.seal_valid_s);
    let shared = Arc::new(Shared {
        cancellations: broker.cancellations(),
        sealing: Sealing { key: seal_key, valid },
        broker: broker.clone(),
        bar: Bar::new(&config),
        examples: Examples::new(broker.clone(), config.learning.keep_examples),
        config,
        pipelines,
        fleet,
        policy,
        name,
        trusted,
        log,
        in_hand: InHand::default(),
    });
    let cancels = cancels.start(Arc::new(Semaphore::new(CANCEL_WINDOW)), started.shutdown.begun());
    let cancelling = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { shared.take_cancels(cancels).await }
    });
    let shadows = shadows.start(Arc::new(Semaphore::new(SHADOW_WINDOW)), started.shutdown.begun());
    let shadowing = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { shared.take_shadows(shadows).await }
    });
    POLICY_INFO.set(1.0, Version::of(&shared.config.policy.version));
    let mut messages = puller.start(slots, started.shutdown.begun());
    let mut tasks = JoinSet::new();
    started.readiness.set(true);
    while let Some(slotted) = messages.recv().await {
        let shared = Arc::clone(&shared);
        let in_hand = shared.in_hand.one_more();
        tasks.spawn(async move {
            shared.relay(&slotted.delivery).await;
            drop(in_hand);
            drop(slotted.slot);
        });
        while tasks.try_join_next().is_some() {}
    }
    started.readiness.set(false);
    finish(tasks, grace).await;
    // It ends by itself once what was on its way is handed back.
    let _ = tokio::time::timeout(grace, cancelling).await;
    let _ = tokio::time::timeout(grace, shadowing).await;
    let _ = tokio::time::timeout(grace, shared.examples.finish()).await;
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
