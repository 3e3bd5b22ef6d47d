//! Work: one routable unit made from a task (the task itself, or one step of its pipeline), and the
//! messages between the classifier and the workers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::Encoding;
use crate::decision::{Decision, Sensitivity};
use crate::names::{AgentName, LaneName, ModelName, TaskId};
use crate::outcome::Usage;
use crate::task::{Generation, Message, Metadata, Priority, Step};

/// What the classifier routes and a worker runs. Self-contained: a worker needs no agent registry, and
/// the cloud zone sees nothing of the task but this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The task, unique per agent.
    pub task_id: TaskId,
    /// Who published it.
    pub agent: AgentName,
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
    /// Carried through to the result.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// What earlier hops have used.
    pub spent: Spent,
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

/// What the classifier publishes on a lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneMessage {
    /// What to run.
    pub work: Work,
    /// Where, and why there.
    pub decision: Decision,
}

/// What a worker publishes to hand a task back to the classifier: only the classifier picks lanes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reroute {
    /// The work, with `hop` raised and `spent` brought up to date.
    pub work: Work,
    /// The lane it comes from.
    pub lane: LaneName,
    /// Why it comes back.
    pub cause: RerouteCause,
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
}

/// Checks that a template names only `input` and the texts of earlier steps.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn check_template(template: &str, earlier: &[Step]) -> Result<(), String> {
    placeholders(template).try_for_each(|placeholder| match placeholder {
        Placeholder::Text(_) | Placeholder::Input => Ok(()),
        Placeholder::StepText(name) if earlier.iter().any(|step| step.name.as_str() == name) => Ok(()),
        Placeholder::StepText(name) => Err(format!("`{name}` is not an earlier step of this pipeline")),
        Placeholder::Unknown(text) => {
            Err(format!("`{{{{{text}}}}}` is unknown: expected `{{{{input}}}}` or `{{{{steps.NAME.text}}}}`"))
        }
    })
}

/// Fills a checked template. Text that came from a model is inserted as it is and never read as a template.
pub fn render_template(template: &str, input: &str, text_of: impl Fn(&str) -> Option<String>) -> String {
    placeholders(template)
        .map(|placeholder| match placeholder {
            Placeholder::Text(text) => text.to_owned(),
            Placeholder::Input => input.to_owned(),
            Placeholder::StepText(name) => text_of(name).unwrap_or_default(),
            Placeholder::Unknown(_) => String::new(),
        })
        .collect()
}

enum Placeholder<'a> {
    Text(&'a str),
    Input,
    StepText(&'a str),
    Unknown(&'a str),
}

fn placeholders(template: &str) -> impl Iterator<Item = Placeholder<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(inner) = rest.strip_prefix("{{") else {
            let end = rest.find("{{").unwrap_or(rest.len());
            let (text, tail) = rest.split_at(end);
            rest = tail;
            return Some(Placeholder::Text(text));
        };
        let Some((name, tail)) = inner.split_once("}}") else {
            return Some(Placeholder::Unknown(std::mem::take(&mut rest)));
        };
        rest = tail;
        Some(placeholder(name.trim()))
    })
}

fn placeholder(name: &str) -> Placeholder<'_> {
    if name == "input" {
        return Placeholder::Input;
    }
    match name.strip_prefix("steps.").and_then(|tail| tail.strip_suffix(".text")) {
        Some(step) => Placeholder::StepText(step),
        None => Placeholder::Unknown(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str) -> Step {
        serde_json::from_value(serde_json::json!({"name": name, "prompt": "x"})).unwrap()
    }

    #[test]
    fn a_template_takes_the_input_and_earlier_steps() {
        let text = render_template("Format {{ steps.a.text }} for {{input}}!", "me", |name| {
            (name == "a").then(|| "{{input}}".to_owned())
        });
        assert_eq!(text, "Format {{input}} for me!", "a model's text is never read as a template");
    }

    #[test]
    fn a_template_is_refused_where_it_names_what_is_not_there() {
        let earlier = [step("a")];
        assert!(check_template("{{input}} {{steps.a.text}} {single}", &earlier).is_ok());
        assert!(check_template("{{steps.b.text}}", &earlier).unwrap_err().contains("not an earlier step"));
        assert!(check_template("{{inptu}}", &earlier).unwrap_err().contains("expected `{{input}}`"));
        assert!(check_template("{{input", &earlier).is_err());
    }
}
