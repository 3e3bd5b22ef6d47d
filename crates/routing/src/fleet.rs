//! What routing needs to know of the fleet at the moment of a decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use trilane_protocol::ledger::Book;
use trilane_protocol::{LaneName, ModelName};

use crate::budget::Budgets;

/// The fleet as the classifier last saw it. An unknown lane counts as one without workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetState {
    /// Each lane's state.
    pub lanes: BTreeMap<LaneName, LaneState>,
    /// Bytes of tasks that are not due yet.
    pub postponed_bytes: u64,
    /// What calls have cost, and what they may cost.
    pub spending: Spending,
}

/// What calls have cost, and what they may cost. Without any budget nothing is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spending {
    /// The book as last seen.
    pub book: Arc<Book>,
    /// What it is held against.
    pub budgets: Arc<Budgets>,
}

/// One lane at the moment of a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneState {
    /// Models that live workers of the lane serve.
    pub served: Vec<ModelName>,
    /// Tasks that its live workers can run at once.
    pub slots: u32,
    /// Tasks that wait on it.
    pub waiting: u64,
    /// Tasks of the fullest of its priorities, those in the hands of workers included.
    pub fullest: u64,
}

impl FleetState {
    /// Whether a live worker of `lane` serves `model`.
    pub fn serves(&self, lane: &LaneName, model: &ModelName) -> bool {
        self.lanes.get(lane).is_some_and(|state| state.served.contains(model))
    }

    /// Whether one of the lane's priorities holds as many tasks as it may.
    pub fn is_full(&self, lane: &LaneName, lane_max_messages: i64) -> bool {
        let most = u64::try_from(lane_max_messages).unwrap_or(u64::MAX);
        self.lanes.get(lane).is_some_and(|state| state.fullest >= most)
    }

    /// Whether more than `tasks_per_slot` tasks wait for each slot of the lane.
    pub fn is_saturated(&self, lane: &LaneName, tasks_per_slot: u32) -> bool {
        let bound = |state: &LaneState| u64::from(state.slots) * u64::from(tasks_per_slot);
        self.lanes.get(lane).is_some_and(|state| state.slots > 0 && state.waiting > bound(state))
    }
}
