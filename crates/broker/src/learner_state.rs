//! What a learner keeps of itself in the bucket of policies: parts in two places each, and a sheet that says which count.
//!
//! A part is written where the sheet does not point, then the sheet by compare-and-set: a crash in between leaves the pair
//! that was consistent before, and of two learners one writes.

use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use trilane_protocol::Encoding;
use trilane_protocol::streams::{POLICY, bucket_stream};

use crate::connect::Broker;
use crate::publish::{Outgoing, PublishError};

/// The key of the sheet; parts lie below it.
const SHEET: &str = "learner";

/// Where one of the two places of a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The first.
    A,
    /// The second.
    B,
}

/// What is stored under a key.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The bytes.
    pub payload: Bytes,
    /// What the next write is held against.
    pub revision: u64,
}

/// Why a learner's state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The bucket does not answer.
    #[error(
        "cannot read the bucket `{POLICY}`: {0}; was the fleet provisioned (`trilane provision`), and may this role read it?"
    )]
    Unreadable(String),
    /// Another learner has written meanwhile.
    #[error("another learner has taken over")]
    Overtaken,
    /// It was not stored.
    #[error(transparent)]
    Publish(PublishError),
}

impl Place {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl Broker {
    /// The sheet of the learner that has written last.
    ///
    /// # Errors
    /// [`StateError::Unreadable`].
    pub async fn learner_sheet(&self) -> Result<Option<Kept>, StateError> {
        self.kept(SHEET).await
    }

    /// Writes the sheet, unless somebody has since `revision`. Returns its new revision.
    ///
    /// # Errors
    /// [`StateError::Overtaken`] where somebody has.
    pub async fn keep_learner_sheet(&self, payload: Vec<u8>, revision: u64) -> Result<u64, StateError> {
        self.keep(SHEET, payload.into(), revision).await
    }

    /// A part, such as the head of a lane.
    ///
    /// # Errors
    /// [`StateError::Unreadable`].
    pub async fn learner_part(&self, name: &str, place: Place) -> Result<Option<Kept>, StateError> {
        self.kept(&key(name, place)).await
    }

    /// Writes a part, unless somebody has since `revision`. Returns its new revision.
    ///
    /// # Errors
    /// [`StateError::Overtaken`] where somebody has.
    pub async fn keep_learner_part(
        &self,
        name: &str,
        place: Place,
        payload: Vec<u8>,
        revision: u64,
    ) -> Result<u64, StateError> {
        self.keep(&key(name, place), payload.into(), revision).await
    }

    async fn kept(&self, key: &str) -> Result<Option<Kept>, StateError> {
        let unreadable = |error: &dyn std::fmt::Display| StateError::Unreadable(error.to_string());
        let stream = self.context().get_stream_no_info(bucket_stream(POLICY)).await;
        let stream = stream.map_err(|error| unreadable(&error))?;
        match stream.direct_get_last_for_subject(subject(key)).await {
            Ok(message) => Ok(Some(Kept { payload: message.payload, revision: message.sequence })),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Where an acknowledgement was lost, what is there is our own.
    async fn keep(&self, key: &str, payload: Bytes, revision: u64) -> Result<u64, StateError> {
        let message = Outgoing {
            expected_last: Some(revision),
            ..Outgoing::new(subject(key), payload.clone(), Encoding::Json)
        };
        match self.publish(message).await {
            Ok(stored) => Ok(stored.sequence),
            Err(PublishError::NotFirst { .. }) => match self.kept(key).await? {
                Some(kept) if kept.revision > revision && kept.payload == payload => Ok(kept.revision),
                _ => Err(StateError::Overtaken),
            },
            Err(error) => Err(StateError::Publish(error)),
        }
    }
}

fn key(name: &str, place: Place) -> String {
    format!("{SHEET}.{name}.{}", place.as_str())
}

fn subject(key: &str) -> String {
    format!("$KV.{POLICY}.{key}")
}
