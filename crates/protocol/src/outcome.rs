//! What comes back: the result, partial text while it is generated, and dead letters.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::DecodeError;
use crate::decision::Decision;
use crate::learning::{EarlierAnswer, Signs};
use crate::names::{AgentName, LaneName, ModelName, TaskId};
use crate::task::Metadata;
use crate::work::Work;

/// What became of a task. Exactly one exists for every acknowledged task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResult {
    /// The task.
    pub task_id: TaskId,
    /// Its agent.
    pub agent: AgentName,
    /// Sequence of the task in the TASKS stream: tells two tasks of the same id apart. Absent where nobody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_seq: Option<u64>,
    /// How it ended.
    pub status: Status,
    /// The answer; present exactly when `status` is `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why the answer ended; present with `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// What went wrong; present exactly when `text` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// The lane it ended on, if it got that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<LaneName>,
    /// The model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// What the worker saw of its answer; present with `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs: Option<Signs>,
    /// The answer before this one that was not good enough, if there was one. What it cost is part of `usage` and `cost_usd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Box<EarlierAnswer>>,
    /// Tokens, all attempts together.
    pub usage: Usage,
    /// Dollars, all attempts together.
    pub cost_usd: f64,
    /// Where the time went.
    pub timing_ms: Timing,
    /// Deliveries to workers, all lanes together.
    pub attempts: u32,
    /// The last decision, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The task's metadata.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// When the result was made.
    pub finished_at: Timestamp,
}

impl TaskResult {
    /// A result without an answer, of a task that no worker has run: nothing used, no decision.
    pub fn without_answer(
        agent: AgentName,
        task_id: TaskId,
        task_seq: Option<u64>,
        status: Status,
        error: TaskError,
        finished_at: Timestamp,
    ) -> Self {
        Self {
            task_id,
            agent,
            task_seq,
            status,
            text: None,
            finish: None,
            error: Some(error),
            lane: None,
            model: None,
            signs: None,
            earlier: None,
            usage: Usage::default(),
            cost_usd: 0.0,
            timing_ms: Timing::default(),
            attempts: 0,
            decision: None,
            metadata: Metadata::new(),
            finished_at,
        }
    }

    /// This result, or, where it has no answer and `work` was to be improved, the answer that was not good enough.
    #[must_use]
    pub fn or_earlier(self, work: &Work) -> Self {
        match work.standing(self.status) {
            Some(earlier) => self.of_earlier(earlier),
            None => self,
        }
    }

    /// `earlier` as the task's answer. What all attempts have used stays.
    #[must_use]
    pub fn of_earlier(self, earlier: &EarlierAnswer) -> Self {
        Self {
            status: Status::Done,
            text: earlier.text.clone(),
            finish: earlier.finish,
            error: None,
            lane: Some(earlier.lane.clone()),
            model: Some(earlier.model.clone()),
            signs: Some(earlier.signs.clone()),
            earlier: None,
            ..self
        }
    }

    /// Whether this is the result of the task of its id with this sequence. Cancelled is a task by its id alone.
    pub fn is_of(&self, task_seq: Option<u64>) -> bool {
        self.status == Status::Cancelled || self.task_seq == task_seq
    }

    /// What is reported where the result itself is larger than the server takes.
    #[must_use]
    pub fn too_large(&self, bytes: usize, most: usize) -> Self {
        let message =
            format!("the result has {bytes} bytes, the server takes {most}; ask for fewer `max_tokens`");
        Self {
            status: Status::Failed,
            text: None,
            finish: None,
            signs: None,
            error: Some(TaskError::new("result_too_large", message)),
            ..self.clone()
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Answered.
    Done,
    /// Tried as often as allowed, without an answer.
    Failed,
    /// Its deadline passed.
    Expired,
    /// Its producer no longer wanted it.
    Cancelled,
    /// Malformed, or nothing may serve it.
    Rejected,
}

impl Status {
    /// The word on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done, or met a stop sequence.
    Stop,
    /// `max_tokens` was reached: the answer is cut short.
    Length,
}

/// What went wrong: a stable code for programs, a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{code}: {message}")]
pub struct TaskError {
    /// Stable, snake case, such as `invalid_task` or `prompt_too_long`.
    pub code: String,
    /// One sentence that says what to do.
    pub message: String,
}

impl TaskError {
    /// An error with a stable code and a sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl From<DecodeError> for TaskError {
    fn from(error: DecodeError) -> Self {
        Self::new("invalid_task", error.to_string())
    }
}

/// Tokens used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the prompt, those read from a cache included.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Tokens of the prompt that a cache served.
    pub cached_tokens: u64,
}

impl Usage {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
        }
    }
}

/// Where the time went, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// From publish to the decision.
    pub queued: u64,
    /// From the decision to the start of the last attempt.
    pub waited: u64,
    /// From that start to the first token, where the backend tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token: Option<u64>,
    /// From that start to the end.
    pub run: u64,
}

/// A piece of an answer, published on core NATS while it is generated. Nothing is kept of it: the result
/// holds the whole text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// The task.
    pub task_id: TaskId,
    /// Which attempt writes; a larger one starts the text anew.
    pub attempt: u32,
    /// Position of this piece, from 0.
    pub index: u32,
    /// Whole UTF-8 characters.
    pub text: String,
}

/// A message that ended without an answer, kept for the operator with its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// The task, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Its agent, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Where it died: a lane, or `intake`.
    pub place: String,
    /// Why.
    pub error: TaskError,
    /// Deliveries until then.
    pub deliveries: u64,
    /// Stream and sequence of the source message.
    pub source: SourceRef,
    /// When it died.
    pub died_at: Timestamp,
    /// Size of the message as it came, bytes.
    pub payload_bytes: u64,
    /// The message as it came; empty where the letter would be larger than the server takes.
    #[serde(with = "payload_as_text_or_bytes")]
    pub payload: Vec<u8>,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRef {
    /// The stream.
    pub stream: String,
    /// The subject.
    pub subject: String,
    /// The sequence in the stream.
    pub sequence: u64,
}

/// Payloads are written as text where they are UTF-8 (JSON stays readable), as a list of bytes otherwise.
mod payload_as_text_or_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Payload {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(payload: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(payload) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(payload),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Payload::deserialize(deserializer)? {
            Payload::Text(text) => text.into_bytes(),
            Payload::Bytes(bytes) => bytes,
        })
    }
}
