//! Serves the cloud lane with API keys, within their limits.
//!
//! * [`catalogue`]: which models can be served, with which keys; what is missing where there are none
//! * [`guard`]: what is checked before anything leaves: the zone, and the money
//! * [`runner`]: one task, one call, another key where the first is refused
//!
//! Private work never gets here; should it all the same, [`guard::check_public`] stops it first.

pub mod catalogue;
pub mod guard;
pub mod runner;

use trilane_protocol::{LaneName, Zone};
use trilane_service::Config;
use trilane_service::start::Started;
use trilane_worker::{ServeError, WorkerSpec};

pub use catalogue::{Catalogue, CatalogueError};
pub use runner::CloudRunner;

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
    let spec =
        WorkerSpec { lane, zone: Zone::Cloud, models: catalogue.served_models(), slots: catalogue.slots() };
    trilane_worker::serve(config, spec, CloudRunner::new(catalogue), started).await
}
