//! The routing log on the server: segments of one chain, each published only behind the one before it.

use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use trilane_protocol::{Encoding, subjects};

use crate::connect::Broker;
use crate::lanes::SEAL;
use crate::publish::{Outgoing, PublishError};
use crate::topology::ROUTES;

/// A segment on its way out.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    /// Its chain.
    pub chain: &'a str,
    /// Its position there.
    pub index: u64,
    /// What is stored, byte for byte.
    pub payload: Bytes,
    /// The signature on it.
    pub signature: &'a str,
    /// Sequence of the segment before in the stream, 0 for the first.
    pub after: u64,
}

impl Broker {
    /// Appends a segment and returns its sequence. Repeating it stores it once.
    ///
    /// # Errors
    /// [`PublishError::NotFirst`] where another segment stands at its place.
    pub async fn append_segment(&self, segment: &Segment<'_>) -> Result<u64, PublishError> {
        let message = Outgoing {
            message_id: Some(format!("{}.{}", segment.chain, segment.index)),
            expected_last: Some(segment.after),
            headers: vec![(SEAL, segment.signature.to_owned())],
            ..Outgoing::new(subjects::route(segment.chain), segment.payload.clone(), Encoding::Json)
        };
        match self.publish(message).await {
            Ok(stored) => Ok(stored.sequence),
            // It may be this very segment, whose acknowledgement was lost.
            Err(PublishError::NotFirst { .. }) => self.sequence_of(segment).await,
            Err(error) => Err(error),
        }
    }

    async fn sequence_of(&self, segment: &Segment<'_>) -> Result<u64, PublishError> {
        let subject = subjects::route(segment.chain);
        let unconfirmed = |reason: String| PublishError::Unconfirmed { subject: subject.clone(), reason };
        let stream = self.context().get_stream_no_info(ROUTES).await;
        let stream = stream.map_err(|error| unconfirmed(error.to_string()))?;
        match stream.direct_get_last_for_subject(subject.clone()).await {
            Ok(last) if last.payload == segment.payload => Ok(last.sequence),
            Ok(_) => Err(PublishError::NotFirst { subject }),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                Err(PublishError::NotFirst { subject })
            }
            Err(error) => Err(unconfirmed(error.to_string())),
        }
    }
}
