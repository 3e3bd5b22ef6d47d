//! The learned policy's versions: heads first, then the manifest, and which of them is in force by compare-and-set.
//!
//! Read by direct gets only, since not every role that follows the policy may open the bucket as such.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use async_nats::header::NATS_ROLLUP;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use trilane_protocol::streams::bucket_stream;
use trilane_protocol::{Encoding, LaneName};
use trilane_routing::learn::Weights;
use trilane_routing::snapshot::{BadSnapshot, HAND_MADE, InForce, Manifest};

use crate::connect::Broker;
use crate::publish::{Outgoing, PublishError};
use crate::topology::POLICY;

/// The key that says which version is in force.
const CURRENT: &str = "current";

/// The header by which buckets tell what was taken out from what is there, and its word for that.
const OPERATION: &str = "KV-Operation";
const PURGE: &str = "PURGE";

/// The last message of a subject only, for what is taken out.
const ROLLUP_SUBJECT: &str = "sub";

/// Why the policy's versions cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The bucket does not answer, or may not be read.
    #[error(
        "cannot read the bucket `{POLICY}`: {0}; was the fleet provisioned (`trilane provision`), and may this role read it?"
    )]
    Unreadable(String),
    /// There is no such version.
    #[error("there is no version {version} of the policy; `trilane policy history` lists those there are")]
    NoSuchVersion {
        /// The version.
        version: u64,
    },
    /// What is stored under a key is not what belongs there.
    #[error("the entry `{key}` of the bucket `{POLICY}` does not read: {reason}")]
    Malformed {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// The version is not what it was when it was stored.
    #[error(transparent)]
    Bad(#[from] BadSnapshot),
    /// Somebody else has put a version in force meanwhile.
    #[error("another version was put in force meanwhile; look again (`trilane policy show`)")]
    Overtaken,
    /// A version is written once.
    #[error("version {version} of the policy is there already; take the next number")]
    AlreadyThere {
        /// The version.
        version: u64,
    },
    /// What is in force cannot be forgotten.
    #[error("version {version} of the policy is in force; put another in force before it is forgotten")]
    InForce {
        /// The version.
        version: u64,
    },
    /// It was not stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl PolicyError {
    /// Whether the same may succeed later without anybody's doing.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreadable(_) => true,
            Self::Publish(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// What is in force, as the bucket has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The version, and who put it in force.
    pub word: InForce,
    /// What the next change is held against.
    pub revision: u64,
    /// When it was stored, by the server's clock.
    pub stored_at: Timestamp,
}

/// A value of the bucket, and which message it is.
struct Value {
    payload: Bytes,
    revision: u64,
}

impl Broker {
    /// Which version is in force, with the revision that the next change is held against. Where nothing was ever put in
    /// force, the hand-made score is, at revision 0.
    ///
    /// # Errors
    /// [`PolicyError`] where the bucket cannot be read, or the word in it not.
    pub async fn policy_in_force(&self) -> Result<(InForce, u64), PolicyError> {
        self.policy_followed().await.map(|Followed { word, revision, .. }| (word, revision))
    }

    /// The same, with when the server stored it: `since` is by the clock of whoever wrote it.
    ///
    /// # Errors
    /// [`PolicyError`] where the bucket cannot be read, or the word in it not.
    pub async fn policy_followed(&self) -> Result<Followed, PolicyError> {
        let Some(message) = self.policy_entry(CURRENT).await? else {
            let (word, stored_at) = (InForce::hand_made(), Timestamp::UNIX_EPOCH);
            return Ok(Followed { word, revision: 0, stored_at });
        };
        let (revision, stored_at) = (message.sequence, stored_at(&message));
        let word = match value(message) {
            Some(value) => decoded(CURRENT, &value.payload)?,
            None => InForce::hand_made(),
        };
        Ok(Followed { word, revision, stored_at })
    }

    /// What `version` is.
    ///
    /// # Errors
    /// [`PolicyError::NoSuchVersion`]; other errors where it cannot be read.
    pub async fn policy_manifest(&self, version: u64) -> Result<Manifest, PolicyError> {
        let key = manifest_key(version);
        let stored = self.policy_value(&key).await?;
        let stored = stored.ok_or(PolicyError::NoSuchVersion { version })?;
        let manifest: Manifest = decoded(&key, &stored.payload)?;
        if manifest.version != version {
            let reason = format!("it speaks of version {}", manifest.version);
            return Err(PolicyError::Malformed { key, reason });
        }
        Ok(manifest)
    }

    /// The weights of `version`, each head held against the manifest. Those of [`HAND_MADE`] are empty.
    ///
    /// # Errors
    /// [`PolicyError`]: what is missing, changed, of another time, or cannot be read.
    pub async fn policy_weights(&self, version: u64) -> Result<Weights, PolicyError> {
        if version == HAND_MADE {
            return Ok(Weights::default());
        }
        let manifest = self.policy_manifest(version).await?;
        manifest.check()?;
        let mut heads = BTreeMap::new();
        for lane in manifest.heads.keys() {
            if let Some(head) = self.policy_value(&head_key(version, lane)).await? {
                heads.insert(lane.clone(), head.payload.to_vec());
            }
        }
        Ok(manifest.weights(&heads)?)
    }

    /// Stores a version: its heads, then its manifest, so that what has a manifest is whole. Nothing is in force by it.
    ///
    /// # Errors
    /// [`PolicyError::AlreadyThere`], [`PolicyError::Bad`] where `manifest` is not that of `weights`, or what the server
    /// refused.
    pub async fn store_policy(&self, manifest: &Manifest, weights: &Weights) -> Result<(), PolicyError> {
        let version = manifest.version;
        let head = |lane: &LaneName| Some((lane.clone(), weights.head_to_bytes(lane)?));
        let heads: BTreeMap<_, _> = weights.lanes().filter_map(head).collect();
        manifest.weights(&heads)?;
        let earlier = self.policy_entry(&manifest_key(version)).await?;
        let revision = earlier.as_ref().map_or(0, |message| message.sequence);
        if version == HAND_MADE || earlier.is_some_and(|message| value(message).is_some()) {
            return Err(PolicyError::AlreadyThere { version });
        }
        for (lane, bytes) in heads {
            let key = subject(&head_key(version, &lane));
            self.publish(Outgoing::new(key, bytes, Encoding::Msgpack)).await?;
        }
        let payload = Encoding::Json.encode(manifest);
        match self.put_policy(&manifest_key(version), payload, revision).await {
            Err(PolicyError::Overtaken) => Err(PolicyError::AlreadyThere { version }),
            other => other,
        }
    }

    /// Puts a version in force, if nobody has since `expected_revision`. The version is read and checked first: what
    /// no classifier could follow is not put in force.
    ///
    /// # Errors
    /// [`PolicyError::Overtaken`] where somebody has; what [`Broker::policy_weights`] finds wrong with the version.
    pub async fn put_in_force(&self, in_force: &InForce, expected_revision: u64) -> Result<(), PolicyError> {
        self.policy_weights(in_force.version).await?;
        self.put_policy(CURRENT, Encoding::Json.encode(in_force), expected_revision).await
    }

    /// All versions that are kept, oldest first; a version without a manifest is none.
    ///
    /// # Errors
    /// [`PolicyError::Unreadable`].
    pub async fn policy_versions(&self) -> Result<Vec<u64>, PolicyError> {
        let mut kept = Vec::new();
        for version in self.policy_numbers().await? {
            if self.policy_value(&manifest_key(version)).await?.is_some() {
                kept.push(version);
            }
        }
        Ok(kept)
    }

    /// The number of the next version: above all there ever were, so that no number ever stands for two.
    ///
    /// # Errors
    /// [`PolicyError::Unreadable`].
    pub async fn next_policy_version(&self) -> Result<u64, PolicyError> {
        Ok(self.policy_numbers().await?.last().map_or(HAND_MADE + 1, |last| last + 1))
    }

    /// Takes a version out of the bucket: its manifest first, so that nobody begins to read what is going.
    ///
    /// # Errors
    /// [`PolicyError::InForce`], [`PolicyError::NoSuchVersion`], or what the server refused.
    pub async fn forget_policy(&self, version: u64) -> Result<(), PolicyError> {
        if self.policy_in_force().await?.0.version == version {
            return Err(PolicyError::InForce { version });
        }
        let manifest = self.policy_manifest(version).await?;
        self.purge_policy(&manifest_key(version)).await?;
        for lane in manifest.heads.keys() {
            self.purge_policy(&head_key(version, lane)).await?;
        }
        Ok(())
    }

    /// Every number that a manifest was ever stored under, ascending.
    async fn policy_numbers(&self) -> Result<Vec<u64>, PolicyError> {
        let listed = self.policy_stream().await?.info_with_subjects(subject("*")).await;
        let listed: Vec<(String, usize)> =
            listed.map_err(unreadable)?.try_collect().await.map_err(unreadable)?;
        let prefix = subject("v");
        let number = |(subject, _): (String, usize)| subject.strip_prefix(&prefix)?.parse().ok();
        let mut numbers: Vec<u64> = listed.into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    async fn policy_value(&self, key: &str) -> Result<Option<Value>, PolicyError> {
        Ok(self.policy_entry(key).await?.and_then(value))
    }

    /// The last message of a key, which may be the mark of what was taken out.
    async fn policy_entry(&self, key: &str) -> Result<Option<StreamMessage>, PolicyError> {
        match self.policy_stream().await?.direct_get_last_for_subject(subject(key)).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error)),
        }
    }

    async fn policy_stream(&self) -> Result<Stream<()>, PolicyError> {
        self.context().get_stream_no_info(bucket_stream(POLICY)).await.map_err(unreadable)
    }

    /// Writes a key that was at `revision`. Where an acknowledgement was lost, what is there is our own.
    async fn put_policy(&self, key: &str, payload: Vec<u8>, revision: u64) -> Result<(), PolicyError> {
        let payload = Bytes::from(payload);
        let message = Outgoing {
            expected_last: Some(revision),
            ..Outgoing::new(subject(key), payload.clone(), Encoding::Json)
        };
        match self.publish(message).await {
            Ok(_) => Ok(()),
            Err(PublishError::NotFirst { .. }) => match self.policy_value(key).await? {
                Some(stored) if stored.revision > revision && stored.payload == payload => Ok(()),
                _ => Err(PolicyError::Overtaken),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn purge_policy(&self, key: &str) -> Result<(), PolicyError> {
        let headers = vec![(OPERATION, PURGE.to_owned()), (NATS_ROLLUP.as_ref(), ROLLUP_SUBJECT.to_owned())];
        let message = Outgoing { headers, ..Outgoing::new(subject(key), Bytes::new(), Encoding::Json) };
        self.publish(message).await?;
        Ok(())
    }
}

/// When the server stored a message; for a time that cannot be, the last there is, so that nothing counts as long ago.
fn stored_at(message: &StreamMessage) -> Timestamp {
    Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::MAX)
}

fn value(message: StreamMessage) -> Option<Value> {
    let is_gone = |headers: &HeaderMap| headers.get(OPERATION).is_some();
    let StreamMessage { headers, payload, sequence, .. } = message;
    (!is_gone(&headers)).then_some(Value { payload, revision: sequence })
}

fn decoded<T: DeserializeOwned>(key: &str, payload: &[u8]) -> Result<T, PolicyError> {
    let malformed = |error: &dyn std::fmt::Display| PolicyError::Malformed {
        key: key.to_owned(),
        reason: error.to_string(),
    };
    Encoding::Json.decode(payload).map_err(|error| malformed(&error))
}

fn manifest_key(version: u64) -> String {
    format!("v{version}")
}

fn head_key(version: u64, lane: &LaneName) -> String {
    format!("v{version}.{lane}")
}

fn subject(key: &str) -> String {
    format!("$KV.{POLICY}.{key}")
}

fn unreadable(error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Unreadable(error.to_string())
}
