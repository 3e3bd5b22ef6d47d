//! The decision: the chosen lane with every number that led to it, and the record of it in the routing log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{AgentName, LaneName, ModelName, TaskId};

/// Whether a task may leave the local zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// May be sent to a cloud provider.
    Public,
    /// Never leaves the local zone.
    Private,
}

/// The trust boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// This host or the operator's own network.
    Local,
    /// A provider's API.
    Cloud,
}

impl Zone {
    /// The word used in subjects and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cloud => "cloud",
        }
    }
}

/// The chosen lane and all that led to it. Holds no text of the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The lane.
    pub lane: LaneName,
    /// The lane's zone.
    pub zone: Zone,
    /// The model that is to run the task.
    pub model: ModelName,
    /// The rule that decided, one word.
    pub reason: Reason,
    /// The same for people, one sentence.
    pub explanation: String,
    /// What the screen found.
    pub screen: ScreenReport,
    /// How hard the task looks.
    pub score: Score,
    /// Chance of a good answer that the lane had to reach, 0 to 1.
    pub threshold: f64,
    /// What the chance in the cloud had to be above the best local one, where a target steers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar: Option<f64>,
    /// Every lane that was considered, with its numbers.
    pub candidates: Vec<Candidate>,
    /// Where the policy moved the task away from its first choice.
    pub adjustments: Vec<Adjustment>,
    /// Probability with which this lane was chosen; 1 where the choice was not random.
    pub propensity: f64,
    /// Version of the policy in force.
    pub policy_version: String,
    /// When it was decided.
    pub decided_at: Timestamp,
}

/// The rule that decided where a task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The task or its agent names the model.
    Pinned,
    /// A private task was pinned to a cloud model; the deep local lane took it.
    PrivatePin,
    /// The cheapest lane whose chance is good enough.
    GoodEnough,
    /// No allowed lane is good enough; the strongest allowed one took it.
    Strongest,
    /// The first choice has no live worker.
    NoWorker,
    /// The first choice has a queue that is too long.
    Saturated,
    /// The first choice would cost more than is left of a budget.
    BudgetSpent,
    /// A worker gave the task back because its lane could not serve it.
    Degraded,
    /// A worker gave the task back because the answer was not good enough.
    Escalated,
    /// Drawn at random among the lanes that may take it, so that there is evidence on all of them.
    Explored,
    /// Run once more on a local lane, to see whether it could have stayed.
    Shadowed,
}

impl Reason {
    /// The word on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::PrivatePin => "private_pin",
            Self::GoodEnough => "good_enough",
            Self::Strongest => "strongest",
            Self::NoWorker => "no_worker",
            Self::Saturated => "saturated",
            Self::BudgetSpent => "budget_spent",
            Self::Degraded => "degraded",
            Self::Escalated => "escalated",
            Self::Explored => "explored",
            Self::Shadowed => "shadowed",
        }
    }
}

/// What the sensitivity screen found: kinds and counts, never the text itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenReport {
    /// The verdict.
    pub sensitivity: Sensitivity,
    /// What led to it.
    pub findings: Vec<Finding>,
}

/// One ground for the screen's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Where it comes from.
    pub source: FindingSource,
    /// What was found: a tag, or a detector's kind such as `credit_card`.
    pub kind: String,
    /// How often.
    pub count: u32,
}

/// Where a [`Finding`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingSource {
    /// The task's own `sensitivity`.
    Task,
    /// A tag that the policy calls private.
    Tag,
    /// The agent's default.
    Agent,
    /// Nobody said, and `policy.untagged` decides.
    Untagged,
    /// A detector hit in the text.
    Detector,
    /// An earlier hop or step was private.
    Inherited,
}

/// How hard a task looks, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Chance, 0 to 1, that the local answer would not be good enough.
    pub complexity: f64,
    /// Who scored.
    pub source: ScoreSource,
    /// The largest parts of the score, by feature, in log-odds.
    pub contributions: Vec<Contribution>,
    /// Estimated prompt length, tokens.
    pub prompt_tokens: u32,
}

/// Who scored a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreSource {
    /// The producer, in the task.
    Producer,
    /// Length and hand-made features.
    ColdStart,
    /// Weights learned from outcomes.
    Learned,
}

/// One feature's part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// The feature.
    pub feature: String,
    /// Its part, log-odds.
    pub log_odds: f64,
}

/// One lane that was considered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The lane.
    pub lane: LaneName,
    /// The model it would use.
    pub model: ModelName,
    /// Chance of a good answer, 0 to 1.
    pub chance: f64,
    /// Expected dollars.
    pub expected_cost_usd: f64,
    /// What became of it.
    pub verdict: CandidateVerdict,
}

/// What became of a [`Candidate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateVerdict {
    /// Good enough, and within every bound.
    Eligible,
    /// Chance below the threshold.
    TooWeak,
    /// Prompt and answer do not fit the model's context window.
    TooLong,
    /// Over the task's `max_cost_usd`.
    TooExpensive,
}

/// Where the policy moved a task away from its first choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// The lane given up.
    pub from: LaneName,
    /// The lane taken instead.
    pub to: LaneName,
    /// Why.
    pub cause: Reason,
}

/// A decision as written to the routing log. Holds sizes and features, no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRecord {
    /// The task.
    pub task_id: TaskId,
    /// Its agent.
    pub agent: AgentName,
    /// How many lanes it has been on before.
    pub hop: u16,
    /// The step of its pipeline, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<TaskId>,
    /// Sequence of the routed message in the TASKS stream.
    pub task_seq: u64,
    /// Size of the conversation, bytes.
    pub prompt_bytes: u64,
    /// Which classifier decided.
    pub classifier: String,
    /// The decision.
    pub decision: Decision,
}
