//! Every subject name, in one place.

use crate::names::{AgentName, LaneName, TaskId};
use crate::task::Priority;

/// All tasks.
pub const TASKS: &str = "tasks.*";
/// All tasks that workers hand back.
pub const REROUTES: &str = "reroute.*";
/// All results as they are stored.
pub const RESULTS: &str = "result.*.*";
/// What the server announces to subscribers once it is stored, and under which subject: `result.a.1` as
/// `results.a.1`. A publish that it refuses is never announced, so subscribers see one result a task too.
pub const ANNOUNCED: (&str, &str) = ("result.>", "results.>");
/// The whole routing log.
pub const ROUTES: &str = "route.*";
/// All dead letters.
pub const DEAD: &str = "dead.*";
/// The whole spend ledger.
pub const SPEND: &str = "spend.*.*";
/// Where a message dies that never reached a lane.
pub const INTAKE: &str = "intake";

/// Where an agent publishes its tasks.
pub fn task(agent: &AgentName) -> String {
    format!("tasks.{agent}")
}

/// Where workers hand back an agent's task.
pub fn reroute(agent: &AgentName) -> String {
    format!("reroute.{agent}")
}

/// Where the result of a task is stored; subscribers get it on `results.<agent>.<task id>`.
pub fn result(agent: &AgentName, task_id: &TaskId) -> String {
    format!("result.{agent}.{task_id}")
}

/// All stored results of one agent.
pub fn results_of(agent: &AgentName) -> String {
    format!("result.{agent}.*")
}

/// Where partial text of a task is published.
pub fn partial(agent: &AgentName, task_id: &TaskId) -> String {
    format!("partial.{agent}.{task_id}")
}

/// Where the classifier puts a task for a lane.
pub fn lane(lane: &LaneName, priority: Priority) -> String {
    format!("lane.{lane}.{}", priority.as_str())
}

/// Everything on one lane.
pub fn lane_all(lane: &LaneName) -> String {
    format!("lane.{lane}.*")
}

/// Where a decision for a lane is logged.
pub fn route(lane: &LaneName) -> String {
    format!("route.{lane}")
}

/// Where a message dies: a lane, or [`INTAKE`].
pub fn dead(place: &str) -> String {
    format!("dead.{place}")
}

/// Where the spend of a task is booked.
pub fn spend(agent: &AgentName, task_id: &TaskId) -> String {
    format!("spend.{agent}.{task_id}")
}

/// The agent in `tasks.<agent>` or `reroute.<agent>`.
pub fn agent_of(subject: &str) -> Option<AgentName> {
    let (kind, agent) = subject.split_once('.')?;
    matches!(kind, "tasks" | "reroute").then(|| AgentName::new(agent).ok()).flatten()
}

/// Whether a message of the TASKS stream was handed back by a worker.
pub fn is_reroute(subject: &str) -> bool {
    subject.starts_with("reroute.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_read_from_the_subject() {
        assert_eq!(agent_of("tasks.marketing").unwrap().as_str(), "marketing");
        assert_eq!(agent_of("reroute.marketing").unwrap().as_str(), "marketing");
        assert_eq!(agent_of("tasks.a.b"), None);
        assert_eq!(agent_of("lane.x"), None);
    }
}
