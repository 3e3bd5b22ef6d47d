//! The task as a producer publishes it, and the checks that need no registry.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decision::Sensitivity;
use crate::generation::Generation;
use crate::limits::{InvalidTask, TaskLimits, check_count, encoded_bytes};
use crate::names::{AgentName, ModelName, TaskId};
use crate::template;
use crate::validator::{self, Validator};

/// Free-form data that is carried through to the result untouched.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// One piece of LLM work. Unknown fields are an error, except inside `metadata`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Unique per agent. Absent: the `Nats-Msg-Id` header, else the stream sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<TaskId>,
    /// The request as one text; the `{{input}}` of a pipeline. Exactly one of `prompt` and `messages` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The request as a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Message>>,
    /// Absent: the agent's default, else `policy.untagged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// Labels; the policy names those that force `private`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The producer's own score, 0 to 1; wins over the learned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complexity: Option<f64>,
    /// Pins a registry model, within the zone that sensitivity allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Most tokens to generate. Absent: `policy.default_max_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature, 0 to 2; 0 is greedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus sampling: probability mass, 0 (exclusive) to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Seed of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// Texts at which generation ends; they are not part of the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// JSON Schema that the answer must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<serde_json::Value>,
    /// Which tasks of the same lane go first.
    #[serde(default)]
    pub priority: Priority,
    /// Past it the task ends as `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// Before it the task is not put on a lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Deadline>,
    /// Dollars that all attempts together may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<f64>,
    /// Also publish partial text while it is generated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// What the answer must satisfy. One that fails goes one lane up, once, where the screen allows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<Validator>,
    /// A pipeline: steps that run one after another, each routed on its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Carried through to the result.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who speaks in a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// The producer.
    User,
    /// An earlier answer.
    Assistant,
}

/// Which tasks of one lane are served first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Served when nothing else waits, and now and then all the same.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Served first.
    High,
}

impl Priority {
    /// All priorities, first served first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The subject token and consumer suffix.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// A point in time of a task: an RFC 3339 time, or seconds from publish.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "an RFC 3339 time such as \"2026-01-31T12:00:00Z\", or seconds from publish")]
pub enum Deadline {
    /// Seconds from publish.
    After(f64),
    /// A point in time.
    At(Timestamp),
}

impl Deadline {
    /// The point in time for a task published at `published_at`. A length that no calendar holds is clamped.
    pub fn resolve(self, published_at: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::After(seconds) => SignedDuration::try_from_secs_f64(seconds)
                .ok()
                .and_then(|length| published_at.checked_add(length).ok())
                .unwrap_or(if seconds > 0.0 { Timestamp::MAX } else { Timestamp::MIN }),
        }
    }
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How later steps refer to this one: `{{steps.NAME.text}}`.
    pub name: TaskId,
    /// Prompt template; may use `{{input}}` and `{{steps.NAME.text}}` of earlier steps.
    pub prompt: String,
    /// Takes that agent's defaults (model, sensitivity, system prompt). Absent: the task's agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// May only raise what earlier steps and the task say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// The producer's own score of this step, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complexity: Option<f64>,
    /// Pins a registry model, within the zone that sensitivity allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// How to generate; settings left out are the task's.
    #[serde(default)]
    pub settings: Generation,
    /// What the step's answer must satisfy; those of the task hold for its last step only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<Validator>,
}

impl Task {
    /// The generation settings of the task itself.
    pub fn generation(&self) -> Generation {
        Generation {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed,
            stop: self.stop.clone(),
            json_schema: self.json_schema.clone(),
        }
    }

    /// Checks everything that needs no registry.
    ///
    /// # Errors
    /// [`InvalidTask`] with the first field at fault.
    pub fn check(&self, limits: &TaskLimits) -> Result<(), InvalidTask> {
        self.check_request(limits)?;
        self.check_numbers()?;
        self.check_tags(limits)?;
        self.generation().check("", limits)?;
        validator::check("validate", &self.validate, limits)?;
        self.check_metadata(limits)?;
        self.check_steps(limits)
    }

    fn check_request(&self, limits: &TaskLimits) -> Result<(), InvalidTask> {
        match (&self.prompt, &self.messages) {
            (Some(_), Some(_)) => {
                Err(InvalidTask::new("messages", "expected either `prompt` or `messages`, not both"))
            }
            (None, None) => Err(InvalidTask::new("prompt", "expected `prompt` or `messages`, found neither")),
            (Some(prompt), None) => check_text("prompt", prompt),
            (None, Some(messages)) => check_messages(messages, limits),
        }
    }

    fn check_numbers(&self) -> Result<(), InvalidTask> {
        check_fraction("complexity", self.complexity)?;
        if self.max_cost_usd.is_some_and(|usd| !(usd.is_finite() && usd >= 0.0)) {
            return Err(InvalidTask::new("max_cost_usd", "expected dollars, 0 or more"));
        }
        // How far ahead it may be is checked at the intake, where it is known when the task was published.
        match self.deadline {
            Some(Deadline::After(seconds)) if !(seconds.is_finite() && seconds > 0.0) => {
                Err(InvalidTask::new("deadline", "expected more than 0 seconds from publish"))
            }
            _ => Ok(()),
        }?;
        match self.not_before {
            Some(Deadline::After(seconds)) if !(seconds.is_finite() && seconds >= 0.0) => {
                Err(InvalidTask::new("not_before", "expected 0 or more seconds from publish"))
            }
            _ => Ok(()),
        }
    }

    fn check_tags(&self, limits: &TaskLimits) -> Result<(), InvalidTask> {
        check_count("tags", self.tags.len(), limits.max_tags, "limits.max_tags")?;
        for (index, tag) in self.tags.iter().enumerate() {
            if tag.trim().is_empty() || tag.len() > limits.max_tag_bytes {
                let expected = format!("expected 1 to {} bytes (limits.max_tag_bytes)", limits.max_tag_bytes);
                return Err(InvalidTask::new(format!("tags[{index}]"), expected));
            }
        }
        Ok(())
    }

    fn check_metadata(&self, limits: &TaskLimits) -> Result<(), InvalidTask> {
        let bytes = encoded_bytes(&self.metadata);
        check_count("metadata", bytes, limits.max_metadata_bytes, "bytes, limits.max_metadata_bytes")
    }

    fn check_steps(&self, limits: &TaskLimits) -> Result<(), InvalidTask> {
        check_count("steps", self.steps.len(), limits.max_steps, "limits.max_steps")?;
        for (index, step) in self.steps.iter().enumerate() {
            let path = format!("steps[{index}].");
            check_text(&format!("{path}prompt"), &step.prompt)?;
            check_fraction(&format!("{path}complexity"), step.complexity)?;
            step.settings.check(&format!("{path}settings."), limits)?;
            validator::check(&format!("{path}validate"), &step.validate, limits)?;
            let earlier = &self.steps[..index];
            if earlier.iter().any(|other| other.name == step.name) {
                let expected = format!("step `{}` appears twice; each needs its own name", step.name);
                return Err(InvalidTask::new(format!("{path}name"), expected));
            }
            let names: Vec<&str> = earlier.iter().map(|step| step.name.as_str()).collect();
            template::check(&step.prompt, &names)
                .map_err(|expected| InvalidTask::new(format!("{path}prompt"), expected))?;
        }
        if !self.steps.is_empty() && self.prompt.is_none() {
            return Err(InvalidTask::new("prompt", "a pipeline takes its input from `prompt`"));
        }
        Ok(())
    }
}

fn check_text(field: &str, text: &str) -> Result<(), InvalidTask> {
    if text.trim().is_empty() {
        return Err(InvalidTask::new(field, "expected some text, found none"));
    }
    Ok(())
}

fn check_messages(messages: &[Message], limits: &TaskLimits) -> Result<(), InvalidTask> {
    check_count("messages", messages.len(), limits.max_messages, "limits.max_messages")?;
    for (index, message) in messages.iter().enumerate() {
        check_text(&format!("messages[{index}].content"), &message.content)?;
        if message.role == Role::System && index > 0 {
            let expected = "a `system` message may only come first";
            return Err(InvalidTask::new(format!("messages[{index}].role"), expected));
        }
    }
    match messages.last() {
        Some(last) if last.role == Role::User => Ok(()),
        _ => Err(InvalidTask::new("messages", "expected a list whose last message has the role `user`")),
    }
}

fn check_fraction(field: &str, value: Option<f64>) -> Result<(), InvalidTask> {
    match value {
        Some(value) if !(0.0..=1.0).contains(&value) => {
            Err(InvalidTask::new(field, "expected a number from 0 to 1"))
        }
        _ => Ok(()),
    }
}
