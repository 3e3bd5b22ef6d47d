//! Serves the cloud lane with API keys, within their limits.
//!
//! * [`catalogue`]: which models can be served, with which keys; what is missing where there are none
//! * [`guard`]: what is checked before anything leaves
//! * [`spend`]: what a call may cost, what it has cost, and who is told
//! * [`runner`]: one task, one call, another key where the first is refused
//!
//! Private work never gets here; should it all the same, [`guard::check_public`] stops it first.

pub mod catalogue;
pub mod guard;
pub mod runner;
pub mod spend;

use std::time::Duration;

use trilane_broker::ledger::Terms;
use trilane_broker::{Broker, Role};
use trilane_protocol::{LaneName, Zone};
use trilane_service::Config;
use trilane_service::start::Started;
use trilane_worker::{ServeError, WorkerSpec};

pub use catalogue::{Catalogue, CatalogueError};
pub use runner::CloudRunner;
pub use spend::Purse;

/// How long a worker that stops waits until its last calls are booked.
const LAST_BOOKINGS: Duration = Duration::from_secs(5);

/// Serves `lane` with `catalogue` until shutdown has begun, then drains.
///
/// # Errors
/// [`ServeError`] where serving cannot begin.
pub async fn run(
    config: &Config,
    lane: LaneName,
    catalogue: Catalogue,
    started: &Started,
) -> Result<(), ServeError> {
    let name = format!("{lane}-ledger-{:08x}-{}", rand::random::<u32>(), std::process::id());
    let broker = Broker::connect(config, Role::CloudWorker, &name).await?;
    if let Err(error) = broker.book().await {
        tracing::error!(%error, "without its ledger this worker calls nothing");
    }
    let terms = Terms { budgets: config.budgets(), on_ambiguous: config.budget.on_ambiguous };
    let ledger = broker.ledger(terms);
    let spec =
        WorkerSpec { lane, zone: Zone::Cloud, models: catalogue.served_models(), slots: catalogue.slots() };
    let runner = CloudRunner::new(catalogue, Purse::new(ledger.clone(), name));
    let served = trilane_worker::serve(config, spec, runner, started).await;
    if tokio::time::timeout(LAST_BOOKINGS, ledger.flush()).await.is_err() {
        tracing::warn!("the last calls are not booked; the next worker finds them open");
    }
    broker.flush().await;
    served
}
