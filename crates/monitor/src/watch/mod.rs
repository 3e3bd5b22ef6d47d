//! Looks at the fleet every few seconds, and listens in between.
//!
//! * [`fleet`]: what was seen, as data
//! * [`look`]: one look at the server
//! * [`roster`]: who works
//! * [`decisions`]: what classifiers have decided lately
//! * [`flow`]: how fast a queue fills and empties
//! * [`picture`]: puts all of it together
//! * [`export`]: the same as gauges for Prometheus

pub(crate) mod decisions;
mod export;
pub(crate) mod fleet;
mod flow;
mod look;
mod picture;
mod roster;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use trilane_broker::Broker;
use trilane_broker::logs::{Entry, Log, ReadError, Start};
use trilane_broker::workers::WorkersError;
use trilane_protocol::chain::RouteSegment;
use trilane_protocol::subjects;
use trilane_service::{Config, Shutdown};

use fleet::Fleet;
use picture::Picture;

/// How far back the routing log is read when a monitor starts, so that its page is not empty.
const FIRST_DECISIONS: SignedDuration = SignedDuration::from_mins(15);

/// Longest wait for one look. A server that does not answer in it counts as silent.
const MAX_LOOK: Duration = Duration::from_secs(10);

/// Delay before what cannot be listened to is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// Looks in a row at which the routing log had gone on unheard, before it is listened to anew.
const MISSED_LOOKS: u32 = 3;

/// Why the watch listens anew.
#[derive(Debug, thiserror::Error)]
enum Deaf {
    #[error(transparent)]
    Workers(#[from] WorkersError),
    #[error(transparent)]
    Routes(#[from] ReadError),
    #[error("a stream of news has ended")]
    Ended,
}

/// Watches until shutdown has begun, and tells what it sees.
pub(crate) async fn keep_watching(
    broker: &Broker,
    config: &Config,
    zombies: watch::Receiver<u64>,
    seen: watch::Sender<Option<Arc<Fleet>>>,
    shutdown: &Shutdown,
) {
    let picture = Picture::new(config);
    let mut watch = Watch {
        broker,
        config,
        picture,
        zombies,
        seen,
        missed: 0,
        heard_until: None,
        replayed_up_to: None,
        is_away: false,
        connects: broker.connects(),
    };
    tokio::select! {
        () = shutdown.begun() => {}
        () = watch.run() => {}
    }
}

struct Watch<'a> {
    broker: &'a Broker,
    config: &'a Config,
    picture: Picture,
    zombies: watch::Receiver<u64>,
    seen: watch::Sender<Option<Arc<Fleet>>>,
    missed: u32,
    /// When the last decision that was heard was stored.
    heard_until: Option<Timestamp>,
    /// How far the routing log reached when this process began.
    replayed_up_to: Option<u64>,
    /// Whether the last look has failed.
    is_away: bool,
    /// How often this process had connected at the last look.
    connects: u64,
}

impl Watch<'_> {
    async fn run(&mut self) {
        loop {
            if let Err(error) = self.listen().await {
                tracing::warn!(%error, "cannot listen to the fleet; trying again");
            }
            // While nobody listens, looking goes on: that is how an absent server is noticed.
            self.look().await;
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn listen(&mut self) -> Result<(), Deaf> {
        let since = self.heard_until.unwrap_or_else(|| Timestamp::now() - FIRST_DECISIONS);
        let beginning = async {
            let reached = match self.replayed_up_to {
                Some(reached) => reached,
                None => self.broker.reach(Log::Routes).await?.last_sequence,
            };
            let workers = self.broker.workers().await?.watch().await?;
            let routes = self.broker.followed(Log::Routes, subjects::ROUTES, Start::At(since)).await?;
            Ok::<_, Deaf>((reached, workers, routes))
        };
        let (reached, workers, routes) =
            tokio::time::timeout(MAX_LOOK, beginning).await.map_err(|_| Deaf::Ended)??;
        let (mut workers, mut routes) = (pin!(workers), pin!(routes));
        self.replayed_up_to = Some(reached);
        let mut interval = tokio::time::interval(self.config.monitor.look());
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.missed = 0;
        loop {
            tokio::select! {
                change = workers.next() => {
                    self.picture.heard(change.ok_or(Deaf::Ended)?, Instant::now(), Timestamp::now());
                }
                entry = routes.next() => self.take(&entry.ok_or(Deaf::Ended)??),
                _ = interval.tick() => {
                    self.look().await;
                    self.missed = if self.picture.has_missed_decisions() { self.missed + 1 } else { 0 };
                    if self.missed >= MISSED_LOOKS {
                        return Err(Deaf::Ended);
                    }
                }
            }
        }
    }

    fn take(&mut self, entry: &Entry) {
        self.heard_until = Some(entry.stored_at);
        match entry.decode::<RouteSegment>() {
            Ok(segment) => {
                let is_new = self.replayed_up_to.is_some_and(|reached| entry.sequence > reached);
                self.picture.decided(entry.sequence, segment, is_new, Instant::now());
            }
            Err(error) => {
                tracing::warn!(%error, entry.sequence, "a segment of the routing log does not read");
            }
        }
    }

    async fn look(&mut self) {
        match tokio::time::timeout(MAX_LOOK, look::look(self.broker, self.config)).await {
            Ok(Ok(look)) => {
                let connects = self.broker.connects();
                let was_cut = std::mem::replace(&mut self.connects, connects) != connects;
                if std::mem::take(&mut self.is_away) || was_cut {
                    self.picture.server_is_back(Instant::now());
                }
                self.picture.looked(look, Instant::now());
            }
            Ok(Err(error)) => {
                self.is_away = true;
                tracing::warn!(%error, "the last look stays in force");
            }
            Err(_) => {
                self.is_away = true;
                tracing::warn!("the server does not answer; the last look stays in force");
            }
        }
        self.picture.swept(*self.zombies.borrow());
        if let Some(fleet) = self.picture.fleet(Instant::now(), Timestamp::now()) {
            export::export(&fleet);
            self.seen.send_replace(Some(Arc::new(fleet)));
        }
    }
}
