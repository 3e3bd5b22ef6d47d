//! What the end of a task counts as. Counted once, by whoever has stored its result: a worker of the local zone, the
//! classifier for the cloud zone, the monitor for what was stuck.

use std::time::Duration;

use trilane_protocol::TaskResult;

use super::catalogue::{TASK_RUN, TASK_WAIT, TASKS};
use super::labels::{Agent, Lane};

/// Counts a task that has its result. Those that no worker has run have neither waited for one nor run.
pub fn count_finished(result: &TaskResult) {
    let lane = result.lane.as_ref().map_or_else(Lane::intake, Lane::of);
    TASKS.add(1, (lane.clone(), result.status.into(), Agent::of(&result.agent)));
    if result.lane.is_some() {
        let timing = result.timing_ms;
        let waited = Duration::from_millis(timing.queued.saturating_add(timing.waited));
        TASK_WAIT.record(waited.as_secs_f64(), lane.clone());
        TASK_RUN.record(Duration::from_millis(timing.run).as_secs_f64(), lane);
    }
}
