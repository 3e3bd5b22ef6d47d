//! The learned policy in force, followed: a new version is loaded, checked and swapped in; one that does not read leaves
//! the last good one where it is. And the bar for the cloud, where a target steers it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use trilane_broker::Broker;
use trilane_broker::policy::PolicyError;
use trilane_protocol::ledger::Book;
use trilane_routing::learned::LearnedScorer;
use trilane_routing::route::Route;
use trilane_routing::snapshot::HAND_MADE;
use trilane_routing::steer::Steering;
use trilane_service::metrics::catalogue::{LEARNED_VERSION, REFUSED_POLICIES};
use trilane_service::{Config, Shutdown};

/// Between two looks at which version is in force: one small message.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long the first look may take. Without it, classifiers that start would decide by the hand-made score while others
/// follow what was learned.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// After how long a version that did not read is tried again: in a cluster a server may answer that is behind.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// Follows the version in force; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PolicyWatch(watch::Receiver<LearnedScorer>);

impl PolicyWatch {
    /// Starts following and waits for the first look.
    pub(crate) async fn start(broker: &Broker, shutdown: &Shutdown) -> Self {
        let (sender, receiver) = watch::channel(LearnedScorer::hand_made());
        let mut follower = Follower { broker: broker.clone(), sender, followed: None, refused: None };
        LEARNED_VERSION.set(0.0, ());
        if tokio::time::timeout(FIRST_LOOK, follower.first_look()).await.is_err() {
            tracing::warn!(
                "it is not known yet which policy is in force; the hand-made score decides meanwhile"
            );
        }
        let stop = shutdown.begun();
        tokio::spawn(async move {
            tokio::select! {
                () = follower.run() => {}
                () = stop => {}
            }
        });
        Self(receiver)
    }

    /// What scores now.
    pub(crate) fn now(&self) -> LearnedScorer {
        self.0.borrow().clone()
    }
}

struct Follower {
    broker: Broker,
    sender: watch::Sender<LearnedScorer>,
    /// The version that is followed, and the revision of the word that put it in force.
    followed: Option<(u64, u64)>,
    refused: Option<Refused>,
}

/// What did not read: told of once, and tried again now and then.
struct Refused {
    /// The version and revision; none where not even these could be read.
    what: Option<(u64, u64)>,
    at: Instant,
}

impl Follower {
    async fn first_look(&mut self) {
        while !self.look().await {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn run(&mut self) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look().await;
        }
    }

    /// Looks once; whether it is known now what is in force. While the server is away, what was followed stays.
    async fn look(&mut self) -> bool {
        let (version, revision) = match self.broker.policy_in_force().await {
            Ok((in_force, revision)) => (in_force.version, revision),
            Err(error) => return self.failed(None, &error),
        };
        let what = (version, revision);
        if self.followed == Some(what) || self.was_refused_lately(what) {
            return true;
        }
        match self.broker.policy_weights(version).await {
            Ok(weights) => {
                self.sender.send_replace(LearnedScorer::new(Arc::new(weights), version));
                self.followed = Some(what);
                self.refused = None;
                LEARNED_VERSION.set(version as f64, ());
                match version {
                    HAND_MADE => tracing::info!("the hand-made score decides"),
                    version => tracing::info!(version, "a learned policy is in force"),
                }
                true
            }
            Err(error) => self.failed(Some(what), &error),
        }
    }

    fn was_refused_lately(&self, what: (u64, u64)) -> bool {
        let is_late = |refused: &Refused| refused.what == Some(what) && refused.at.elapsed() < REFUSED_RETRY;
        self.refused.as_ref().is_some_and(is_late)
    }

    /// Whether it will stay as it is: what cannot be reached now may be reached soon.
    fn failed(&mut self, what: Option<(u64, u64)>, error: &PolicyError) -> bool {
        if error.is_retryable() {
            tracing::debug!(%error, "the policy that was in force stays");
            return false;
        }
        let is_known = self.refused.as_ref().is_some_and(|refused| refused.what == what);
        if !is_known {
            REFUSED_POLICIES.add(1, ());
            let followed = self.followed.map_or(HAND_MADE, |(version, _)| version);
            tracing::warn!(%error, followed, "a policy was put in force that does not read; the last good one stays");
        }
        self.refused = Some(Refused { what, at: Instant::now() });
        true
    }
}

/// The bar of this classifier; none where no target steers.
#[derive(Debug)]
pub(crate) struct Bar(Option<Mutex<Steering>>);

impl Bar {
    /// Steers by the target of the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self(config.policy.target.map(|target| Mutex::new(Steering::new(target))))
    }

    /// What the next task must gain in the cloud.
    pub(crate) fn now(&self, book: &Book, now: Timestamp) -> Option<f64> {
        let steering = self.0.as_ref()?;
        Some(steering.lock().unwrap_or_else(PoisonError::into_inner).bar(book, now))
    }

    /// Takes note of a task that is on its lane.
    pub(crate) fn saw(&self, route: &Route, config: &Config, now: Timestamp) {
        if let Some(steering) = &self.0 {
            let mut steering = steering.lock().unwrap_or_else(PoisonError::into_inner);
            steering.saw(route.message(), &config.registry, &config.policy, now);
        }
    }
}
