//! Says when something is wrong with the fleet, since when, what it means and what to do; and when it is over.
//!
//! Any number of monitors may run: each word on an alert is written behind the last one that its monitor knows, so of
//! several that want to say the same one does, and the others learn of it.
//!
//! * [`kind`]: what can be wrong
//! * [`reading`]: what is wrong now, a pure function of the fleet; with [`advice`] on what to do
//! * [`raised`]: what others have raised
//! * [`life`]: when an alert begins and ends, a pure state machine

pub(crate) mod advice;
mod kind;
mod life;
mod raised;
mod reading;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use trilane_broker::Broker;
use trilane_broker::observe::Said;
use trilane_broker::publish::PublishError;
use trilane_protocol::alert::{Alert, AlertState};
use trilane_service::{Config, Shutdown};

use crate::dashboard::Shown;
use crate::watch::fleet::Fleet;
use kind::Kind;
use life::{Lives, Word};
use raised::Raised;

/// Longest wait until the words of one step are stored; those that are not stay due.
const MAX_WRITE: Duration = Duration::from_secs(5);

/// Delay before what was said earlier, or what others raise, is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Raises alerts until shutdown has begun, and tells which there are.
pub(crate) async fn keep_alerting(
    broker: &Broker,
    config: &Config,
    mut seen: watch::Receiver<Option<Arc<Fleet>>>,
    shown: watch::Sender<Option<Shown>>,
    shutdown: &Shutdown,
) {
    let mut alerts = Alerts {
        broker,
        config,
        shown,
        started: Instant::now(),
        lives: Lives::new(&config.alerts),
        raised: Raised::new(config),
        has_news: false,
    };
    tokio::select! {
        () = shutdown.begun() => {}
        () = alerts.run(&mut seen) => {}
    }
}

struct Alerts<'a> {
    broker: &'a Broker,
    config: &'a Config,
    shown: watch::Sender<Option<Shown>>,
    started: Instant,
    lives: Lives,
    raised: Raised,
    /// Whether another monitor has said something since this one last looked.
    has_news: bool,
}

impl Alerts<'_> {
    async fn run(&mut self, seen: &mut watch::Receiver<Option<Arc<Fleet>>>) {
        self.remember().await;
        loop {
            match self.broker.heard_alerts().await {
                Ok(heard) => self.follow(pin!(heard), seen).await,
                Err(error) => tracing::warn!(%error, "cannot hear what others raise; trying again"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// What was said before this monitor started. Without it an alert that goes on would be told of twice.
    async fn remember(&mut self) {
        loop {
            match self.broker.last_alerts().await {
                Ok(last) => break last.into_iter().for_each(|said| self.lives.adopt(said)),
                Err(error) => tracing::warn!(%error, "cannot read earlier alerts; trying again"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn follow(
        &mut self,
        mut heard: impl Stream<Item = Alert> + Unpin,
        seen: &mut watch::Receiver<Option<Arc<Fleet>>>,
    ) {
        loop {
            tokio::select! {
                alert = heard.next() => match alert {
                    Some(alert) => {
                        self.has_news |= alert.state != AlertState::Raised;
                        self.raised.take(&alert, Instant::now());
                    }
                    None => return,
                },
                changed = seen.changed() => {
                    let fleet = seen.borrow_and_update().clone();
                    match (changed, fleet) {
                        (Ok(()), Some(fleet)) => self.step(fleet).await,
                        (Ok(()), None) => {}
                        (Err(_), _) => return std::future::pending().await,
                    }
                }
            }
        }
    }

    async fn step(&mut self, fleet: Arc<Fleet>) {
        let mut readings = reading::of(&fleet, self.config);
        readings.extend(self.raised.readings(Instant::now()));
        let is_blind = readings.iter().any(|reading| reading.kind == Kind::ServerUnreachable.as_str());
        if is_blind {
            // What is wrong with the rest, nobody knows now; it neither begins nor ends.
            self.lives.forget_beginnings();
        }
        if std::mem::take(&mut self.has_news) && !is_blind {
            self.learn().await;
        }
        let words = self.lives.step(&readings, self.started.elapsed(), fleet.at);
        // The page does not wait for what is written.
        self.show(&fleet);
        // What is not stored in time stays due: one step never holds up the next for long.
        let writing = async {
            for word in words {
                let is_about_the_server = word.alert.kind == Kind::ServerUnreachable.as_str();
                match is_about_the_server {
                    true => self.tell(word.alert),
                    false if is_blind => {}
                    false => self.say(word).await,
                }
            }
        };
        if tokio::time::timeout(MAX_WRITE, writing).await.is_err() {
            tracing::warn!("not every alert is stored yet; trying again");
        }
        self.show(&fleet);
    }

    fn show(&self, fleet: &Arc<Fleet>) {
        let alerts = self.lives.shown().into();
        self.shown.send_replace(Some(Shown { fleet: Arc::clone(fleet), alerts }));
    }

    /// Stores a word, and only then says it aloud.
    async fn say(&mut self, word: Word) {
        let Word { alert, after } = word;
        match self.broker.keep_alert(&alert, after).await {
            Ok(sequence) => {
                self.lives.adopt(Said { alert: alert.clone(), sequence });
                self.broker.alert(&alert).await;
                self.tell(alert);
            }
            Err(PublishError::NotFirst { .. }) => self.learn().await,
            Err(error) => tracing::warn!(%error, alert.kind, "an alert is not stored yet; trying again"),
        }
    }

    /// Another monitor has said something, or a write of this one was stored without an answer.
    async fn learn(&mut self) {
        match self.broker.last_alerts().await {
            Ok(last) => last.into_iter().for_each(|said| self.lives.adopt(said)),
            Err(error) => tracing::warn!(%error, "cannot read what another monitor said; trying again"),
        }
    }

    fn tell(&mut self, alert: Alert) {
        let Alert { kind, lane, message, action, .. } = &alert;
        match alert.state {
            AlertState::Resolved => tracing::info!(kind, lane, message, "resolved"),
            AlertState::Firing | AlertState::Raised => tracing::warn!(kind, lane, message, action, "firing"),
        }
        if alert.kind == Kind::ServerUnreachable.as_str() {
            self.lives.said(alert);
        }
    }
}
