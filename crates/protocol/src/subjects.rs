//! Every subject name, in one place.

use sha2::{Digest, Sha256};

use crate::names::{AgentName, LaneName, TaskId};
use crate::task::Priority;

/// All tasks.
pub const TASKS: &str = "tasks.*";
/// All that workers of the local zone hand back.
pub const REROUTES: &str = "reroute.*";
/// All results as they are stored.
pub const RESULTS: &str = "result.*.*";
/// What the server announces to subscribers once it is stored, and under which subject: `result.a.1` as
/// `results.a.1`. A publish that it refuses is never announced, so subscribers see one result a task too.
pub const ANNOUNCED: (&str, &str) = ("result.>", "results.>");
/// All partial text.
pub const PARTIALS: &str = "partial.*.*";
/// All alerts.
pub const ALERTS: &str = "alert.*.*";
/// All that workers of the cloud zone hand back.
pub const RETURNED: &str = "return.*";
/// Everything that producers no longer want.
pub const CANCELS: &str = "cancel.*.*";
/// Everything that workers need not run any more.
pub const CANCELLED: &str = "cancelled.*";
/// The whole ledger.
pub const SPENDING: &str = "spend.*.*";
/// Tasks that are not due yet, as schedules.
pub const LATER: &str = "later.*";
/// Tasks that have become due.
pub const DUE: &str = "due.*";
/// All verdicts on results.
pub const FEEDBACK: &str = "feedback.*.*";
/// Public cloud tasks that a local lane is to try once more.
pub const SHADOWS: &str = "shadow.*";
/// What local lanes would have answered.
pub const SHADOWED: &str = "shadowed.*.*";
/// What the learner keeps of each task that was routed, to learn from once its outcome is known.
pub const EXAMPLES: &str = "example.*.*";
/// How good answers were, as the learner has taken it.
pub const OUTCOMES: &str = "outcome.*.*";
/// The whole routing log.
pub const ROUTES: &str = "route.*";
/// All dead letters.
pub const DEAD: &str = "dead.*";
/// Where the server tells that it has delivered a message as often as a consumer allows, and never will again.
pub const MAX_DELIVERIES: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>";
/// Where a message dies that never reached a lane.
pub const INTAKE: &str = "intake";

/// Bytes of the hash that stands for a cancelled task: enough that no two tasks share one.
const CANCELLED_HASH_BYTES: usize = 16;

/// Where an agent publishes its tasks.
pub fn task(agent: &AgentName) -> String {
    format!("tasks.{agent}")
}

/// Where workers of the local zone hand back an agent's task.
pub fn reroute(agent: &AgentName) -> String {
    format!("reroute.{agent}")
}

/// Where workers of the cloud zone hand back an agent's task, or how it ended.
pub fn returned(agent: &AgentName) -> String {
    format!("return.{agent}")
}

/// Where a task is cancelled.
pub fn cancel(agent: &AgentName, task_id: &TaskId) -> String {
    format!("cancel.{agent}.{task_id}")
}

/// Where workers hear that a task is cancelled. By a hash of its name, since the cloud zone hears it too.
pub fn cancelled(agent: &AgentName, task_id: &TaskId) -> String {
    let digest = Sha256::digest(format!("{agent}/{task_id}"));
    let hash: String = digest.iter().take(CANCELLED_HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("cancelled.{hash}")
}

/// Where the result of a task is stored; subscribers get it on `results.<agent>.<task id>`.
pub fn result(agent: &AgentName, task_id: &TaskId) -> String {
    format!("result.{agent}.{task_id}")
}

/// All stored results of one agent.
pub fn results_of(agent: &AgentName) -> String {
    format!("result.{agent}.*")
}

/// Where the server announces stored results of one agent: of one task, or of all.
pub fn announced(agent: &AgentName, task_id: Option<&TaskId>) -> String {
    format!("results.{agent}.{}", task_id.map_or("*", TaskId::as_str))
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

/// Where a classifier logs its decisions.
pub fn route(classifier: &str) -> String {
    format!("route.{classifier}")
}

/// Where a message dies: a lane, or [`INTAKE`].
pub fn dead(place: &str) -> String {
    format!("dead.{place}")
}

/// Where the spend of a task is booked.
pub fn spend(agent: &AgentName, task_id: &TaskId) -> String {
    format!("spend.{agent}.{task_id}")
}

/// Where a verdict on the result of a task is given.
pub fn feedback(agent: &AgentName, task_id: &TaskId) -> String {
    format!("feedback.{agent}.{task_id}")
}

/// Where the learner asks for a shadow of an agent's task.
pub fn shadow(agent: &AgentName) -> String {
    format!("shadow.{agent}")
}

/// Where the answer of a task's shadow is kept.
pub fn shadowed(agent: &AgentName, task_id: &TaskId) -> String {
    format!("shadowed.{agent}.{task_id}")
}

/// Where what can be learned from a task is kept until its outcome is known.
pub fn example(agent: &AgentName, task_id: &TaskId) -> String {
    format!("example.{agent}.{task_id}")
}

/// Where it is kept how good the answers to a task were.
pub fn outcome(agent: &AgentName, task_id: &TaskId) -> String {
    format!("outcome.{agent}.{task_id}")
}

/// Where the classifier puts shadows for a lane.
pub fn lane_shadow(lane: &LaneName) -> String {
    format!("lane.{lane}.shadow")
}

/// Whether a shadow lies there, on a lane or where it was asked for: what lies there is no task.
pub fn is_of_a_shadow(subject: &str) -> bool {
    let on_lane = subject.strip_prefix("lane.").and_then(|rest| rest.split_once('.'));
    subject.starts_with("shadow.") || on_lane.is_some_and(|(_, kind)| kind == "shadow")
}

/// Where the monitor keeps how each of its alerts began and ended.
pub const ALERTED: &str = "alerted.*.*";

/// Where the monitor keeps how an alert began and ended.
pub fn alerted(kind: &str, place: &str) -> String {
    format!("alerted.{kind}.{place}")
}

/// Where an alert of a kind is raised for a lane, or for [`INTAKE`].
pub fn alert(kind: &str, place: &str) -> String {
    format!("alert.{kind}.{place}")
}

/// The lane in `lane.<lane>.<priority>`.
pub fn lane_of(subject: &str) -> Option<LaneName> {
    let (lane, _) = subject.strip_prefix("lane.")?.split_once('.')?;
    LaneName::new(lane).ok()
}

/// Where a message waits until it is due.
pub fn later(stream: &str, sequence: u64) -> String {
    format!("later.{stream}-{sequence}")
}

/// Where it comes out when it is.
pub fn due(stream: &str, sequence: u64) -> String {
    format!("due.{stream}-{sequence}")
}

/// The agent and the task in `cancel.<agent>.<task id>`.
pub fn cancelled_task(subject: &str) -> Option<(AgentName, TaskId)> {
    let (agent, task_id) = subject.strip_prefix("cancel.")?.split_once('.')?;
    Some((AgentName::new(agent).ok()?, TaskId::new(task_id).ok()?))
}

/// The agent in `tasks.<agent>`, `reroute.<agent>` or `return.<agent>`.
pub fn agent_of(subject: &str) -> Option<AgentName> {
    let (kind, agent) = subject.split_once('.')?;
    matches!(kind, "tasks" | "reroute" | "return").then(|| AgentName::new(agent).ok()).flatten()
}

/// Whether a worker has handed a message back.
pub fn is_return(subject: &str) -> bool {
    subject.starts_with("reroute.") || subject.starts_with("return.")
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

    #[test]
    fn the_lane_is_read_from_the_subject() {
        assert_eq!(lane_of("lane.local-fast.high").unwrap().as_str(), "local-fast");
        assert_eq!(lane_of("lane.local-fast"), None);
        assert_eq!(lane_of("dead.local-fast.high"), None);
    }

    #[test]
    fn shadows_are_known_by_where_they_lie() {
        let lane = LaneName::new("local-fast").unwrap();
        assert!(is_of_a_shadow(&lane_shadow(&lane)) && is_of_a_shadow("shadow.marketing"));
        for other in ["lane.shadow.low", "lane.local-fast.low", "shadowed.a.b", "tasks.shadow"] {
            assert!(!is_of_a_shadow(other), "{other}");
        }
    }
}
