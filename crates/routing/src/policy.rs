//! The policy: every number and rule that routing follows, as read from `[policy]`.

use serde::{Deserialize, Serialize};
use trilane_protocol::Sensitivity;

/// What routing follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Stands in every decision.
    pub version: String,
    /// Sensitivity of tasks that say nothing, from agents that say nothing.
    pub untagged: Sensitivity,
    /// What becomes of tasks from agents without an entry.
    pub unknown_agent: UnknownAgent,
    /// Tags that force `private`; compared without regard to case.
    pub private_tags: Vec<String>,
    /// What becomes of a private task that is pinned to a cloud model.
    pub private_pin: PrivatePin,
    /// Chance of a good answer, 0 to 1, that a lane must reach to be chosen.
    pub good_enough: f64,
    /// By how much the chance on a dearer lane must be larger for its price to be earned, 0 to 1.
    pub min_gain: f64,
    /// Chance of a good answer, 0 to 1: where no local lane reaches it, a public task goes to the cloud if that is better,
    /// whatever a target says.
    pub quality_floor: f64,
    /// Outcomes of a lane at which what was learned of it counts for half.
    pub learned_after: f64,
    /// Share of tasks, 0 to [`MAX_EXPLORE`](crate::explore::MAX_EXPLORE), that take a lane drawn at random.
    pub explore: f64,
    /// What the bar for the cloud is steered by; absent: `good_enough` and `min_gain` rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Tokens generated for tasks that do not say.
    pub default_max_tokens: u32,
    /// Tokens that an answer is expected to have when a lane's cost is estimated.
    pub expected_answer_tokens: u32,
    /// What happens when the first choice is not to be had.
    pub adjust: AdjustPolicy,
}

/// What the bar for the cloud is steered by: exactly one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Share, 0 to 1, of public tasks without a pin that go to the cloud.
    CloudShare(f64),
    /// Dollars that are spent in a week from Monday, UTC, as evenly as tasks allow.
    UsdWeek(f64),
}

/// What becomes of tasks from agents without an entry in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownAgent {
    /// They take the entry `default`.
    Default,
    /// They are rejected.
    Reject,
}

/// What becomes of a private task that is pinned to a cloud model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivatePin {
    /// It takes the deepest local lane.
    Deep,
    /// It is rejected.
    Reject,
}

/// What happens when the first choice is not to be had. Never private to cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdjustPolicy {
    /// A cloud lane has no live worker.
    pub cloud_without_worker: Fallback,
    /// The budget of the cloud lane is spent.
    pub budget_spent: Fallback,
    /// A local lane has no live worker.
    pub local_without_worker: LocalFallback,
    /// A local lane's queue is too long.
    pub local_saturated: LocalFallback,
    /// Tasks waiting for each slot of a lane at which its queue is too long.
    pub saturated_tasks_per_slot: u32,
}

/// What a public task does when its cloud lane is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Waits on the lane.
    Park,
    /// Takes the deepest local lane.
    Degrade,
    /// Ends as `rejected`.
    Reject,
}

/// What a task does when its local lane is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalFallback {
    /// Waits on the lane.
    Park,
    /// Takes the strongest other local lane that has workers and room.
    Spill,
}
