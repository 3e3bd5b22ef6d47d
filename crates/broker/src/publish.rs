//! Confirmed publishes. An acknowledgement that does not come is ambiguous, so the publish is repeated under
//! the same message id until it is confirmed or given up.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError as NatsPublishError, PublishErrorKind};
use bytes::Bytes;
use trilane_protocol::alert::Alert;
use trilane_protocol::{Encoding, subjects};
use trilane_service::metrics::catalogue::PUBLISH_RETRIES;

use crate::connect::Broker;

/// Times that an unconfirmed publish is sent before it is given up.
const MAX_SENDS: u32 = 6;

/// Delay before an unconfirmed publish is sent again, at first; doubled each time.
const RESEND_DELAY: Duration = Duration::from_millis(100);

/// JetStream's code for a stream that refuses because it is full (discard new).
const CODE_STREAM_FULL: u64 = 10077;

/// JetStream's code for an expected last sequence that does not hold.
pub(crate) const CODE_WRONG_LAST_SEQUENCE: u64 = 10071;

/// JetStream's code for a cluster that cannot answer now.
const CODE_UNAVAILABLE: u64 = 10008;

/// The header that carries a trace from task to result (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// What.
    pub payload: Bytes,
    /// How it is written.
    pub encoding: Encoding,
    /// Under which id the server takes it once only, within its duplicate window.
    pub message_id: Option<String>,
    /// Refused unless the last message on its subject has this sequence, 0 for none; rests on stored state, not on a
    /// window.
    pub expected_last: Option<u64>,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Outgoing {
    /// A message that may be stored more than once and anywhere in its subject.
    pub fn new(subject: String, payload: impl Into<Bytes>, encoding: Encoding) -> Self {
        Self {
            subject,
            payload: payload.into(),
            encoding,
            message_id: None,
            expected_last: None,
            traceparent: None,
            headers: Vec::new(),
        }
    }
}

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence in the stream.
    pub sequence: u64,
}

/// Why a message was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The stream is full; nothing was stored, and the same id may be used again.
    #[error("`{subject}` is full; try again when its queue is shorter")]
    Full {
        /// Where to.
        subject: String,
    },
    /// The subject holds a message already, or another one than expected.
    #[error("`{subject}` holds a message already, or another last one than expected")]
    NotFirst {
        /// Where to.
        subject: String,
    },
    /// Larger than the server takes.
    #[error("the message for `{subject}` has {bytes} bytes; the server takes {most} (max_payload)")]
    TooLarge {
        /// Where to.
        subject: String,
        /// Its size.
        bytes: usize,
        /// The server's bound.
        most: usize,
    },
    /// This process may not publish there.
    #[error(
        "the server does not let this process publish on `{subject}`: its role lacks the permission (were lanes added? then \
         `trilane keys init` and reload the server), or the key is another role's"
    )]
    Forbidden {
        /// Where to.
        subject: String,
    },
    /// No acknowledgement came, however often it was sent. It may be stored or not.
    #[error(
        "no acknowledgement for `{subject}`: {reason}; is the stream there (`trilane provision`), and may this role publish to it?"
    )]
    Unconfirmed {
        /// Where to.
        subject: String,
        /// What was met last.
        reason: String,
    },
}

impl PublishError {
    /// Whether the same publish may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unconfirmed { .. } | Self::Forbidden { .. })
    }
}

impl Broker {
    /// Publishes and waits until the server has confirmed it.
    ///
    /// # Errors
    /// [`PublishError`]; `Unconfirmed` leaves open whether the message is stored, and `NotFirst` whether it is what an
    /// earlier send of this very call has stored: the server compares sequences before it looks for duplicates.
    pub async fn publish(&self, message: Outgoing) -> Result<Stored, PublishError> {
        let headers = headers(&message);
        let mut delay = RESEND_DELAY;
        let mut reason = String::new();
        for _ in 0..MAX_SENDS {
            match self.send_once(&message, headers.clone()).await {
                Ok(stored) => return Ok(stored),
                Err(error) => match self.permanent(&message, &error) {
                    Some(permanent) => return Err(permanent),
                    None if self.refusals().name(&message.subject) => {
                        return Err(PublishError::Forbidden { subject: message.subject });
                    }
                    None => reason = error.to_string(),
                },
            }
            tokio::time::sleep(delay).await;
            delay *= 2;
            PUBLISH_RETRIES.add(1, ());
        }
        Err(PublishError::Unconfirmed { subject: message.subject, reason })
    }

    /// Raises an alert for whoever listens now. Nothing is kept of it, so what it is about must be on record elsewhere.
    pub async fn alert(&self, alert: &Alert) {
        let subject = subjects::alert(&alert.kind, &alert.lane);
        self.publish_unstored(subject, Encoding::Json.encode(alert).into()).await;
    }

    /// Publishes on core NATS: no storage, no acknowledgement, for what nobody will miss.
    pub async fn publish_unstored(&self, subject: String, payload: Bytes) {
        if let Err(error) = self.client().publish(subject, payload).await {
            tracing::debug!(%error, "an unstored message was not sent");
        }
    }

    async fn send_once(&self, message: &Outgoing, headers: HeaderMap) -> Result<Stored, NatsPublishError> {
        let sent =
            self.context().publish_with_headers(message.subject.clone(), headers, message.payload.clone());
        let acknowledged = sent.await?.await?;
        Ok(Stored { sequence: acknowledged.sequence })
    }

    /// The error, where sending again cannot help.
    fn permanent(&self, message: &Outgoing, error: &NatsPublishError) -> Option<PublishError> {
        let subject = message.subject.clone();
        match (error.kind(), code(error)) {
            (_, Some(CODE_STREAM_FULL)) => Some(PublishError::Full { subject }),
            (PublishErrorKind::WrongLastSequence, _) | (_, Some(CODE_WRONG_LAST_SEQUENCE)) => {
                Some(PublishError::NotFirst { subject })
            }
            (PublishErrorKind::MaxPayloadExceeded, _) => Some(PublishError::TooLarge {
                subject,
                bytes: message.payload.len(),
                most: self.max_payload(),
            }),
            (_, Some(code)) if code != CODE_UNAVAILABLE => {
                Some(PublishError::Unconfirmed { subject, reason: error.to_string() })
            }
            _ => None,
        }
    }
}

/// The server's own code, where it answered at all.
pub(crate) fn code(error: &NatsPublishError) -> Option<u64> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<jetstream::Error>().map(|error| error.error_code().0)
}

fn headers(message: &Outgoing) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", message.encoding.content_type());
    if let Some(id) = &message.message_id {
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
    }
    if let Some(sequence) = message.expected_last {
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
    }
    if let Some(traceparent) = &message.traceparent {
        headers.insert(TRACEPARENT, traceparent.as_str());
    }
    for (name, value) in &message.headers {
        headers.insert(*name, value.as_str());
    }
    headers
}
