//! What a worker says of itself, every few seconds, under its own key of the `workers` bucket.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::Zone;
use crate::names::{LaneName, ModelName};

/// A sign of life. The bucket forgets it when the worker falls silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Unique per process.
    pub worker: String,
    /// The zone that it lies in.
    pub zone: Zone,
    /// The lane it pulls from.
    pub lane: LaneName,
    /// What it can run.
    pub models: Vec<ModelName>,
    /// What it is doing.
    pub state: WorkerState,
    /// Tasks it can run at once.
    pub slots: u32,
    /// Tasks it runs now.
    pub busy: u32,
    /// Tasks it has finished, whatever their outcome.
    pub finished: u64,
    /// Seconds since it last got on with the tasks that it has: took one, finished one, or had a piece of an answer.
    /// 0 without any.
    pub stalled_s: u64,
    /// Name of its host.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it said so.
    pub at: Timestamp,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Loading its model; takes no tasks yet.
    Starting,
    /// Taking tasks.
    Ready,
    /// Finishing what it has; takes no more.
    Draining,
}
