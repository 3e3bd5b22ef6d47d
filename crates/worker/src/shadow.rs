//! Shadows never let real work wait: when there is some and every slot is taken, they give theirs up.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use trilane_broker::Broker;

use crate::heartbeat::Activity;
use crate::serve::WorkerSpec;

/// Between two looks at whether a shadow is in the way. The queue is asked only while every slot is taken.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Returns when every slot is taken and real work waits on the lane. A paused lane has nothing to do.
pub(crate) async fn until_in_the_way(broker: &Broker, spec: &WorkerSpec, activity: &Activity) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if activity.taken() < spec.slots {
            continue;
        }
        match broker.depth(&spec.lane, spec.zone).await {
            Ok(depth) if depth.waiting > 0 && !depth.is_paused => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "it is not known whether a shadow is in the way"),
        }
    }
}
