//! Pipelines: what is kept of a task with steps while they run, and the work of each step.
//!
//! The record stays in the core of the fleet. A lane message holds one rendered step and nothing of the
//! others, so that a private step is never shown to the cloud worker of a public one.

use serde::{Deserialize, Serialize};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::task::Step;
use trilane_protocol::template;
use trilane_protocol::validator::Validator;
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

    /// Takes the answer of a step. A repeated delivery changes nothing, and what was private taints all that
    /// follows.
    pub fn finish_step(&mut self, done: &Work, text: String) {
        self.is_tainted |= done.sensitivity == Some(Sensitivity::Private);
        let index = done.step.as_ref().map_or(0, |step| step.index);
        if usize::from(index) == self.outputs.len() {
            self.outputs.push(text);
        }
    }

    /// Whether the step after the one of `work` has been answered: then nothing that comes back of `work` matters any
    /// more. The answer right before the next step may still be needed, to put that on a lane once more.
    pub fn is_past(&self, work: &Work) -> bool {
        work.step.as_ref().is_some_and(|step| usize::from(step.index) + 1 < self.outputs.len())
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
        let own = agent_entry(&self.base.agent, registry, policy)?;
        let agent = match &step.agent {
            Some(name) => agent_entry(name, registry, policy)?,
            None => own,
        };
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
            validate: self.validators(index),
            sensitivity: self.sensitivity(step, agent, own, policy),
            complexity: step.complexity.or(self.task.complexity),
            model: pinned_model(named, agent, registry)?,
            ..self.base.clone()
        };
        Ok((work, agent))
    }

    /// What the answer of a step must satisfy: what the step says, and for the last step what the task says.
    fn validators(&self, index: usize) -> Vec<Validator> {
        let is_last = index + 1 == self.task.steps.len();
        let of_task = self.task.validate.iter().filter(|_| is_last);
        self.task.steps[index].validate.iter().chain(of_task).cloned().collect()
    }

    /// The most private of the task, the step, the step's agent and everything that went before. What the
    /// task says, or its own agent where it is silent, is the floor: a step's agent can only raise it.
    fn sensitivity(&self, step: &Step, agent: &Agent, own: &Agent, policy: &Policy) -> Option<Sensitivity> {
        let task = self.task.sensitivity.or(own.sensitivity).unwrap_or(policy.untagged);
        let taint = if self.is_tainted { Sensitivity::Private } else { Sensitivity::Public };
        let raised = [step.sensitivity, step.agent.as_ref().and(agent.sensitivity)];
        raised.into_iter().flatten().chain([task, taint]).max()
    }
}

/// The key of a pipeline's record.
pub fn key(agent: &trilane_protocol::AgentName, task_id: &TaskId) -> String {
    format!("{agent}.{task_id}")
}

#[cfg(test)]
mod tests {
    use trilane_protocol::Encoding;

    use super::*;
    use crate::intake::{Origin, intake};

    #[test]
    fn a_step_is_past_once_the_one_after_it_is_answered() {
        let task: Task = serde_json::from_value(serde_json::json!({
            "prompt": "x",
            "steps": [{"name": "a", "prompt": "x"}, {"name": "b", "prompt": "x"}, {"name": "c", "prompt": "x"}],
        }))
        .unwrap();
        let config = toml::from_str::<toml::Table>(include_str!("../../../config/trilane.toml")).unwrap();
        let part = |name: &str| config[name].clone();
        let registry = toml::Table::from_iter(
            ["lanes", "models", "providers", "agents"].map(|name| (name.to_owned(), part(name))),
        );
        let registry =
            toml::Value::Table(registry).try_into::<crate::raw::RawRegistry>().unwrap().check().unwrap();
        let (policy, limits) = (part("policy").try_into().unwrap(), part("limits").try_into().unwrap());
        let origin = Origin {
            agent: "sample".parse().unwrap(),
            sequence: 1,
            message_id: None,
            published_at: jiff::Timestamp::UNIX_EPOCH,
            encoding: Encoding::Json,
        };
        let base = intake(&task, &origin, &registry, &policy, &limits).unwrap();
        let mut pipeline = Pipeline::new(task, base);
        let mut works = Vec::new();
        let mut past = Vec::new();
        for _ in 0..3 {
            let (work, _) = pipeline.next_work(0, Spent::default(), &registry, &policy).unwrap();
            pipeline.finish_step(&work, "said".into());
            works.push(work);
            past.push(works.iter().map(|work| pipeline.is_past(work)).collect::<Vec<_>>());
        }
        assert_eq!(past, [vec![false], vec![true, false], vec![true, true, false]]);
    }
}
