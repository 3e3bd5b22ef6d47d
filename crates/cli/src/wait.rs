//! Waits for the results of tasks: heard as the server announces them, and looked up now and then.
//!
//! A producer's rights are enough: nothing here asks for more than its announcements and direct looks at results.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Interval, MissedTickBehavior};
use trilane_broker::Broker;
use trilane_broker::browse::SubscribeError;
use trilane_protocol::{AgentName, TaskId, TaskResult};

/// Between two look-ups of what was not heard.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(3);

/// Tasks that are looked up at once.
const LOOK_UPS_PER_ROUND: usize = 32;

/// Agents whose results are listened for; those of further ones are looked up only.
const MAX_AGENTS_HEARD: usize = 64;

/// How long somebody waits before being told where to look.
const PATIENCE: Duration = Duration::from_secs(10);

/// A task whose result is waited for.
pub(crate) type Key = (AgentName, TaskId);

/// The results that are still to come.
pub(crate) struct Awaited {
    broker: Broker,
    outstanding: BTreeSet<Key>,
    heard: BoxStream<'static, TaskResult>,
    look_ups: Interval,
    /// The last task that was looked up; the next round goes on behind it.
    looked_up: Option<Key>,
}

impl Awaited {
    /// Waits for `tasks`. To be called before they are published, so that no announcement is missed.
    ///
    /// # Errors
    /// [`SubscribeError`] where results cannot be listened for.
    pub(crate) async fn start(
        broker: &Broker,
        tasks: impl IntoIterator<Item = Key>,
    ) -> Result<Self, SubscribeError> {
        let outstanding: BTreeSet<Key> = tasks.into_iter().collect();
        let mut heard = Vec::new();
        for (agent, task_id) in subscriptions(&outstanding) {
            heard.push(broker.announced_results(agent, task_id).await?.boxed());
        }
        let heard = stream::select_all(heard).chain(stream::pending()).boxed();
        let mut look_ups = tokio::time::interval(LOOK_UP_INTERVAL);
        look_ups.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { broker: broker.clone(), outstanding, heard, look_ups, looked_up: None })
    }

    /// The next result; `None` where all have come.
    pub(crate) async fn next(&mut self) -> Option<TaskResult> {
        while !self.outstanding.is_empty() {
            let Self { broker, outstanding, heard, look_ups, looked_up } = self;
            // What is heard cuts a look-up short: it is only there for what was not.
            let found = tokio::select! {
                biased;
                heard = heard.next() => heard,
                found = look_up(broker, outstanding, look_ups, looked_up) => found,
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
}

/// Looks some tasks up, each round others, until one has a result or the server does not say.
async fn look_up(
    broker: &Broker,
    outstanding: &BTreeSet<Key>,
    look_ups: &mut Interval,
    looked_up: &mut Option<Key>,
) -> Option<TaskResult> {
    look_ups.tick().await;
    for (agent, task_id) in round(outstanding, looked_up.as_ref()) {
        *looked_up = Some((agent.clone(), task_id.clone()));
        match broker.result(&agent, &task_id).await {
            Ok(None) => {}
            Ok(found) => return found,
            Err(_) => break,
        }
    }
    None
}

/// Says after a while where to look. Never ends, so that it can run beside what is waited for.
pub(crate) async fn say_where_to_look() -> std::convert::Infallible {
    tokio::time::sleep(PATIENCE).await;
    eprintln!("still waiting; `trilane lanes` shows what waits");
    std::future::pending().await
}

/// What to listen for: the one task of an agent, or all of an agent's.
fn subscriptions(tasks: &BTreeSet<Key>) -> Vec<(&AgentName, Option<&TaskId>)> {
    let mut wanted: Vec<(&AgentName, Option<&TaskId>)> = Vec::new();
    for (agent, task_id) in tasks {
        let heard = wanted.len();
        match wanted.last_mut() {
            Some((last, one)) if *last == agent => *one = None,
            _ if heard == MAX_AGENTS_HEARD => break,
            _ => wanted.push((agent, Some(task_id))),
        }
    }
    wanted
}

/// The next tasks to look up: those behind `last`, then from the front.
fn round(outstanding: &BTreeSet<Key>, last: Option<&Key>) -> Vec<Key> {
    let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
    let rest = outstanding.range((behind, Bound::Unbounded));
    let front = last.map(|last| outstanding.range(..=last)).into_iter().flatten();
    rest.chain(front).take(LOOK_UPS_PER_ROUND).cloned().collect()
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
    fn one_task_is_listened_for_alone_and_several_of_an_agent_together() {
        let tasks = [key("a", 1), key("b", 1), key("b", 2), key("c", 1)].into();
        let wanted = subscriptions(&tasks);
        let shown: Vec<_> = wanted.iter().map(|(agent, one)| (agent.as_str(), one.is_some())).collect();
        assert_eq!(shown, [("a", true), ("b", false), ("c", true)]);
    }

    #[test]
    fn so_many_agents_are_listened_for_and_no_more() {
        let tasks = (0..100).map(|index| key(&format!("agent{index:03}"), 1)).collect();
        assert_eq!(subscriptions(&tasks).len(), MAX_AGENTS_HEARD);
    }
}
