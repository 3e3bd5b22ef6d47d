//! Dead letters: what ended without an answer, kept with its payload and the reason.

use bytes::Bytes;
use trilane_protocol::outcome::{DeadLetter, TaskError};
use trilane_protocol::{AgentName, Encoding, TaskId, subjects};

use crate::connect::Broker;
use crate::delivery::Delivery;
use crate::publish::{Outgoing, PublishError};

/// Room that the headers of a message take, bytes; generous.
pub(crate) const HEADERS_BYTES: usize = 1_024;

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
            payload_bytes: delivery.payload().len() as u64,
            payload: delivery.payload().to_vec(),
        };
        self.store_letter(letter, delivery.traceparent()).await
    }

    pub(crate) async fn store_letter(
        &self,
        letter: DeadLetter,
        traceparent: Option<&str>,
    ) -> Result<(), PublishError> {
        let message = Outgoing {
            subject: subjects::dead(&letter.place),
            message_id: Some(format!("dead.{}.{}", letter.source.stream, letter.source.sequence)),
            payload: self.encoded(letter),
            encoding: Encoding::Json,
            must_be_first: false,
            traceparent: traceparent.map(str::to_owned),
        };
        self.publish(message).await.map(drop)
    }

    /// A payload that is no text grows when it is written as JSON. Where the letter would be larger than the
    /// server takes, it is kept without the payload: what became of the task must be on record in any case.
    fn encoded(&self, letter: DeadLetter) -> Bytes {
        let whole = Encoding::Json.encode(&letter);
        if whole.len() + HEADERS_BYTES <= self.max_payload() {
            return whole.into();
        }
        Encoding::Json.encode(&DeadLetter { payload: Vec::new(), ..letter }).into()
    }
}
