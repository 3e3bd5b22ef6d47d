//! What is kept of a task that was put on a lane, to learn from once its outcome is known.

use serde::{Deserialize, Serialize};
use trilane_protocol::decision::Sensitivity;
use trilane_protocol::validator::Validator;
use trilane_protocol::{AgentName, Generation, Message, TaskId, Work};

use crate::features::{self, Features};

/// Most bytes of text that an example keeps; what a longer public task leaves is its features, as of a private one.
pub const MAX_TEXT_BYTES: usize = 128 * 1024;

/// One task to learn from. Of a private one nothing is kept but counts: hashes of its words could be looked up in a
/// dictionary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The task.
    pub task_id: TaskId,
    /// Its agent.
    pub agent: AgentName,
    /// Its sequence in the stream TASKS.
    pub task_seq: u64,
    /// What is kept of what it said.
    pub content: Content,
}

/// What is kept of what a task said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    /// All of it: a public task.
    Text(Text),
    /// Counts, and no words: a private task, or one too long.
    Features(Box<Features>),
}

/// What a public task said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The conversation as the model got it.
    pub messages: Vec<Message>,
    /// How to generate.
    pub generation: Generation,
    /// What the producer demands of the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<Validator>,
}

impl Example {
    /// What may be kept of `work`, which the screen has found to be of this sensitivity.
    pub fn of(work: &Work, sensitivity: Sensitivity) -> Self {
        let bytes: usize = work.messages.iter().map(|message| message.content.len()).sum();
        let content = if sensitivity == Sensitivity::Public && bytes <= MAX_TEXT_BYTES {
            Content::Text(Text {
                messages: work.messages.clone(),
                generation: work.generation.clone(),
                validate: work.validate.clone(),
            })
        } else {
            Content::Features(Box::new(features::extract(&work.messages, &work.generation).without_words()))
        };
        Self { task_id: work.task_id.clone(), agent: work.agent.clone(), task_seq: work.task_seq, content }
    }

    /// What a learner sees of the task.
    pub fn features(&self) -> Features {
        match &self.content {
            Content::Text(text) => features::extract(&text.messages, &text.generation),
            Content::Features(features) => (**features).clone(),
        }
    }
}
