//! Every stream, consumer and bucket name, in one place: what exists is the broker's, who may touch it is permissions'.

use crate::decision::Zone;
use crate::names::LaneName;
use crate::task::Priority;

/// The intake.
pub const TASKS: &str = "TASKS";
/// What workers of the local zone hand back to the classifier.
pub const RETURNS: &str = "RETURNS";
/// The same of the cloud zone. A stream of its own, since a stream forgets nothing by whom it was told a message id: a
/// message under a guessed id would keep another's out.
pub const RETURNS_CLOUD: &str = "RETURNS_CLOUD";
/// Tasks that are not due yet.
pub const LATER: &str = "LATER";
/// Tasks for the lanes of the local zone.
pub const LANE_LOCAL: &str = "LANE_LOCAL";
/// Tasks for the lanes of the cloud zone.
pub const LANE_CLOUD: &str = "LANE_CLOUD";
/// One result for each task.
pub const RESULTS: &str = "RESULTS";
/// The routing log.
pub const ROUTES: &str = "ROUTES";
/// Dead letters.
pub const DEAD: &str = "DEAD";
/// What producers no longer want.
pub const CANCELS: &str = "CANCELS";
/// Cancelled tasks, by the hash of their name, for workers.
pub const CANCELLED: &str = "CANCELLED";
/// What cloud calls may cost and have cost.
pub const LEDGER: &str = "LEDGER";
/// How each alert of the monitor began and ended.
pub const ALERTS: &str = "ALERTS";
/// Verdicts on results.
pub const FEEDBACK: &str = "FEEDBACK";
/// Public cloud tasks that a local lane is to try once more.
pub const SHADOWS: &str = "SHADOWS";
/// What local lanes would have answered.
pub const SHADOWED: &str = "SHADOWED";
/// What can be learned from each task: public ones with their text, private ones as counts.
pub const EXAMPLES: &str = "EXAMPLES";
/// How good answers were.
pub const OUTCOMES: &str = "OUTCOMES";
/// What the server says of messages that it has given up.
pub const ADVISORIES: &str = "ADVISORIES";

/// The classifiers' consumer of [`TASKS`].
pub const CLASSIFY: &str = "classify";
/// The classifiers' consumer of [`RETURNS`] and of [`RETURNS_CLOUD`].
pub const TAKE_BACK: &str = "take_back";
/// The classifiers' consumer of [`LATER`].
pub const DUE: &str = "due";
/// The classifiers' consumer of [`CANCELS`].
pub const CANCEL: &str = "cancel";
/// The monitors' consumer of [`ADVISORIES`].
pub const JANITOR: &str = "janitor";

/// The notifiers' consumer of [`ALERTS`].
pub const NOTIFY: &str = "notify";

/// The classifiers' consumer of [`SHADOWS`].
pub const SHADOW: &str = "shadow";

/// The bucket of learned policies: snapshots by version, and which of them is in force.
pub const POLICY: &str = "policy";

/// The bucket of signs of life.
pub const WORKERS: &str = "workers";
/// The stream behind it.
pub const WORKERS_STREAM: &str = "KV_workers";
/// The bucket of pipelines under way.
pub const PIPELINES: &str = "pipelines";

/// The stream that holds a zone's lanes.
pub fn stream_of(zone: Zone) -> &'static str {
    match zone {
        Zone::Local => LANE_LOCAL,
        Zone::Cloud => LANE_CLOUD,
    }
}

/// The consumer of one lane and priority.
pub fn consumer_of(lane: &LaneName, priority: Priority) -> String {
    format!("{lane}_{}", priority.as_str())
}

/// The consumer of a local lane's shadows.
pub fn shadow_consumer_of(lane: &LaneName) -> String {
    format!("{lane}_shadow")
}

/// The stream behind a bucket.
pub fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}
