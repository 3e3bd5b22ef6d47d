//! What a stored message says of itself: where it was first, when, and under which id.

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use tracing::Span;
use tracing::field::Empty;
use trilane_protocol::outcome::SourceRef;
use trilane_protocol::trace::TraceParent;
use trilane_protocol::{AgentName, DecodeError, Encoding, TaskId};

use crate::lanes::SEAL;
use crate::later::{ORIGIN, ORIGIN_ID};
use crate::publish::TRACEPARENT;
use crate::topology::LATER;

/// A stored message. One that was postponed is what it was before.
#[derive(Debug, Clone)]
pub struct Content {
    /// Where it lies, or where it was before it was postponed.
    pub source: SourceRef,
    /// When the server stored it there.
    pub stored_at: Timestamp,
    payload: Bytes,
    headers: Option<HeaderMap>,
    was_postponed: bool,
}

impl Content {
    /// Only classifiers write into the stream of what is postponed, so what a message there says of its origin holds.
    pub(crate) fn new(
        lies: SourceRef,
        stored_at: Timestamp,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Self {
        let is_postponed = lies.stream == LATER;
        let mut content = Self { source: lies, stored_at, payload, headers, was_postponed: false };
        if let Some((source, stored_at)) = content.header(ORIGIN).filter(|_| is_postponed).and_then(origin) {
            content.source = source;
            content.stored_at = stored_at;
            content.was_postponed = true;
        }
        content
    }

    /// The payload as it came.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.as_ref()?.get(name)?.as_str())
    }

    /// The message id that its publisher gave.
    pub fn message_id(&self) -> Option<&str> {
        self.header(if self.was_postponed { ORIGIN_ID } else { "Nats-Msg-Id" })
    }

    /// The trace it belongs to. A header that does not read counts as none: anybody may have written it, and it is passed
    /// on and logged.
    pub fn traceparent(&self) -> Option<&str> {
        self.trace().map(TraceParent::as_str)
    }

    /// What log lines about this message carry: its trace, and its task once [`name_task`] has told.
    pub fn span(&self) -> Span {
        // As an error, so that no log filter takes it away from the lines that it lets through.
        let span = tracing::error_span!("task", trace_id = Empty, task_id = Empty, agent = Empty);
        if let Some(trace) = self.trace() {
            span.record("trace_id", trace.trace_id());
        }
        span
    }

    fn trace(&self) -> Option<TraceParent<'_>> {
        TraceParent::read(self.header(TRACEPARENT)?)
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
        Encoding::detect(self.header("Content-Type"), &self.payload)
    }
}

/// Tells the current span, if it is a message's, which task it is about.
pub fn name_task(agent: &AgentName, task_id: &TaskId) {
    Span::current().record("task_id", task_id.as_str()).record("agent", agent.as_str());
}

/// Where a postponed message was first, as its header says it.
fn origin(header: &str) -> Option<(SourceRef, Timestamp)> {
    let mut words = header.split(' ');
    let (stream, subject) = (words.next()?.to_owned(), words.next()?.to_owned());
    let sequence = words.next()?.parse().ok()?;
    let stored_at = Timestamp::from_nanosecond(words.next()?.parse().ok()?).ok()?;
    Some((SourceRef { stream, subject, sequence }, stored_at))
}
