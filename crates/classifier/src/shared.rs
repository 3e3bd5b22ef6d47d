//! What every message of one classifier shares.

use trilane_broker::Broker;
use trilane_broker::pipelines::Pipelines;
use trilane_service::Config;

use crate::fleet::FleetWatch;

/// What every message of this classifier shares.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) broker: Broker,
    pub(crate) pipelines: Pipelines,
    pub(crate) fleet: FleetWatch,
    pub(crate) name: String,
}
