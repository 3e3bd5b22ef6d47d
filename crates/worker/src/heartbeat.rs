//! Says every few seconds that this worker lives and what it is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use trilane_broker::Broker;
use trilane_protocol::heartbeat::{Heartbeat, WorkerState};
use trilane_service::metrics::catalogue::{WORKER_SLOTS, WORKER_SLOTS_BUSY};
use trilane_service::metrics::labels::Lane;

/// What a worker is doing, counted as it goes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    busy: AtomicU32,
    shadows: AtomicU32,
    finished: AtomicU64,
    is_draining: AtomicBool,
    progress: Progress,
}

/// When the worker last got on with anything that it has. Cheap to clone, and cheap to tell: once a token.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    since: Instant,
    /// Milliseconds after `since`.
    last_ms: Arc<AtomicU64>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { since: Instant::now(), last_ms: Arc::default() }
    }
}

impl Progress {
    /// Says that something was got on with.
    pub(crate) fn made(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn stalled(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A task in progress; counts as finished when dropped.
pub(crate) struct InProgress(Arc<Counters>);

/// A shadow in progress. It takes a slot, and is no task that anybody counts.
pub(crate) struct ShadowInProgress(Arc<Counters>);

impl Activity {
    pub(crate) fn start_task(&self) -> InProgress {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        self.0.progress.made();
        InProgress(Arc::clone(&self.0))
    }

    pub(crate) fn start_shadow(&self) -> ShadowInProgress {
        self.0.shadows.fetch_add(1, Ordering::Relaxed);
        ShadowInProgress(Arc::clone(&self.0))
    }

    /// Slots that are taken, by tasks and by shadows.
    pub(crate) fn taken(&self) -> u32 {
        self.0.busy.load(Ordering::Relaxed) + self.0.shadows.load(Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// What an attempt tells of its progress.
    pub(crate) fn progress(&self) -> Progress {
        self.0.progress.clone()
    }

    fn stalled_s(&self) -> u64 {
        let is_idle = self.0.busy.load(Ordering::Relaxed) == 0;
        if is_idle { 0 } else { self.0.progress.stalled().as_secs() }
    }

    fn state(&self) -> WorkerState {
        if self.0.is_draining.load(Ordering::Relaxed) { WorkerState::Draining } else { WorkerState::Ready }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.progress.made();
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for ShadowInProgress {
    fn drop(&mut self) {
        self.0.shadows.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Beats until `stopped`, then takes the worker's key away.
pub(crate) async fn beat(
    broker: Broker,
    identity: Heartbeat,
    activity: Activity,
    every: Duration,
    stopped: CancellationToken,
) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {
                let heartbeat = now(&identity, &activity);
                show(&heartbeat);
                broker.beat(&heartbeat).await;
            }
            () = stopped.cancelled() => return broker.leave(&identity).await,
        }
    }
}

fn show(heartbeat: &Heartbeat) {
    WORKER_SLOTS.set(heartbeat.slots.into(), Lane::of(&heartbeat.lane));
    WORKER_SLOTS_BUSY.set(heartbeat.busy.into(), Lane::of(&heartbeat.lane));
}

fn now(identity: &Heartbeat, activity: &Activity) -> Heartbeat {
    Heartbeat {
        state: activity.state(),
        busy: activity.0.busy.load(Ordering::Relaxed),
        finished: activity.0.finished.load(Ordering::Relaxed),
        stalled_s: activity.stalled_s(),
        at: Timestamp::now(),
        ..identity.clone()
    }
}
