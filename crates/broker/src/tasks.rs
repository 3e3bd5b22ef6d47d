//! What producers do: publish tasks.

use trilane_protocol::{AgentName, Encoding, Task, subjects};

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
            message_id: message_id.map(str::to_owned),
            ..Outgoing::new(subjects::task(agent), encoding.encode(task), encoding)
        };
        self.publish(message).await
    }
}
