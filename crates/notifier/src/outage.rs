//! Tells when the server itself does not answer, and when it does again: an alert that nobody could store.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use trilane_broker::Broker;
use trilane_protocol::alert::{Alert, AlertState};
use trilane_service::{Config, Shutdown};

use crate::webhook::Webhooks;

/// Between two looks at the connection.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches the connection until shutdown has begun.
pub(crate) async fn keep_watch(broker: &Broker, config: &Config, webhooks: &Webhooks, shutdown: &Shutdown) {
    let bound = Duration::from_secs(config.alerts.unreachable_s);
    let mut outage = Outage::new(bound, config.nats.url.clone());
    let mut interval = tokio::time::interval(LOOK_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut begun = std::pin::pin!(shutdown.begun());
    loop {
        tokio::select! {
            () = &mut begun => return,
            _ = interval.tick() => {}
        }
        if let Some(alert) = outage.look(broker.is_connected(), Instant::now(), Timestamp::now()) {
            tracing::warn!(alert.message, "telling");
            drop(webhooks.tell(&alert));
        }
    }
}

/// The connection as it was so far. Pure.
#[derive(Debug)]
struct Outage {
    bound: Duration,
    url: String,
    lost_at: Option<(Instant, Timestamp)>,
    is_told: bool,
}

impl Outage {
    fn new(bound: Duration, url: String) -> Self {
        Self { bound, url, lost_at: None, is_told: false }
    }

    /// What is to be told: once that it is gone for too long, and once that it is back.
    fn look(&mut self, is_connected: bool, at: Instant, now: Timestamp) -> Option<Alert> {
        if is_connected {
            let (_, since) = self.lost_at.take()?;
            let was_told = std::mem::take(&mut self.is_told);
            return was_told.then(|| self.alert(AlertState::Resolved, since, now));
        }
        let (lost_at, since) = *self.lost_at.get_or_insert((at, now));
        let is_due = !self.is_told && at.duration_since(lost_at) >= self.bound;
        self.is_told |= is_due;
        is_due.then(|| self.alert(AlertState::Firing, since, now))
    }

    fn alert(&self, state: AlertState, since: Timestamp, at: Timestamp) -> Alert {
        let url = self.url.rsplit_once('@').map_or(self.url.as_str(), |(_, host)| host);
        let message = match state {
            AlertState::Resolved => format!("the NATS server at {url} answers again"),
            _ => format!("the NATS server at {url} cannot be reached by the notifier"),
        };
        Alert {
            state,
            meaning:
                "Nothing moves: publishes fail, and workers write what they have once it is back. Nothing \
                      acknowledged is lost."
                    .into(),
            action: "look at the server and the way to it".into(),
            since,
            ..Alert::new("server_unreachable", "fleet", message, at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_of_once_when_it_lasts_and_once_when_it_is_over() {
        let start = Instant::now();
        let mut outage = Outage::new(Duration::from_secs(30), "nats://me:secret@h:1".into());
        let mut look = |is_connected, second: u64| {
            let now = Timestamp::from_second(second as i64).unwrap();
            outage.look(is_connected, start + Duration::from_secs(second), now)
        };
        assert_eq!(look(true, 0), None);
        assert_eq!(look(false, 10), None);
        assert_eq!(look(true, 20), None, "a short one is nobody's business");
        assert_eq!(look(false, 30), None);
        let firing = look(false, 60).unwrap();
        assert_eq!(firing.state, AlertState::Firing);
        assert_eq!(firing.since, Timestamp::from_second(30).unwrap());
        assert!(firing.message.contains("h:1") && !firing.message.contains("secret"), "{}", firing.message);
        assert_eq!(look(false, 90), None);
        assert_eq!(look(true, 100).unwrap().state, AlertState::Resolved);
        assert_eq!(look(true, 110), None);
    }
}
