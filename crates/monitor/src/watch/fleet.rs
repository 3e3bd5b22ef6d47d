//! The fleet as last seen: queues, workers, decisions, budgets. Holds no text of any task.

use jiff::Timestamp;
use serde::Serialize;
use trilane_protocol::heartbeat::WorkerState;
use trilane_protocol::{AgentName, LaneName, ModelName, TaskId, Zone};

/// The fleet at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Fleet {
    /// When it was looked at.
    pub(crate) at: Timestamp,
    /// Seconds since the server last answered; what else is here is from then.
    pub(crate) silent_s: u64,
    /// What classifiers have not decided yet.
    pub(crate) intake: Intake,
    /// The lanes, by name.
    pub(crate) lanes: Vec<Lane>,
    /// The workers that live, and for a while those that have fallen silent, by lane and name.
    pub(crate) workers: Vec<Worker>,
    /// What was spent, of each budget.
    pub(crate) budgets: Vec<Budget>,
    /// The last decisions, newest first.
    pub(crate) decisions: Vec<Decided>,
    /// The policy versions that were decided by lately, each with a classifier that did.
    pub(crate) policy_versions: Vec<(String, String)>,
    /// Messages that no worker will get.
    pub(crate) zombies: u64,
    /// Dead letters that are kept.
    pub(crate) dead_letters: u64,
    /// Dead letters of the last ten minutes.
    pub(crate) new_dead_letters: u64,
}

/// What classifiers have not decided yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Intake {
    /// Tasks that wait for a classifier.
    pub(crate) waiting: u64,
    /// Tasks in the hands of classifiers.
    pub(crate) in_flight: u64,
    /// How many it holds before it refuses.
    pub(crate) capacity: u64,
    /// Tasks decided a second, over the window of rates.
    pub(crate) decided_per_s: Option<f64>,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Lane {
    /// Its name.
    pub(crate) name: LaneName,
    /// Its zone.
    pub(crate) zone: Zone,
    /// Tasks that wait for a worker.
    pub(crate) waiting: u64,
    /// Tasks in the hands of workers, those waiting for another attempt included.
    pub(crate) in_flight: u64,
    /// Tasks of the fullest priority, waiting or in flight.
    pub(crate) fullest: u64,
    /// How many of one priority it holds before classifiers are slowed down.
    pub(crate) capacity: u64,
    /// Whether it is paused.
    pub(crate) is_paused: bool,
    /// Seconds since its oldest task was put on it; none where it is empty.
    pub(crate) oldest_s: Option<f64>,
    /// Tasks put on it a second. None until two looks have been taken.
    pub(crate) arrivals_per_s: Option<f64>,
    /// Tasks that left it a second.
    pub(crate) served_per_s: Option<f64>,
    /// Live workers that take tasks.
    pub(crate) workers: u32,
    /// Tasks that they can run at once.
    pub(crate) slots: u32,
    /// Tasks that they run now.
    pub(crate) busy: u32,
    /// Seconds that a task which is put on it now will wait, at the rate of now; none where nothing is served.
    pub(crate) wait_s: Option<f64>,
    /// Seconds until nothing waits at the rates of now; none where it grows, or nothing waits.
    pub(crate) drain_s: Option<f64>,
    /// Seconds until its fullest priority is full at the rates of now; none where it does not grow.
    pub(crate) full_s: Option<f64>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Worker {
    /// Its name.
    pub(crate) name: String,
    /// Its lane.
    pub(crate) lane: LaneName,
    /// Its zone.
    pub(crate) zone: Zone,
    /// Its host.
    pub(crate) host: String,
    /// Its process there.
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
    /// What it serves.
    pub(crate) models: Vec<ModelName>,
    /// What it is doing.
    pub(crate) state: WorkerState,
    /// How it is.
    pub(crate) health: WorkerHealth,
    /// Tasks it can run at once.
    pub(crate) slots: u32,
    /// Tasks it runs now.
    pub(crate) busy: u32,
    /// Tasks it has finished.
    pub(crate) finished: u64,
    /// Seconds since it was last heard.
    pub(crate) heard_s: f64,
    /// Seconds since it last got on with the tasks that it has; 0 without any.
    pub(crate) stalled_s: u64,
    /// Seconds that its clock is ahead of this one's; below 0: behind.
    pub(crate) clock_ahead_s: f64,
    /// When it started.
    pub(crate) started_at: Timestamp,
}

/// How a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkerHealth {
    /// It is heard, and gets on with what it has.
    Alive,
    /// It is heard, has tasks, and has not got on with any of them for too long.
    Hung,
    /// It is not heard any more and has not said goodbye.
    Silent,
}

/// One budget, or the spend of all where there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Budget {
    /// Whose; none: of all agents together.
    pub(crate) agent: Option<AgentName>,
    /// `day` or `week`.
    pub(crate) window: &'static str,
    /// Dollars that are spent.
    pub(crate) spent_usd: f64,
    /// Dollars that are set aside for calls under way.
    pub(crate) reserved_usd: f64,
    /// Dollars that may be spent; none: no bound.
    pub(crate) limit_usd: Option<f64>,
    /// Dollars by the end of the window at the pace so far.
    pub(crate) expected_usd: f64,
    /// When the window ends.
    pub(crate) ends_at: Timestamp,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Decided {
    /// The task's agent.
    pub(crate) agent: AgentName,
    /// The task.
    pub(crate) task_id: TaskId,
    /// Where it went.
    pub(crate) lane: LaneName,
    /// The model that is to run it.
    pub(crate) model: ModelName,
    /// `private` or `public`.
    pub(crate) sensitivity: &'static str,
    /// The rule, one word.
    pub(crate) reason: &'static str,
    /// The same for people.
    pub(crate) explanation: String,
    /// How hard it looks, 0 to 1.
    pub(crate) complexity: f64,
    /// Policy in force.
    pub(crate) policy_version: String,
    /// Which classifier decided.
    pub(crate) classifier: String,
    /// When.
    pub(crate) at: Timestamp,
}
