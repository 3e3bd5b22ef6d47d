//! What the router learns from: the worker's own signs, feedback, shadows, and the outcome that is made of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::Zone;
use crate::generation::Generation;
use crate::names::{AgentName, LaneName, ModelName, TaskId};
use crate::outcome::{Finish, Usage};
use crate::task::Message;
use crate::validator::{Validator, ValidatorKind};

/// The agent under which the learner asks a model to judge.
pub const JUDGE: &str = "judge";

/// What a worker saw of its own answer. Holds no text of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signs {
    /// Whether the answer was cut short at `max_tokens`.
    pub truncated: bool,
    /// Whether the model refused to answer, by its provider's word or by how the answer begins.
    pub refused: bool,
    /// Share of the answer, 0 to 1, that says again what it has said before.
    pub repetition: f64,
    /// Mean natural logarithm of the probability of each token, 0 or less, where the backend tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_logprob: Option<f64>,
    /// How many of the task's validators the answer satisfies.
    pub passed: u32,
    /// Those it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<ValidatorKind>,
}

/// An earlier answer of a task that went one lane up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierAnswer {
    /// The lane that gave it.
    pub lane: LaneName,
    /// The model that gave it.
    pub model: ModelName,
    /// Tokens of this answer.
    pub usage: Usage,
    /// Dollars of this answer.
    pub cost_usd: f64,
    /// What its worker saw.
    pub signs: Signs,
    /// Why it was not good enough, as a sentence without its text.
    pub reason: String,
    /// Probability with which its lane had been chosen.
    pub propensity: f64,
    /// Version of the policy that had chosen.
    pub policy_version: String,
    /// The answer itself while there is none after it; never part of a result's `earlier`. Without it nothing can stand
    /// where the next attempt fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why the answer ended; present with `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
}

impl EarlierAnswer {
    /// What is told of it, and goes where the answer itself must not.
    #[must_use]
    pub fn without_text(mut self) -> Self {
        (self.text, self.finish) = (None, None);
        self
    }
}

/// A verdict on a result, published on `feedback.<agent>.<task id>`: `{"verdict": "accept"}`, `{"verdict": "reject"}` or
/// `{"quality": 0.8}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feedback {
    /// A word.
    Verdict(Verdict),
    /// A number, 0 (useless) to 1 (as good as can be).
    Quality(f64),
}

/// A verdict in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer was used as it is.
    Accept,
    /// It was not.
    Reject,
}

impl Feedback {
    /// The quality, 0 to 1; none where the number is not one of those.
    pub fn quality(self) -> Option<f64> {
        match self {
            Self::Verdict(Verdict::Accept) => Some(1.0),
            Self::Verdict(Verdict::Reject) => Some(0.0),
            Self::Quality(quality) => (0.0..=1.0).contains(&quality).then_some(quality),
        }
    }
}

/// A finished public cloud task that is to be run once more on a local lane, on `shadow.<agent>`. A classifier screens it
/// again before it puts it there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowRequest {
    /// The task.
    pub task_id: TaskId,
    /// Its agent.
    pub agent: AgentName,
    /// Its sequence in the stream TASKS.
    pub task_seq: u64,
    /// The local lane that is to try.
    pub lane: LaneName,
    /// The conversation as the cloud model got it.
    pub messages: Vec<Message>,
    /// How to generate.
    pub generation: Generation,
    /// What the producer demands of the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<Validator>,
}

/// What a local lane would have answered, on `shadowed.<agent>.<task id>`. Never a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowAnswer {
    /// The task.
    pub task_id: TaskId,
    /// Its agent.
    pub agent: AgentName,
    /// Its sequence in the stream TASKS.
    pub task_seq: u64,
    /// The lane that tried.
    pub lane: LaneName,
    /// Its model.
    pub model: ModelName,
    /// The answer.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens.
    pub usage: Usage,
    /// What the worker saw.
    pub signs: Signs,
    /// When it was done.
    pub finished_at: Timestamp,
}

/// How good one lane's answer to one task was, as the learner has taken it, on `outcome.<agent>.<task id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The task.
    pub task_id: TaskId,
    /// Its agent.
    pub agent: AgentName,
    /// Its sequence in the stream TASKS.
    pub task_seq: u64,
    /// The lane that answered.
    pub lane: LaneName,
    /// Its zone.
    pub zone: Zone,
    /// The model that answered.
    pub model: ModelName,
    /// How good the answer was, 0 to 1.
    pub quality: f64,
    /// Who says so.
    pub source: OutcomeSource,
    /// Dollars of this answer.
    pub cost_usd: f64,
    /// Probability with which the lane was chosen; 1 for a shadow.
    pub propensity: f64,
    /// Chance that the policy in force gave this lane.
    pub chance: f64,
    /// Version of that policy.
    pub policy_version: String,
    /// When it was taken.
    pub at: Timestamp,
}

/// Who says how good an answer was. The later in this list, the weightier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeSource {
    /// The worker's own signs: truncated, refused, repeating itself.
    Signs,
    /// A judge that held a shadow against the cloud's answer.
    Shadow,
    /// The task's validators.
    Validators,
    /// Feedback on the result.
    Feedback,
}

impl OutcomeSource {
    /// The word on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signs => "signs",
            Self::Shadow => "shadow",
            Self::Validators => "validators",
            Self::Feedback => "feedback",
        }
    }
}
