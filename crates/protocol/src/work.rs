//! Work: one routable unit made from a task (the task itself, or one step of its pipeline), and the
//! messages between the classifier and the workers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::Encoding;
use crate::decision::{Decision, Sensitivity};
use crate::generation::Generation;
use crate::learning::EarlierAnswer;
use crate::names::{AgentName, LaneName, ModelName, TaskId};
use crate::outcome::{Status, TaskError, TaskResult, Usage};
use crate::task::{Message, Metadata, Priority};
use crate::validator::Validator;

/// What the classifier routes and a worker runs. Self-contained: a worker needs no agent registry, and
/// the cloud zone sees nothing of the task but this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The task, unique per agent.
    pub task_id: TaskId,
    /// Who published it.
    pub agent: AgentName,
    /// Sequence of the task in the TASKS stream: tells two tasks of the same id apart.
    pub task_seq: u64,
    /// How many lanes this task has been put on before: 0 at first, one more at each reroute.
    pub hop: u16,
    /// Which step of the pipeline this is, if the task is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepRef>,
    /// The encoding of the task, and so of its result.
    pub encoding: Encoding,
    /// When the task was stored.
    pub published_at: Timestamp,
    /// Past this the task ends as `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The conversation with the agent's system prompt, exactly as the model gets it.
    pub messages: Vec<Message>,
    /// How to generate.
    pub generation: Generation,
    /// What the task, the agent and the screen say; only ever raised.
    pub sensitivity: Option<Sensitivity>,
    /// The task's labels.
    pub tags: Vec<String>,
    /// The producer's own score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complexity: Option<f64>,
    /// The pinned model, by the task or its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Which tasks of the lane go first.
    pub priority: Priority,
    /// Dollars that all attempts together may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<f64>,
    /// Also publish partial text.
    pub stream: bool,
    /// What the answer must satisfy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<Validator>,
    /// The answer that was not good enough, where this work went one lane up for it. It goes up once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Box<EarlierAnswer>>,
    /// Whether this only measures what a local lane would have answered: it never has a result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Carried through to the result.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// What earlier hops have used.
    pub spent: Spent,
}

impl Work {
    /// The earlier answer where it is worth more than an end with `status`. The steps after one that is late have no time
    /// left, so nothing stands of it; where another step in the middle of a pipeline fails, the next goes on with this answer.
    pub fn standing(&self, status: Status) -> Option<&EarlierAnswer> {
        let stands = match status {
            Status::Failed | Status::Rejected => true,
            Status::Expired => self.is_last_step(),
            Status::Done | Status::Cancelled => false,
        };
        self.earlier.as_deref().filter(|earlier| stands && earlier.text.is_some())
    }

    /// Whether the result of this work is the result of its task.
    pub fn is_last_step(&self) -> bool {
        self.step.as_ref().is_none_or(StepRef::is_last)
    }

    /// The earlier answer as a result tells of it, without its text.
    pub fn told_earlier(&self) -> Option<Box<EarlierAnswer>> {
        self.earlier.clone().map(|earlier| Box::new(earlier.without_text()))
    }
}

/// Which step of a pipeline a [`Work`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRef {
    /// Position, from 0.
    pub index: u16,
    /// Steps in all.
    pub count: u16,
    /// The step's name.
    pub name: TaskId,
}

impl StepRef {
    /// Whether the result of this step is the result of the task.
    pub fn is_last(&self) -> bool {
        self.index + 1 >= self.count
    }
}

/// What earlier hops of a task have used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Deliveries to workers.
    pub attempts: u32,
    /// Tokens.
    pub usage: Usage,
    /// Dollars.
    pub cost_usd: f64,
}

impl Spent {
    /// This, and one more hop on top.
    pub fn plus(&self, attempts: u32, usage: Usage, cost_usd: f64) -> Self {
        Self {
            attempts: self.attempts + attempts,
            usage: self.usage.plus(usage),
            cost_usd: self.cost_usd + cost_usd,
        }
    }
}

/// Lanes that a task may be put on before it ends as `failed`.
pub const MAX_HOPS: u16 = 32;

/// What the classifier publishes on a lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneMessage {
    /// What to run.
    pub work: Work,
    /// Where, and why there.
    pub decision: Decision,
}

/// What a worker hands back to the classifier: the lane message just as it came, with its seal, and what became of it.
/// What the classifier takes from here is bound to that message, so nobody can hand back what was never on a lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// The payload of the lane message, byte for byte.
    #[serde(with = "serde_bytes")]
    pub message: Vec<u8>,
    /// Its seal, as its header says it.
    pub seal: String,
    /// The lane it comes from.
    pub lane: LaneName,
    /// Which delivery this was, from 1.
    pub deliveries: u32,
    /// What became of it.
    pub ending: Ending,
}

/// What became of a lane message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Another lane is to take the task, or its next step is due: only the classifier picks lanes.
    Reroute {
        /// What the task has used until now.
        spent: Spent,
        /// Why it comes back.
        cause: RerouteCause,
    },
    /// It has ended. From the cloud zone, whose workers write no results themselves.
    Ended {
        /// The result.
        result: Box<TaskResult>,
        /// Whether the operator is to get a dead letter too.
        is_dead: bool,
    },
    /// It does not read, or its seal does not hold, and so it was not run.
    Refused {
        /// Why.
        error: TaskError,
    },
}

/// Why a task comes back to the classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerouteCause {
    /// A step of a pipeline is done; the next one is to be routed.
    StepDone {
        /// The step's answer.
        text: String,
    },
    /// The lane cannot serve the task; a local lane is to take it.
    Degrade {
        /// What the worker met, as a sentence.
        reason: String,
    },
    /// The answer was not good enough, or the prompt did not fit; a stronger lane is to take it.
    Escalate {
        /// What the worker saw, as a sentence.
        reason: String,
    },
    /// There is an answer, and its worker takes it for not good enough. The next stronger lane that the screen and the
    /// budget allow is to try once; where there is none, the answer stands.
    Improve {
        /// The result as it would stand.
        result: Box<TaskResult>,
        /// What the worker saw, as a sentence.
        reason: String,
    },
}
