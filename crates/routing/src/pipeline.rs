//! Pipelines: what is kept of a task with steps while they run, and the work of each step.
//!
//! The record stays in the core of the fleet. A lane message holds one rendered step and nothing of the
//! others, so that a private step is never shown to the cloud worker of a public one.

use serde::{Deserialize, Serialize};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::template;
use trilane_protocol::work::{Spent, StepRef};
use trilane_protocol::{Sensitivity, Task, TaskId, Work};

use crate::intake::{agent_entry, pinned_model, user_message, with_system_prompt};
use crate::policy::Policy;
use crate::registry::{Agent, Registry};

/// A pipeline under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The task as it was published.
    pub task: Task,
    /// What the intake made of it; each step's work starts from this.
    pub base: Work,
    /// The answers so far, in order.
    pub outputs: Vec<String>,
    /// Whether anything so far was private. Once true, every later step is.
    pub is_tainted: bool,
}

impl Pipeline {
    /// A pipeline before its first step.
    pub fn new(task: Task, base: Work) -> Self {
        Self { task, base, outputs: Vec::new(), is_tainted: false }
    }

    /// Takes the answer of step `index`. A repeated delivery changes nothing.
    pub fn finish_step(&mut self, index: u16, text: String) {
        if usize::from(index) == self.outputs.len() {
            self.outputs.push(text);
        }
    }

    /// The work of the next step and its agent's entry.
    ///
    /// # Errors
    /// [`TaskError`] where the step's agent or model is unknown, or no step is left.
    pub fn next_work<'a>(
        &self,
        hop: u16,
        spent: Spent,
        registry: &'a Registry,
        policy: &Policy,
    ) -> Result<(Work, &'a Agent), TaskError> {
        let index = self.outputs.len();
        let step = self.task.steps.get(index).ok_or_else(|| {
            TaskError::new("pipeline_over", "this pipeline has no step left; its result is on its way")
        })?;
        let agent = agent_entry(step.agent.as_ref().unwrap_or(&self.base.agent), registry, policy)?;
        let named = step.model.as_ref().or(self.task.model.as_ref().filter(|_| step.agent.is_none()));
        let prompt =
            template::render(&step.prompt, self.task.prompt.as_deref().unwrap_or_default(), |name| {
                let position = self.task.steps.iter().position(|other| other.name.as_str() == name)?;
                self.outputs.get(position).cloned()
            });
        let work = Work {
            hop,
            spent,
            step: Some(StepRef {
                index: index as u16,
                count: self.task.steps.len() as u16,
                name: step.name.clone(),
            }),
            messages: with_system_prompt(agent, vec![user_message(prompt)]),
            generation: step.settings.clone().or(&self.task.generation()),
            sensitivity: self.sensitivity(step.sensitivity, agent, policy),
            complexity: step.complexity.or(self.task.complexity),
            model: pinned_model(named, agent, registry)?,
            ..self.base.clone()
        };
        Ok((work, agent))
    }

    /// The most private of the step, the task, their agents and everything that went before.
    fn sensitivity(&self, step: Option<Sensitivity>, agent: &Agent, policy: &Policy) -> Option<Sensitivity> {
        let task = self.task.sensitivity.or(agent.sensitivity).unwrap_or(policy.untagged);
        let taint = if self.is_tainted { Sensitivity::Private } else { Sensitivity::Public };
        Some(task.max(taint).max(step.unwrap_or(Sensitivity::Public)))
    }
}

/// The key of a pipeline's record.
pub fn key(agent: &trilane_protocol::AgentName, task_id: &TaskId) -> String {
    format!("{agent}.{task_id}")
}
