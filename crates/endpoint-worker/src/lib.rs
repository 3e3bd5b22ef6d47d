//! Serves local lanes from a local inference server; connects to private addresses only.
//!
//! * [`address`]: which addresses are private
//! * [`resolver`]: names are looked up here, and only private addresses come out
//! * [`remote`]: models that a local server forwards elsewhere are refused
//! * [`catalogue`]: the lane's models and how they are called
//! * [`runner`]: one task, one call
//!
//! A private task may be in every call, so nothing here follows a redirect, uses a proxy, or connects to an
//! address that was not checked.

pub mod address;
pub mod catalogue;
pub mod remote;
pub mod resolver;
pub mod runner;

use trilane_protocol::{LaneName, Zone};
use trilane_service::Config;
use trilane_service::start::Started;
use trilane_worker::{ServeError, WorkerSpec};

pub use catalogue::{Catalogue, CatalogueError};
pub use runner::EndpointRunner;

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
        WorkerSpec { lane, zone: Zone::Local, models: catalogue.served_models(), slots: catalogue.slots() };
    trilane_worker::serve(config, spec, EndpointRunner::new(catalogue), started).await
}
