//! What producers do: publish tasks, and take them back.

use bytes::Bytes;
use trilane_protocol::{AgentName, Encoding, Task, TaskId, subjects};

use crate::connect::Broker;
use crate::publish::{Outgoing, PublishError, Stored};

impl Broker {
    /// Publishes a task. With a message id, repeating it within the duplicate window stores it once, and a
    /// task without an id takes it as its id.
    ///
    /// # Errors
    /// [`PublishError::Full`] where the intake is full: backpressure, to be tried again later.
    pub async fn submit(
        &self,
        agent: &AgentName,
        task: &Task,
        encoding: Encoding,
        message_id: Option<&str>,
    ) -> Result<Stored, PublishError> {
        let message = Outgoing {
            subject: subjects::task(agent),
            payload: encoding.encode(task).into(),
            encoding,
            message_id: message_id.map(str::to_owned),
            must_be_first: false,
            traceparent: None,
        };
        self.publish(message).await
    }
    /// Says that a task is no longer wanted. Whether that was in time shows in its result.
    ///
    /// # Errors
    /// [`PublishError`] where the request could not be stored.
    pub async fn cancel(&self, agent: &AgentName, task_id: &TaskId) -> Result<Stored, PublishError> {
        let message = Outgoing {
            subject: subjects::cancel(agent, task_id),
            payload: Bytes::new(),
            encoding: Encoding::Json,
            message_id: None,
            must_be_first: false,
            traceparent: None,
        };
        self.publish(message).await
    }
}
