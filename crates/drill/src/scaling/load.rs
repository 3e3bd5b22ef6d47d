//! What a row publishes, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trilane_protocol::{AgentName, Encoding, Status, TaskId};

use super::model::Asked;
use super::stand::Stand;
use crate::audit::{Key, StoredResult};
use crate::markers::Marker;
use crate::producers::{self, Published};
use crate::tasks::{Kind, PlannedTask};

/// Whose tasks they are.
const AGENT: &str = "scaling";

/// What became of the tasks of a row. All but the first and the last are 0 where the fleet keeps its promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// Tasks that were published and acknowledged.
    pub tasks: usize,
    /// Of those, without a result.
    pub lost: usize,
    /// With more than one.
    pub doubled: usize,
    /// With a result that is no answer.
    pub unanswered: usize,
    /// That the model was asked for more than once; each is answered once all the same.
    pub second_attempts: usize,
}

/// Publishes `count` tasks, as any number of producers would.
///
/// # Errors
/// Where a producer cannot connect.
pub async fn publish(stand: &Stand, count: usize) -> anyhow::Result<Vec<Key>> {
    let tasks: Arc<Vec<_>> = Arc::new((0..count).map(planned).collect());
    let published = Arc::new(Published::default());
    let (counting, _counted) = watch::channel(0);
    let (_release, released) = watch::channel(count);
    producers::run(
        Arc::clone(&tasks),
        &stand.door,
        Arc::clone(&published),
        counting,
        released,
        CancellationToken::new(),
    )
    .await?;
    let acknowledged = published.acknowledged();
    Ok(acknowledged.iter().filter_map(|acknowledged| tasks[acknowledged.task].key.clone()).collect())
}

/// When results were announced, from `begun` on, in order.
pub fn times(stand: &Stand, begun: Instant) -> Vec<Duration> {
    let announcements = stand.listener.announcements();
    announcements.iter().map(|announcement| announcement.at.saturating_duration_since(begun)).collect()
}

/// What became of those that were `acknowledged`, now that nothing happens any more.
///
/// # Errors
/// Where the results cannot be read.
pub async fn fate(stand: &Stand, acknowledged: &[Key]) -> anyhow::Result<Fate> {
    Ok(judge(acknowledged, &stand.reader.results().await?, &stand.listener.heard(), &stand.model.asked()))
}

fn judge(
    acknowledged: &[Key],
    stored: &[StoredResult],
    announced: &BTreeMap<String, u64>,
    asked: &[Asked],
) -> Fate {
    let mut results: BTreeMap<&Key, Vec<Option<Status>>> = BTreeMap::new();
    for result in stored {
        if let Some(key) = &result.key {
            results.entry(key).or_default().push(result.status);
        }
    }
    let is_doubled = |key: &Key| {
        let times = announced.get(&format!("results.{}.{}", key.0, key.1)).copied().unwrap_or_default();
        times > 1 || results.get(key).is_some_and(|results| results.len() > 1)
    };
    let is_unanswered = |key: &Key| {
        results.get(key).is_some_and(|results| results.iter().any(|one| *one != Some(Status::Done)))
    };
    let count = |holds: &dyn Fn(&Key) -> bool| acknowledged.iter().filter(|key| holds(key)).count();
    let asked_tasks: BTreeSet<_> = asked.iter().map(|asked| asked.task).collect();
    Fate {
        tasks: acknowledged.len(),
        lost: count(&|key| !results.contains_key(key)),
        doubled: count(&is_doubled),
        unanswered: count(&is_unanswered),
        second_attempts: asked.len() - asked_tasks.len(),
    }
}

fn planned(index: usize) -> PlannedTask {
    let id = format!("task-{index}");
    let prompt = format!("Please sort item {} into its shelf.", Marker { task: index, step: 0 });
    let payload = json!({"id": id, "prompt": prompt, "complexity": 0.1});
    PlannedTask {
        kind: Kind::Easy,
        subject: format!("tasks.{AGENT}"),
        message_id: id.clone(),
        encoding: Some(Encoding::Json),
        payload: payload.to_string().into_bytes(),
        key: AgentName::new(AGENT).ok().zip(TaskId::new(id).ok()),
        private: Vec::new(),
        answer: None,
        may_end: &[Status::Done],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: usize) -> Key {
        planned(index).key.unwrap()
    }

    fn result(index: usize, status: Status) -> StoredResult {
        StoredResult { key: Some(key(index)), status: Some(status), text: None, code: None }
    }

    fn asked(task: usize) -> Asked {
        Asked { task, begun: Instant::now(), ended: None }
    }

    #[test]
    fn what_went_wrong_is_counted() {
        let acknowledged = [key(0), key(1), key(2), key(3), key(4)];
        let stored = [
            result(0, Status::Done),
            result(1, Status::Done),
            result(1, Status::Done),
            result(2, Status::Failed),
            result(4, Status::Done),
        ];
        let announced = BTreeMap::from([("results.scaling.task-4".to_owned(), 2)]);
        let fate = judge(&acknowledged, &stored, &announced, &[asked(0), asked(1), asked(1), asked(1)]);
        assert_eq!(fate, Fate { tasks: 5, lost: 1, doubled: 2, unanswered: 1, second_attempts: 2 });
    }
}
