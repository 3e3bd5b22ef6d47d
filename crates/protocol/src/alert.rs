//! An alert: something that a person should look at, on `alert.<kind>.<lane>`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that a person should look at. Published on core NATS, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// What it is about, such as `seal_broken`.
    pub kind: String,
    /// The lane, or `intake`.
    pub lane: String,
    /// What is wrong and what to do.
    pub message: String,
    /// When it was seen.
    pub at: Timestamp,
}

impl Alert {
    /// An alert that is raised now.
    pub fn new(kind: &str, lane: &str, message: impl Into<String>, at: Timestamp) -> Self {
        Self { kind: kind.to_owned(), lane: lane.to_owned(), message: message.into(), at }
    }
}
