//! What every message of one classifier shares.

use std::time::Duration;

use trilane_broker::Broker;
use trilane_broker::cancel::Cancellations;
use trilane_broker::lanes::Sealing;
use trilane_broker::pipelines::Pipelines;
use trilane_service::Config;
use trilane_trust::Trusted;

use crate::fleet::FleetWatch;
use crate::log::RouteLog;
use crate::policy::{Bar, PolicyWatch};

/// Doublings of the delay for a full lane; the configured longest delay ends the growth before.
const MAX_DOUBLINGS: u64 = 16;

/// What every message of this classifier shares.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) broker: Broker,
    pub(crate) pipelines: Pipelines,
    pub(crate) fleet: FleetWatch,
    pub(crate) policy: PolicyWatch,
    pub(crate) bar: Bar,
    pub(crate) name: String,
    /// What lane messages are sealed with, and what seals are checked with when they come back.
    pub(crate) sealing: Sealing,
    pub(crate) trusted: Trusted,
    pub(crate) log: RouteLog,
    pub(crate) cancellations: Cancellations,
}

impl Shared {
    /// How long a message waits that cannot be dealt with now.
    pub(crate) fn delay(&self, deliveries: u64) -> Duration {
        let initial = Duration::from_millis(self.config.classifier.full_lane_retry_initial_ms);
        let most = Duration::from_millis(self.config.classifier.full_lane_retry_max_ms);
        let doublings = deliveries.saturating_sub(1).min(MAX_DOUBLINGS);
        let grown = initial.saturating_mul(1 << doublings).min(most);
        grown.mul_f64(rand::random_range(0.7..1.3))
    }
}
