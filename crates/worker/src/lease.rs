//! Keeps a message ours while it is worked on.

use std::future::Future;
use std::time::Duration;

use trilane_broker::Delivery;
use trilane_protocol::LaneName;
use trilane_service::metrics::catalogue::LEASE_EXTENSIONS;
use trilane_service::metrics::labels::Lane;

/// Signs of progress within one `ack_wait`; two may be lost.
const EXTENSIONS_PER_ACK_WAIT: u32 = 3;

/// Runs `work` to its end and extends the message's lease meanwhile.
pub(crate) async fn hold<T>(
    delivery: &Delivery,
    lane: &LaneName,
    ack_wait: Duration,
    work: impl Future<Output = T>,
) -> T {
    let mut extension = tokio::time::interval(ack_wait / EXTENSIONS_PER_ACK_WAIT);
    extension.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    extension.reset();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = extension.tick() => {
                LEASE_EXTENSIONS.add(1, Lane::of(lane));
                delivery.extend().await;
            }
        }
    }
}
