//! Waits for the results of tasks that were published: watched as they come, and looked up now and then.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Interval, MissedTickBehavior};
use trilane_broker::Broker;
use trilane_broker::browse::BrowseError;
use trilane_protocol::{AgentName, TaskId, TaskResult};

/// How much earlier than the first publish results are read: the server's clock may be behind ours.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_mins(2);

/// Between two look-ups of what the watch may have missed.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(3);

/// Tasks that are looked up at once.
const LOOK_UPS_PER_ROUND: usize = 32;

/// A task whose result is waited for.
pub(crate) type Key = (AgentName, TaskId);

/// The results that are still to come.
pub(crate) struct Awaited {
    broker: Broker,
    outstanding: BTreeSet<Key>,
    watched: BoxStream<'static, Result<TaskResult, BrowseError>>,
    look_ups: Interval,
    /// The last task that was looked up; the next round goes on behind it.
    looked_up: Option<Key>,
}

impl Awaited {
    /// Waits for `tasks`, the first of which was published at `since`.
    ///
    /// # Errors
    /// [`BrowseError`] where results cannot be read.
    pub(crate) async fn start(
        broker: &Broker,
        tasks: impl IntoIterator<Item = Key>,
        since: Timestamp,
    ) -> Result<Self, BrowseError> {
        let outstanding: BTreeSet<Key> = tasks.into_iter().collect();
        let agent = only_agent(&outstanding);
        let since = since.checked_sub(CLOCK_ALLOWANCE).unwrap_or(since);
        let watched = broker.results_since(agent, since).await?.boxed();
        let mut look_ups = tokio::time::interval(LOOK_UP_INTERVAL);
        look_ups.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { broker: broker.clone(), outstanding, watched, look_ups, looked_up: None })
    }

    /// The next result; `None` where all have come.
    pub(crate) async fn next(&mut self) -> Option<TaskResult> {
        while !self.outstanding.is_empty() {
            let found = tokio::select! {
                Some(result) = self.watched.next() => result.ok(),
                _ = self.look_ups.tick() => self.look_up().await,
            };
            let is_wanted = |result: &TaskResult| {
                self.outstanding.remove(&(result.agent.clone(), result.task_id.clone()))
            };
            if let Some(result) = found.filter(is_wanted) {
                return Some(result);
            }
        }
        None
    }

    /// Looks some tasks up, each round others, until one has a result.
    async fn look_up(&mut self) -> Option<TaskResult> {
        for (agent, task_id) in round(&self.outstanding, self.looked_up.as_ref()) {
            self.looked_up = Some((agent.clone(), task_id.clone()));
            if let Ok(Some(result)) = self.broker.result(&agent, &task_id).await {
                return Some(result);
            }
        }
        None
    }
}

/// The next tasks to look up: those behind `last`, then from the front.
fn round(outstanding: &BTreeSet<Key>, last: Option<&Key>) -> Vec<Key> {
    let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
    let rest = outstanding.range((behind, Bound::Unbounded));
    let front = last.map(|last| outstanding.range(..=last)).into_iter().flatten();
    rest.chain(front).take(LOOK_UPS_PER_ROUND).cloned().collect()
}

/// The agent, where all tasks are of the same.
fn only_agent(tasks: &BTreeSet<Key>) -> Option<&AgentName> {
    let (first, _) = tasks.first()?;
    let (last, _) = tasks.last()?;
    (first == last).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(agent: &str, index: usize) -> Key {
        (AgentName::new(agent).unwrap(), TaskId::new(format!("{index:03}")).unwrap())
    }

    #[test]
    fn rounds_go_through_all_tasks_and_start_again() {
        let tasks: BTreeSet<Key> = (0..40).map(|index| key("a", index)).collect();
        let first = round(&tasks, None);
        assert_eq!((first.len(), &first[0]), (LOOK_UPS_PER_ROUND, &key("a", 0)));
        let second = round(&tasks, first.last());
        assert_eq!(second[..9], [32, 33, 34, 35, 36, 37, 38, 39, 0].map(|index| key("a", index)));
    }

    #[test]
    fn one_agent_is_watched_alone() {
        assert_eq!(only_agent(&[key("a", 1), key("a", 2)].into()).unwrap().as_str(), "a");
        assert_eq!(only_agent(&[key("a", 1), key("b", 1)].into()), None);
        assert_eq!(only_agent(&BTreeSet::new()), None);
    }
}
