//! One message in hand, and what may become of it.

use std::mem;
use std::ops::Deref;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::message::AckKind;
use jiff::Timestamp;
use trilane_protocol::outcome::SourceRef;

use crate::content::Content;

/// A message that the server waits to hear of: a [`Content`], and the duty to say what became of it.
#[derive(Debug)]
pub struct Delivery {
    message: jetstream::Message,
    content: Content,
    /// Which delivery this is, from 1.
    pub deliveries: u64,
}

impl Deref for Delivery {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Delivery {
    /// Reads what the server says of the message. `None` for one that is not from a stream.
    pub(crate) fn new(mut message: jetstream::Message) -> Option<Self> {
        let info = message.info().ok()?;
        let lies = SourceRef {
            stream: info.stream.to_owned(),
            subject: message.subject.to_string(),
            sequence: info.stream_sequence,
        };
        let deliveries = u64::try_from(info.delivered).unwrap_or(1);
        let stored_at = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos()).ok()?;
        // An acknowledgement needs neither of them.
        let (headers, payload) = (message.message.headers.take(), mem::take(&mut message.message.payload));
        Some(Self { content: Content::new(lies, stored_at, headers, payload), message, deliveries })
    }

    /// Done: the next durable write is confirmed. Waits for the server, and where it stays silent the
    /// message comes back, which everything downstream bears. Says whether the server has confirmed it.
    pub async fn ack(&self) -> bool {
        self.tell("ack", self.message.double_ack().await)
    }

    /// Done, without waiting for the server: a lost acknowledgement brings the message back.
    pub async fn ack_unconfirmed(&self) {
        self.tell("ack", self.message.ack().await);
    }

    /// To be delivered again, to anybody, after `delay`.
    pub async fn retry_after(&self, delay: Duration) {
        self.tell("retry", self.message.ack_with(AckKind::Nak(Some(delay))).await);
    }

    /// Back at once, untouched: for a worker that stops.
    pub async fn hand_back(&self) {
        self.tell("hand back", self.message.ack_with(AckKind::Nak(None)).await);
    }

    /// Never again: it ended as a dead letter. Says whether the server has confirmed it.
    pub async fn terminate(&self) -> bool {
        self.tell("terminate", self.message.double_ack_with(AckKind::Term).await)
    }

    /// Still being worked on.
    pub async fn extend(&self) {
        self.tell("extend", self.message.ack_with(AckKind::Progress).await);
    }

    fn tell<E: std::fmt::Display>(&self, what: &str, outcome: Result<(), E>) -> bool {
        let is_told = outcome.is_ok();
        if let Err(error) = outcome {
            let SourceRef { stream, sequence, .. } = &self.source;
            tracing::warn!(%error, stream, sequence, "could not {what} a message; it will come back");
        }
        is_told
    }
}
