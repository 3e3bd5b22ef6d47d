//! Dead letters: what ended without an answer, kept with its payload and the reason.

use trilane_protocol::outcome::{DeadLetter, TaskError};
use trilane_protocol::{AgentName, Encoding, TaskId, subjects};

use crate::connect::Broker;
use crate::delivery::Delivery;
use crate::publish::{Outgoing, PublishError};

impl Broker {
    /// Keeps a message as a dead letter. Repeating it within the duplicate window stores it once.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored; the message must then not be acknowledged.
    pub async fn bury(
        &self,
        delivery: &Delivery,
        place: &str,
        task: Option<(&AgentName, &TaskId)>,
        error: TaskError,
    ) -> Result<(), PublishError> {
        let letter = DeadLetter {
            task_id: task.map(|(_, task_id)| task_id.clone()),
            agent: task.map(|(agent, _)| agent.clone()),
            place: place.to_owned(),
            error,
            deliveries: delivery.deliveries,
            source: delivery.source.clone(),
            died_at: jiff::Timestamp::now(),
            payload: delivery.payload().to_vec(),
        };
        let message = Outgoing {
            subject: subjects::dead(place),
            payload: Encoding::Json.encode(&letter).into(),
            encoding: Encoding::Json,
            message_id: Some(format!("dead.{}.{}", letter.source.stream, letter.source.sequence)),
            must_be_first: false,
            traceparent: delivery.traceparent().map(str::to_owned),
        };
        self.publish(message).await.map(drop)
    }
}
