//! Watches the fleet: shows it, says when something is wrong, and ends what nobody else will.
//!
//! * `alerts`: what is wrong, since when, what it means and what to do
//! * `janitor`: no message stays in a queue that nobody will ever get
//! * `dashboard`: the page that shows it
//! * `watch`: looks at queues, workers, decisions and budgets every few seconds

mod alerts;
mod dashboard;
mod janitor;
#[cfg(test)]
mod sample;
mod watch;

use tokio::sync::watch as latest;
use trilane_broker::pull::PullError;
use trilane_broker::topology::Topology;
use trilane_broker::{Broker, ConnectError, Role};
use trilane_service::Config;
use trilane_service::start::Started;
use trilane_trust::{Keys, KeysError};

use crate::janitor::{Janitor, sweep};

/// Why a monitor cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No consumer.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// No key to check seals with.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Watches until shutdown has begun, then finishes what is in hand. Any number may run side by side.
///
/// # Errors
/// [`MonitorError`] where it cannot begin; once it has, faults are ridden out.
pub async fn run(config: Config, started: &Started) -> Result<(), MonitorError> {
    let name = format!("monitor-{:08x}", rand::random::<u32>());
    let trusted = Keys::new(config.keys_folder()).trusted(&Role::Monitor)?;
    let broker = Broker::connect(&config, Role::Monitor, &name).await?;
    let advisories = broker.pull_advisories().await?;
    let topology = Topology::new(&config);
    let queues = topology.work_queues().map(str::to_owned).collect();
    let every = config.monitor.sweep();
    tracing::info!(monitor = name, sweep_s = config.monitor.sweep_s, "watching");

    let janitor = Janitor::new(broker.clone(), trusted);
    let (found, zombies) = latest::channel(0);
    let (sees, seen) = latest::channel(None);
    let (shows, shown) = latest::channel(None);
    started.readiness.set(true);
    tokio::join!(
        janitor.follow(advisories, &started.shutdown),
        sweep::keep_sweeping(&janitor, queues, every, found, &started.shutdown),
        watch::keep_watching(&broker, &config, zombies, sees, &started.shutdown),
        alerts::keep_alerting(&broker, &config, seen, shows, &started.shutdown),
        dashboard::serve(&config, broker.clone(), shown, &started.shutdown),
    );
    started.readiness.set(false);
    broker.flush().await;
    tracing::info!("drained");
    Ok(())
}
