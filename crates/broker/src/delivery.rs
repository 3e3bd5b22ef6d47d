//! One message in hand, and what may become of it.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::message::AckKind;
use bytes::Bytes;
use jiff::Timestamp;
use trilane_protocol::outcome::SourceRef;
use trilane_protocol::{DecodeError, Encoding};

use crate::lanes::SEAL;
use crate::later::{ORIGIN, ORIGIN_ID};
use crate::publish::TRACEPARENT;
use crate::topology::LATER;

/// A message that the server waits to hear of.
#[derive(Debug)]
pub struct Delivery {
    message: jetstream::Message,
    /// Where it lies.
    pub source: SourceRef,
    /// Which delivery this is, from 1.
    pub deliveries: u64,
    /// Messages behind it, when it was sent.
    pub pending: u64,
    /// When the server stored it.
    pub stored_at: Timestamp,
    /// Whether it has waited until it was due.
    pub was_postponed: bool,
}

/// Where a postponed message was first, as its header says it.
pub(crate) fn origin(header: &str) -> Option<(SourceRef, Timestamp)> {
    let mut words = header.split(' ');
    let (stream, subject) = (words.next()?.to_owned(), words.next()?.to_owned());
    let sequence = words.next()?.parse().ok()?;
    let stored_at = Timestamp::from_nanosecond(words.next()?.parse().ok()?).ok()?;
    Some((SourceRef { stream, subject, sequence }, stored_at))
}

impl Delivery {
    /// Reads what the server says of the message. `None` for one that is not from a stream.
    pub(crate) fn new(message: jetstream::Message) -> Option<Self> {
        let info = message.info().ok()?;
        let source = SourceRef {
            stream: info.stream.to_owned(),
            subject: message.subject.to_string(),
            sequence: info.stream_sequence,
        };
        let deliveries = u64::try_from(info.delivered).unwrap_or(1);
        let stored_at = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos()).ok()?;
        let pending = info.pending;
        let delivery = Self { source, deliveries, pending, stored_at, was_postponed: false, message };
        Some(match delivery.source.stream == LATER {
            true => delivery.restored(),
            false => delivery,
        })
    }

    /// A message that was postponed is what it was before. Only classifiers write into that stream.
    fn restored(mut self) -> Self {
        let origin = self.header(ORIGIN).and_then(origin);
        if let Some((source, stored_at)) = origin {
            self.source = source;
            self.stored_at = stored_at;
            self.was_postponed = true;
        }
        self
    }

    /// The payload as it came.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(name))
            .map(async_nats::HeaderValue::as_str)
    }

    /// The message id that its publisher gave.
    pub fn message_id(&self) -> Option<&str> {
        self.header(if self.was_postponed { ORIGIN_ID } else { "Nats-Msg-Id" })
    }

    /// The trace it belongs to.
    pub fn traceparent(&self) -> Option<&str> {
        self.header(TRACEPARENT)
    }

    /// The seal that it carries, as text.
    pub fn seal(&self) -> Option<&str> {
        self.header(SEAL)
    }

    /// How the payload is written.
    ///
    /// # Errors
    /// [`DecodeError`] where neither header nor first byte tells.
    pub fn encoding(&self) -> Result<Encoding, DecodeError> {
        Encoding::detect(self.header("Content-Type"), self.payload())
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
