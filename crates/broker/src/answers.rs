//! What is kept of tasks and answers to learn from: examples, feedback, what shadows have answered.

use trilane_protocol::learning::{Feedback, ShadowAnswer};
use trilane_protocol::{AgentName, Encoding, TaskId, subjects};
use trilane_routing::example::Example;

use crate::connect::Broker;
use crate::publish::{Outgoing, PublishError, Stored};

/// How the parts of the fleet write to each other.
const INTERNAL: Encoding = Encoding::Msgpack;

/// Why a verdict is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// There is one; the first stands.
    #[error("there is a verdict on task `{task_id}` already; the first one stands")]
    AlreadyGiven {
        /// The task.
        task_id: TaskId,
    },
    /// It is no quality.
    #[error("expected a quality from 0 (useless) to 1 (as good as can be)")]
    NotAQuality,
    /// It could not be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Broker {
    /// Keeps what can be learned from a task.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored; nothing but learning rests on it.
    pub async fn keep_example(&self, example: &Example) -> Result<Stored, PublishError> {
        let Example { agent, task_id, task_seq, .. } = example;
        let subject = subjects::example(agent, task_id);
        let message = Outgoing {
            message_id: Some(format!("{subject}.{task_seq}")),
            ..Outgoing::new(subject, INTERNAL.encode(example), INTERNAL)
        };
        self.publish(message).await
    }

    /// Gives a verdict on the result of a task.
    ///
    /// # Errors
    /// [`FeedbackError`].
    pub async fn give_feedback(
        &self,
        agent: &AgentName,
        task_id: &TaskId,
        feedback: Feedback,
    ) -> Result<(), FeedbackError> {
        feedback.quality().ok_or(FeedbackError::NotAQuality)?;
        let message = Outgoing {
            expected_last: Some(0),
            ..Outgoing::new(
                subjects::feedback(agent, task_id),
                Encoding::Json.encode(&feedback),
                Encoding::Json,
            )
        };
        match self.publish(message).await {
            Ok(_) => Ok(()),
            Err(PublishError::NotFirst { .. }) => {
                Err(FeedbackError::AlreadyGiven { task_id: task_id.clone() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what a shadow has answered. The first answer stands, and a second one is none.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored.
    pub async fn keep_shadow_answer(&self, answer: &ShadowAnswer) -> Result<(), PublishError> {
        let message = Outgoing {
            expected_last: Some(0),
            ..Outgoing::new(
                subjects::shadowed(&answer.agent, &answer.task_id),
                INTERNAL.encode(answer),
                INTERNAL,
            )
        };
        match self.publish(message).await {
            Ok(_) | Err(PublishError::NotFirst { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
