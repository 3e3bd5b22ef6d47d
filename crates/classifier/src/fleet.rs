//! The state of the fleet as routing needs it: who lives, how many wait, what was spent.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::watch;
use trilane_broker::Broker;
use trilane_broker::depth::Depth;
use trilane_broker::topology::HEARTBEATS_KEPT;
use trilane_broker::workers::{self, WorkerChange, Workers, WorkersError};
use trilane_protocol::heartbeat::{Heartbeat, WorkerState};
use trilane_routing::fleet::{FleetState, LaneState, Spending};
use trilane_service::{Config, Shutdown};

use crate::room;

/// Delay before the bucket is watched again after a fault.
const WATCH_RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long the first look may take. A classifier that knows nothing yet would send every cloud task home.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Watches the fleet; cheap to clone, and reading it is cheap.
#[derive(Debug, Clone)]
pub struct FleetWatch(watch::Receiver<Arc<FleetState>>);

impl FleetWatch {
    /// Starts watching and waits for the first look at the workers.
    ///
    /// # Errors
    /// [`WorkersError`] where the bucket is not there.
    pub async fn start(broker: &Broker, config: &Config, shutdown: &Shutdown) -> Result<Self, WorkersError> {
        let workers = broker.workers().await?;
        let mut watcher = Watcher {
            alive: HashMap::new(),
            spending: Spending { book: Arc::default(), budgets: Arc::new(config.budgets()) },
            depths: HashMap::new(),
            postponed_bytes: 0,
            broker: broker.clone(),
            config: config.clone(),
            silence: config.worker.heartbeat() * HEARTBEATS_KEPT,
        };
        for heartbeat in workers.alive().await? {
            watcher.take(WorkerChange::Alive(Box::new(heartbeat)));
        }
        if tokio::time::timeout(FIRST_LOOK, watcher.look()).await.is_err() {
            tracing::warn!("the depth of the lanes and what was spent are not known yet");
        }
        let (sender, receiver) = watch::channel(Arc::new(watcher.state()));
        let stop = shutdown.begun();
        tokio::spawn(async move {
            tokio::select! {
                () = watcher.run(workers, sender) => {}
                () = stop => {}
            }
        });
        Ok(Self(receiver))
    }

    /// The fleet as last seen.
    pub fn now(&self) -> Arc<FleetState> {
        Arc::clone(&self.0.borrow())
    }
}

struct Watcher {
    /// The last sign of life of each worker, and when it came by this process's own clock.
    alive: HashMap<String, (Heartbeat, Instant)>,
    depths: HashMap<String, Depth>,
    postponed_bytes: u64,
    spending: Spending,
    broker: Broker,
    config: Config,
    silence: Duration,
}

impl Watcher {
    async fn run(&mut self, workers: Workers, sender: watch::Sender<Arc<FleetState>>) {
        loop {
            if let Err(error) = self.watch_once(&workers, &sender).await {
                tracing::warn!(%error, "cannot watch the workers; trying again");
            }
            tokio::time::sleep(WATCH_RETRY_DELAY).await;
        }
    }

    async fn watch_once(
        &mut self,
        workers: &Workers,
        sender: &watch::Sender<Arc<FleetState>>,
    ) -> Result<(), WorkersError> {
        let mut changes = pin!(workers.watch().await?);
        let mut poll = tokio::time::interval(Duration::from_secs(self.config.classifier.lane_poll_s));
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut changed_at = Instant::now();
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(change) => {
                        changed_at = Instant::now();
                        self.take(change);
                    }
                    None => return Ok(()),
                },
                _ = poll.tick() => self.look().await,
            }
            // Either nobody lives, or the watch has died with a restart of the server: a new one will tell.
            if changed_at.elapsed() > self.silence {
                return Ok(());
            }
            let silence = self.silence;
            self.alive.retain(|_, (_, heard_at)| heard_at.elapsed() < silence);
            sender.send_replace(Arc::new(self.state()));
        }
    }

    fn take(&mut self, change: WorkerChange) {
        match change {
            WorkerChange::Alive(heartbeat) => {
                self.alive.insert(workers::key(&heartbeat), (*heartbeat, Instant::now()));
            }
            WorkerChange::Gone(worker) => {
                self.alive.remove(&worker);
            }
        }
    }

    async fn look(&mut self) {
        self.look_at_depths().await;
        self.look_at_the_book().await;
    }

    /// The workers hold every call against the budgets; this only saves tasks the way to a lane that would refuse them.
    async fn look_at_the_book(&mut self) {
        match self.broker.book().await {
            Ok(book) => self.spending.book = Arc::new(book),
            Err(error) => tracing::warn!(%error, "the last known book stays in force"),
        }
    }

    async fn look_at_depths(&mut self) {
        for (name, lane) in &self.config.registry.lanes {
            match self.broker.depth(name, lane.zone).await {
                Ok(depth) => {
                    self.depths.insert(name.to_string(), depth);
                }
                Err(error) => tracing::warn!(%error, "the last known depth stays in force"),
            }
        }
        self.make_room().await;
        self.postponed_bytes = self.broker.postponed_bytes().await.unwrap_or(self.postponed_bytes);
    }

    /// Lets workers have as many tasks as they have room for. Every classifier comes to the same bound.
    async fn make_room(&self) {
        let state = self.state();
        for (name, lane) in &self.config.registry.lanes {
            let Some(Depth { most_in_flight, .. }) = self.depths.get(name.as_str()) else { continue };
            let slots = state.lanes.get(name).map_or(0, |lane| lane.slots);
            let Some(most) = room::wanted(lane.max_in_flight, slots, *most_in_flight) else { continue };
            match self.broker.allow_in_flight(name, lane.zone, most).await {
                Ok(()) => {
                    tracing::info!(lane = %name, slots, most, "workers may have more or fewer tasks in hand");
                }
                Err(error) => tracing::warn!(%error, most, "workers may not have more tasks in hand yet"),
            }
        }
    }

    fn state(&self) -> FleetState {
        let spending = self.spending.clone();
        let mut state =
            FleetState { postponed_bytes: self.postponed_bytes, spending, ..FleetState::default() };
        for name in self.config.registry.lanes.keys() {
            let Depth { waiting, fullest, .. } = self.depths.get(name.as_str()).copied().unwrap_or_default();
            state.lanes.insert(name.clone(), LaneState { waiting, fullest, ..LaneState::default() });
        }
        let ready = self.alive.values().filter(|(heartbeat, _)| heartbeat.state == WorkerState::Ready);
        for (heartbeat, _) in ready {
            // A worker may speak for lanes of its own zone only.
            let zone = self.config.registry.lanes.get(&heartbeat.lane).map(|lane| lane.zone);
            if zone != Some(heartbeat.zone) {
                continue;
            }
            let Some(lane) = state.lanes.get_mut(&heartbeat.lane) else { continue };
            lane.slots += heartbeat.slots;
            lane.served.extend(heartbeat.models.iter().cloned());
        }
        state
    }
}
