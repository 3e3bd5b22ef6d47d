//! One look at the server: what only it knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use trilane_broker::Broker;
use trilane_broker::depth::{Depth, DepthError};
use trilane_broker::ledger::LedgerError;
use trilane_broker::logs::{Log, ReadError};
use trilane_broker::observe::IntakeDepth;
use trilane_protocol::LaneName;
use trilane_protocol::ledger::Book;
use trilane_service::Config;

/// What the server says at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) intake: IntakeDepth,
    pub(crate) lanes: BTreeMap<LaneName, LaneLook>,
    pub(crate) book: Book,
    /// Dead letters that are kept.
    pub(crate) dead_letters: u64,
    /// Dead letters there ever were.
    pub(crate) buried: u64,
    /// Sequence of the last segment of the routing log.
    pub(crate) routed_up_to: u64,
}

/// What the server says of a lane.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LaneLook {
    pub(crate) depth: Depth,
    pub(crate) oldest_at: Option<Timestamp>,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    /// A queue.
    #[error(transparent)]
    Depth(#[from] DepthError),
    /// A log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The spend ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Looks once.
pub(crate) async fn look(broker: &Broker, config: &Config) -> Result<Look, LookError> {
    let mut lanes = BTreeMap::new();
    for (name, lane) in &config.registry.lanes {
        let depth = broker.depth(name, lane.zone).await?;
        let is_empty = depth.waiting + depth.in_flight == 0;
        let oldest_at = if is_empty { None } else { broker.oldest_on(name, lane.zone).await? };
        lanes.insert(name.clone(), LaneLook { depth, oldest_at });
    }
    let dead = broker.reach(Log::Dead).await?;
    Ok(Look {
        intake: broker.intake_depth().await?,
        lanes,
        book: broker.book().await?,
        dead_letters: dead.messages,
        buried: dead.last_sequence,
        routed_up_to: broker.reach(Log::Routes).await?.last_sequence,
    })
}
