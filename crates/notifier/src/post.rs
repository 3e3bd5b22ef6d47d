//! Hands stored alerts to the posters, in the order of the stream, and acknowledges what all of them are done with.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use trilane_broker::Delivery;
use trilane_broker::pull::Slotted;
use trilane_protocol::Encoding;
use trilane_protocol::alert::Alert;
use trilane_service::Shutdown;

use crate::webhook::Webhooks;

/// An alert that is older is not posted: no notifier ran for so long. What still goes on is told of before that, and
/// what is over is followed by its end.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// How long an alert stays at the server for receivers that do not take it, so that one that hangs holds up no other.
/// After that it is in this process only.
const MAX_HOLD: Duration = Duration::from_secs(60);

/// Between two words to the server that an alert is still being posted; a third of what it waits.
const EXTEND_EVERY: Duration = Duration::from_secs(20);

/// Posts what comes until shutdown has begun.
pub(crate) async fn keep_posting(
    mut messages: mpsc::Receiver<Slotted>,
    webhooks: &Webhooks,
    shutdown: &Shutdown,
) {
    let mut posting = JoinSet::new();
    while let Some(Slotted { delivery, slot, .. }) = messages.recv().await {
        while posting.try_join_next().is_some() {}
        let alert = match Encoding::Json.decode::<Alert>(delivery.payload()) {
            Ok(alert) => alert,
            Err(error) => {
                tracing::error!(%error, "an alert does not read; is the notifier older than the monitor?");
                delivery.terminate().await;
                continue;
            }
        };
        if Timestamp::now().duration_since(alert.at) > MAX_AGE {
            tracing::info!(alert.kind, alert.lane, at = %alert.at, "an alert is too old to be posted");
            delivery.ack().await;
            continue;
        }
        // Queued here, one after the other, so that no receiver hears of an end before its beginning.
        let done = webhooks.tell(&alert);
        let ended = shutdown.begun();
        posting.spawn(async move {
            let _slot = slot;
            tokio::select! {
                _ = tokio::time::timeout(MAX_HOLD, hold(&delivery, done)) => drop(delivery.ack().await),
                () = ended => delivery.hand_back().await,
            }
        });
    }
    while posting.join_next().await.is_some() {}
}

/// Waits until every poster is done with an alert, and keeps it ours meanwhile.
async fn hold(delivery: &Delivery, done: impl Future<Output = ()>) {
    let mut extension = tokio::time::interval(EXTEND_EVERY);
    extension.set_missed_tick_behavior(MissedTickBehavior::Delay);
    extension.reset();
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => return,
            _ = extension.tick() => delivery.extend().await,
        }
    }
}
