//! Workers that join and leave in the middle of the work.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::time::Instant;

use super::growth::patience;
use super::load::{self, Fate};
use super::model::Asked;
use super::rate;
use super::stand::{Ground, Stand};

/// How long the model sleeps where a worker is to hand back what it has: until long after the worker has left.
const LONG_SLEEP: Duration = Duration::from_secs(300);

/// A second worker joins the only one, and leaves again.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Tasks a second of the first worker alone.
    pub alone_per_s: f64,
    /// From the start of the second's process until it runs its first task.
    pub first_task_s: f64,
    /// Until all its slots are busy.
    pub all_slots_s: f64,
    /// Tasks a second of both.
    pub both_per_s: f64,
    /// From SIGTERM until the second has ended.
    pub left_s: f64,
    /// Tasks a second of the first, alone again.
    pub alone_again_per_s: f64,
    /// What became of the tasks.
    pub fate: Fate,
}

/// A worker leaves in the middle of tasks that outlast its grace time, and another one stands by.
#[derive(Debug, Clone, Serialize)]
pub struct HandBack {
    /// Tasks that it held.
    pub held: usize,
    /// Its grace time.
    pub grace_s: f64,
    /// From when it let a task go until the model was asked for it by the other; the longest of all.
    pub elsewhere_s: f64,
    /// The same from SIGTERM on.
    pub since_sigterm_s: f64,
    /// What became of the tasks.
    pub fate: Fate,
}

/// Lets a second worker join the only one, without configuration, and leave again.
///
/// # Errors
/// Where something cannot be started, or a worker does not do what it should.
pub async fn join_and_leave(ground: &Ground) -> anyhow::Result<Change> {
    let mut stand = Stand::start(ground, "join-and-leave").await?;
    stand.add_classifiers(1, Duration::ZERO).await?;
    stand.add_workers(1)?;
    stand.wait_for_workers().await?;

    // One alone, two together, and one alone again; the rest is for what passes until a worker is settled.
    let stretch = ground.tasks_per_worker / 2;
    let tasks = 6 * stretch;
    let patience = patience(ground, 1, tasks);
    let begun = Instant::now();
    let acknowledged = load::publish(&stand, tasks).await?;
    busy(&stand, ground.slots, begun, patience).await?;
    let settled = Instant::now();
    heard(&stand, stretch, tasks, patience).await;

    let joins = Instant::now();
    stand.model.forget_peak();
    stand.add_workers(1)?;
    let first_task_s = busy(&stand, ground.slots + 1, joins, patience).await?;
    let all_slots_s = busy(&stand, 2 * ground.slots, joins, patience).await?;
    let joined = Instant::now();
    heard(&stand, 2 * stretch, tasks, patience).await;

    let leaves = Instant::now();
    stand.dismiss(1).await?;
    let left = Instant::now();
    stand.listener.wait_for(tasks, patience).await;
    let times = load::times(&stand, begun);
    let between = |from: Instant, to: Instant| {
        rate::between(&times, from - begun, to - begun)
            .context("a stretch has no results to speak of; more --tasks-per-worker make it longer")
    };
    Ok(Change {
        alone_per_s: between(settled, joins)?,
        first_task_s,
        all_slots_s,
        both_per_s: between(joined, leaves)?,
        left_s: (left - leaves).as_secs_f64(),
        alone_again_per_s: between(left, Instant::now())?,
        fate: load::fate(&stand, &acknowledged).await?,
    })
}

/// Waits for so many more results, or for all of them.
async fn heard(stand: &Stand, more: usize, all: usize, patience: Duration) {
    let wanted = stand.listener.announcements().len() + more;
    stand.listener.wait_for(wanted.min(all), patience).await;
}

/// Seconds from `since` until the model runs so many at once.
async fn busy(stand: &Stand, slots: usize, since: Instant, patience: Duration) -> anyhow::Result<f64> {
    if !stand.model.wait_for_peak(slots, patience).await {
        bail!("the model was never asked for {slots} tasks at once; see the logs (--keep DIR)");
    }
    Ok(since.elapsed().as_secs_f64())
}

/// Lets a worker leave whose tasks outlast its grace time.
///
/// # Errors
/// Where something cannot be started, or a worker does not do what it should.
pub async fn hand_back(ground: &Ground) -> anyhow::Result<HandBack> {
    let mut stand = Stand::start(ground, "hand-back").await?;
    stand.model.set_sleep(LONG_SLEEP);
    stand.add_classifiers(1, Duration::ZERO).await?;
    stand.add_workers(1)?;
    stand.wait_for_workers().await?;
    let patience = patience(ground, 1, ground.slots);

    // Held whole by the first, since there is no other yet.
    let acknowledged = load::publish(&stand, ground.slots).await?;
    busy(&stand, ground.slots, Instant::now(), patience).await?;
    stand.add_workers(1)?;
    stand.wait_for_workers().await?;
    // Only what is asked from now on: the other's attempts.
    stand.model.set_sleep(ground.sleep);
    let leaves = Instant::now();
    stand.dismiss(0).await?;
    stand.listener.wait_for(ground.slots, patience).await;

    let moves = moves(&stand.model.asked());
    let longest = |length: &dyn Fn(&Move) -> Duration| {
        moves.iter().map(length).max().map(|length| length.as_secs_f64()).unwrap_or_default()
    };
    Ok(HandBack {
        held: moves.len(),
        grace_s: ground.grace().as_secs_f64(),
        elsewhere_s: longest(&|one| one.taken.saturating_duration_since(one.let_go)),
        since_sigterm_s: longest(&|one| one.taken.saturating_duration_since(leaves)),
        fate: load::fate(&stand, &acknowledged).await?,
    })
}

/// A task that went from one worker to another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Move {
    let_go: Instant,
    taken: Instant,
}

fn moves(asked: &[Asked]) -> Vec<Move> {
    let mut by_task: BTreeMap<usize, Vec<&Asked>> = BTreeMap::new();
    for one in asked {
        by_task.entry(one.task).or_default().push(one);
    }
    let pairs = by_task.values().flat_map(|times| times.windows(2));
    pairs.filter_map(|pair| Some(Move { let_go: pair[0].ended?, taken: pair[1].begun })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_from_the_end_of_one_attempt_to_the_next() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let asked = |task, from, to: Option<u64>| Asked { task, begun: at(from), ended: to.map(at) };
        let log = [asked(1, 0, Some(10)), asked(2, 0, Some(12)), asked(1, 15, Some(40)), asked(3, 5, None)];
        assert_eq!(moves(&log), [Move { let_go: at(10), taken: at(15) }]);
    }
}
