//! More classifiers: how fast a full intake is routed. No worker takes anything away, so the lane fills.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use trilane_broker::topology::{LANE_LOCAL, TASKS};

use super::load;
use super::rate;
use super::stand::{Ground, Stand};

/// Between two looks at the intake; seldom, because a look costs the server something.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The longest that a row may take.
const LONGEST_ROW: Duration = Duration::from_secs(240);

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Classifier processes.
    pub classifiers: usize,
    /// By how much their connections hold back whatever goes through them.
    pub distance_ms: u128,
    /// Tasks in the intake when they started.
    pub tasks: usize,
    /// Routed while steady, by the server's clock: between the first tenth and the last on the lane.
    pub tasks_per_s: f64,
    /// Neither in the intake nor on the lane.
    pub lost: usize,
    /// On the lane more often than once.
    pub doubled: usize,
}

/// Runs one row, with so many tasks for each classifier.
///
/// # Errors
/// Where something cannot be started, or routing takes too long.
pub async fn row(
    ground: &Ground,
    classifiers: usize,
    tasks_each: usize,
    distance: Duration,
) -> anyhow::Result<Row> {
    let distance_ms = distance.as_millis();
    let mut stand = Stand::start(ground, &format!("classifiers-{classifiers}-{distance_ms}")).await?;
    let acknowledged = load::publish(&stand, classifiers * tasks_each).await?.len();
    stand.add_classifiers(classifiers, distance).await?;
    let on_lane = routed(&stand).await?;
    let (first, last) = rate::steady_positions(on_lane);
    let span = stand.reader.stored_apart(LANE_LOCAL, first as u64, last as u64).await?;
    Ok(Row {
        classifiers,
        distance_ms,
        tasks: acknowledged,
        tasks_per_s: rate::per_second(last - first, span).context("too few tasks were routed to speak of")?,
        lost: acknowledged.saturating_sub(on_lane),
        doubled: on_lane.saturating_sub(acknowledged),
    })
}

/// Waits until the intake is empty; says how many tasks are on lanes then.
async fn routed(stand: &Stand) -> anyhow::Result<usize> {
    let deadline = Instant::now() + LONGEST_ROW;
    loop {
        let queues = stand.reader.queues().await?;
        let messages = |name| {
            queues.iter().find(|queue| queue.stream == name).map_or(0, |queue| queue.messages as usize)
        };
        if messages(TASKS) == 0 {
            return Ok(messages(LANE_LOCAL));
        }
        if Instant::now() > deadline {
            bail!("{} tasks are still not routed; see the logs (--keep DIR)", messages(TASKS));
        }
        sleep(LOOK_INTERVAL).await;
    }
}
