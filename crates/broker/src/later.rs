//! Messages that are not due yet: the server keeps them and puts them back when their time has come.
//!
//! A postponed message carries where it was first, so that it comes back as what it was.

use jiff::Timestamp;
use trilane_protocol::{Encoding, subjects};

use crate::connect::Broker;
use crate::delivery::Delivery;
use crate::publish::{Outgoing, PublishError};
use crate::topology::LATER;

/// Stream, subject and sequence at which a postponed message was first, and when it was stored there, one space apart.
pub(crate) const ORIGIN: &str = "Trilane-Origin";
/// The message id that it had.
pub(crate) const ORIGIN_ID: &str = "Trilane-Origin-Id";

impl Broker {
    /// Postpones a message until `due`. Once this is confirmed the message itself can be acknowledged. Doing it again
    /// replaces the first.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored.
    pub async fn postpone(&self, delivery: &Delivery, due: Timestamp) -> Result<(), PublishError> {
        let source = &delivery.source;
        let origin = format!(
            "{} {} {} {}",
            source.stream,
            source.subject,
            source.sequence,
            delivery.stored_at.as_nanosecond()
        );
        let mut headers = vec![
            ("Nats-Schedule", format!("@at {}", whole_seconds(due))),
            ("Nats-Schedule-Target", subjects::due(&source.stream, source.sequence)),
            (ORIGIN, origin),
        ];
        headers.extend(delivery.message_id().map(|id| (ORIGIN_ID, id.to_owned())));
        let encoding = delivery.encoding().unwrap_or(Encoding::Json);
        let message = Outgoing {
            traceparent: delivery.traceparent().map(str::to_owned),
            headers,
            ..Outgoing::new(
                subjects::later(&source.stream, source.sequence),
                delivery.payload().clone(),
                encoding,
            )
        };
        self.publish(message).await.map(drop)
    }

    /// Bytes of messages that are not due yet; `None` where the server does not say.
    pub async fn postponed_bytes(&self) -> Option<u64> {
        let stream = self.context().get_stream(LATER).await.ok()?;
        Some(stream.cached_info().state.bytes)
    }
}

/// Schedules know whole seconds; rounded up, so that nothing comes early.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let second = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(second).unwrap_or(time)
}
