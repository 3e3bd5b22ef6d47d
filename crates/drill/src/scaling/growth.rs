//! More workers: so many times the tasks, in the same time.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::time::Instant;

use super::load::{self, Fate};
use super::rate;
use super::stand::{Ground, Stand};

/// The longest that a row may take beyond what it would take at the ideal, so many times that and so much on top.
const PATIENCE_FACTOR: f64 = 8.0;
const PATIENCE: Duration = Duration::from_secs(60);

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Worker processes.
    pub workers: usize,
    /// Tasks that they can run at once.
    pub slots: usize,
    /// From the first publish to the last result.
    pub seconds: f64,
    /// While steady: between the first tenth of the results and the last.
    pub tasks_per_s: f64,
    /// What the slots could do on this model if nothing else took any time.
    pub ideal_tasks_per_s: f64,
    /// What became of the tasks.
    pub fate: Fate,
}

/// How long `tasks` may take on `workers`.
pub fn patience(ground: &Ground, workers: usize, tasks: usize) -> Duration {
    let ideal = tasks as f64 / rate::ideal(workers * ground.slots, ground.sleep);
    Duration::from_secs_f64(ideal * PATIENCE_FACTOR) + PATIENCE
}

/// Runs one row: one classifier, and so many workers.
///
/// # Errors
/// Where something cannot be started, or there are no results to speak of.
pub async fn row(ground: &Ground, workers: usize) -> anyhow::Result<Row> {
    let mut stand = Stand::start(ground, &format!("workers-{workers}")).await?;
    stand.add_classifiers(1, Duration::ZERO).await?;
    stand.add_workers(workers)?;
    stand.wait_for_workers().await?;

    let tasks = workers * ground.tasks_per_worker;
    let begun = Instant::now();
    let acknowledged = load::publish(&stand, tasks).await?;
    stand.listener.wait_for(tasks, patience(ground, workers, tasks)).await;
    let times = load::times(&stand, begun);
    let slots = workers * ground.slots;
    Ok(Row {
        workers,
        slots,
        seconds: times.last().map(Duration::as_secs_f64).unwrap_or_default(),
        tasks_per_s: rate::steady(&times)
            .context("there are no results to speak of; see the logs (--keep DIR)")?,
        ideal_tasks_per_s: rate::ideal(slots, ground.sleep),
        fate: load::fate(&stand, &acknowledged).await?,
    })
}
