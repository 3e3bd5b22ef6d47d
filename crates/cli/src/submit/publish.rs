//! One task on its way into the queue: under a random message id, and with patience where the intake is full.

use std::time::Duration;

use trilane_broker::Broker;
use trilane_broker::publish::PublishError;
use trilane_protocol::{AgentName, Encoding, Task, TaskId};

use crate::output;
use crate::wait::Key;

/// Delay before a full intake is tried again, at first; doubled each time.
const FULL_DELAY: Duration = Duration::from_millis(250);

/// Longest such delay.
const MAX_FULL_DELAY: Duration = Duration::from_secs(10);

/// Times that a full intake is tried: about ten minutes.
const MAX_TRIES: u32 = 64;

/// A task that is to be published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Submission {
    /// Who publishes it.
    pub(crate) agent: AgentName,
    /// The task.
    pub(crate) task: Task,
    /// How it is written, and so its result.
    encoding: Encoding,
    /// Under which the server stores it once only, and its id where it has none.
    message_id: TaskId,
}

impl Submission {
    /// A submission with a message id of its own.
    pub(crate) fn new(agent: AgentName, task: Task) -> Self {
        Self { agent, task, encoding: Encoding::Json, message_id: random_id() }
    }

    /// A task that stands for one that is known, under an id that tells so.
    pub(crate) fn again(agent: AgentName, task: Task, encoding: Encoding, id: TaskId) -> Self {
        Self { agent, task, encoding, message_id: id }
    }

    /// The task's id: its own, else the message id.
    pub(crate) fn id(&self) -> TaskId {
        self.task.id.clone().unwrap_or_else(|| self.message_id.clone())
    }

    /// What its result is found by.
    pub(crate) fn key(&self) -> Key {
        (self.agent.clone(), self.id())
    }
}

/// 128 random bits: nobody ever has to ask whether an id is taken.
fn random_id() -> TaskId {
    let text = format!("{:032x}", rand::random::<u128>());
    TaskId::new(text).expect("32 hex digits are a task id")
}

/// Publishes a task. A full intake is backpressure: it is waited out, and that is said.
pub(crate) async fn publish(broker: &Broker, submission: &Submission) -> anyhow::Result<()> {
    for tries in 0..MAX_TRIES {
        let Submission { agent, task, encoding, message_id } = submission;
        match broker.submit(agent, task, *encoding, Some(message_id.as_str())).await {
            Err(PublishError::Full { .. }) => {
                let delay = full_delay(tries);
                eprintln!("the intake is full; trying again in {}", output::length(delay));
                tokio::time::sleep(delay).await;
            }
            outcome => return Ok(outcome.map(drop)?),
        }
    }
    anyhow::bail!("the intake stayed full; start more workers, or raise streams.intake_max_messages")
}

fn full_delay(tries: u32) -> Duration {
    FULL_DELAY.saturating_mul(2_u32.saturating_pow(tries)).min(MAX_FULL_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_keeps_its_own_id_and_gets_a_random_one_otherwise() {
        let agent = AgentName::new("a").unwrap();
        let without = Submission::new(agent.clone(), Task::default());
        assert_eq!(without.id(), without.message_id);
        assert_ne!(without.id(), Submission::new(agent.clone(), Task::default()).id());
        let own = Task { id: Some(TaskId::new("mine").unwrap()), ..Task::default() };
        assert_eq!(Submission::new(agent, own).id().as_str(), "mine");
    }

    #[test]
    fn patience_with_a_full_intake_grows_to_a_bound() {
        assert_eq!(full_delay(0), FULL_DELAY);
        assert_eq!(full_delay(2), FULL_DELAY * 4);
        assert_eq!(full_delay(MAX_TRIES), MAX_FULL_DELAY);
    }
}
