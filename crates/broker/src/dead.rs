//! Dead letters: what ended without an answer, kept with its payload and the reason.

use bytes::Bytes;
use trilane_protocol::outcome::{DeadLetter, TaskError};
use trilane_protocol::{AgentName, Encoding, TaskId, subjects};

use crate::connect::Broker;
use crate::content::Content;
use crate::delivery::Delivery;
use crate::publish::{Outgoing, PublishError};

/// Room that the headers of a message take, bytes; generous.
pub(crate) const HEADERS_BYTES: usize = 1_024;

/// A message that is to be kept as a dead letter.
#[derive(Debug, Clone)]
pub struct Dying<'a> {
    /// Where it came from.
    pub content: &'a Content,
    /// What is kept of it; mostly its own payload.
    pub payload: &'a [u8],
    /// How often it was delivered.
    pub deliveries: u64,
    /// Where it dies.
    pub place: &'a str,
    /// The task, where it can be read.
    pub task: Option<(&'a AgentName, &'a TaskId)>,
    /// Why.
    pub error: TaskError,
}

impl Broker {
    /// Keeps a delivered message as a dead letter.
    ///
    /// # Errors
    /// As [`Broker::keep_letter`].
    pub async fn bury(
        &self,
        delivery: &Delivery,
        place: &str,
        task: Option<(&AgentName, &TaskId)>,
        error: TaskError,
    ) -> Result<(), PublishError> {
        let (payload, deliveries) = (delivery.payload(), delivery.deliveries);
        self.keep_letter(Dying { content: delivery, payload, deliveries, place, task, error }).await
    }

    /// Keeps a message as a dead letter. Repeating it within the duplicate window stores it once.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored; the message must then not be acknowledged.
    pub async fn keep_letter(&self, dying: Dying<'_>) -> Result<(), PublishError> {
        let Dying { content, payload, deliveries, place, task, error } = dying;
        let source = content.source.clone();
        let message_id = Some(format!("dead.{}.{}", source.stream, source.sequence));
        let letter = DeadLetter {
            task_id: task.map(|(_, task_id)| task_id.clone()),
            agent: task.map(|(agent, _)| agent.clone()),
            place: place.to_owned(),
            error,
            deliveries,
            source,
            died_at: jiff::Timestamp::now(),
            payload_bytes: payload.len() as u64,
            payload: payload.to_vec(),
        };
        let message = Outgoing {
            message_id,
            traceparent: content.traceparent().map(str::to_owned),
            ..Outgoing::new(subjects::dead(place), self.encoded(letter), Encoding::Json)
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
