//! An alert: something that a person should look at, on `alert.<kind>.<lane>`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that a person should look at. Published on core NATS, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// What it is about, such as `seal_broken` or `lane_slow`.
    pub kind: String,
    /// The lane, or `intake`, or `fleet`.
    pub lane: String,
    /// Whether it has just happened, goes on, or is over.
    pub state: AlertState,
    /// What is wrong, in one sentence with its numbers.
    pub message: String,
    /// What that means for the tasks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub meaning: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// When it began.
    pub since: Timestamp,
    /// When this was said.
    pub at: Timestamp,
}

/// Whether an alert has just happened, goes on, or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It has happened once. The monitor makes it `firing` until it has not happened again for a while.
    Raised,
    /// It goes on.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// The word on the wire and on the page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl Alert {
    /// An alert about something that has just happened.
    pub fn new(kind: &str, lane: &str, message: impl Into<String>, at: Timestamp) -> Self {
        Self {
            kind: kind.to_owned(),
            lane: lane.to_owned(),
            state: AlertState::Raised,
            message: message.into(),
            meaning: String::new(),
            action: String::new(),
            since: at,
            at,
        }
    }
}
