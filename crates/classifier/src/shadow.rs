//! Shadows: finished public cloud tasks that the learner wants to see tried once more on a local lane.
//!
//! A shadow is put there only while this classifier has nothing else in hand and the lane has nothing waiting. The screen
//! looks at it again, and what was never answered by a cloud lane is no shadow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use trilane_broker::Delivery;
use trilane_broker::content::name_task;
use trilane_broker::publish::PublishError;
use trilane_broker::pull::Slotted;
use trilane_protocol::learning::ShadowRequest;
use trilane_protocol::{Sensitivity, Zone, subjects};
use trilane_routing::intake;
use trilane_routing::route::Route;
use trilane_routing::shadow::NotShadowed;
use trilane_service::metrics::catalogue::{ROUTED, SHADOWS};
use trilane_service::metrics::labels::{Lane, Shadow};

use crate::relay::record;
use crate::shared::Shared;

/// Until a shadow that had no room is looked at again.
const NO_ROOM_DELAY: Duration = Duration::from_secs(5);

/// Shadows that may be on one lane. More wait where they are asked for, so that a lane's room is for its tasks.
const MAX_ON_LANE: u64 = 8;

/// Messages in hand, so that it is known when there are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct InHand(Arc<AtomicUsize>);

/// One message in hand.
pub(crate) struct Counted(InHand);

impl InHand {
    pub(crate) fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a shadow is not put on a lane.
enum NotPut {
    /// Never.
    Dropped(Shadow),
    /// Not now.
    NoRoom,
}

impl Shared {
    /// Puts shadows on lanes, one after the other, until the channel closes.
    pub(crate) async fn take_shadows(&self, mut asked: mpsc::Receiver<Slotted>) {
        while let Some(Slotted { delivery, slot, .. }) = asked.recv().await {
            self.take_shadow(&delivery).await;
            drop(slot);
        }
    }

    async fn take_shadow(&self, delivery: &Delivery) {
        if !self.in_hand.is_idle() {
            return delivery.retry_after(NO_ROOM_DELAY).await;
        }
        let request: Option<ShadowRequest> =
            delivery.encoding().ok().and_then(|encoding| encoding.decode(delivery.payload()).ok());
        let own = |request: &ShadowRequest| subjects::shadow(&request.agent) == delivery.source.subject;
        let Some(request) = request.filter(own) else {
            tracing::warn!("what asks for a shadow does not read; it is dropped");
            delivery.terminate().await;
            return;
        };
        name_task(&request.agent, &request.task_id);
        let lane = request.lane.clone();
        let known = self.config.registry.lanes.contains_key(&lane);
        let count = |fate| SHADOWS.add(1, (if known { Lane::of(&lane) } else { Lane::intake() }, fate));
        match self.put_shadow(delivery, request).await {
            Ok(()) => {
                count(Shadow::Put);
                delivery.ack_unconfirmed().await;
            }
            Err(NotPut::Dropped(fate)) => {
                tracing::info!(%lane, fate = fate.as_str(), "a shadow is dropped");
                count(fate);
                delivery.terminate().await;
            }
            Err(NotPut::NoRoom) => delivery.retry_after(NO_ROOM_DELAY).await,
        }
    }

    async fn put_shadow(&self, delivery: &Delivery, request: ShadowRequest) -> Result<(), NotPut> {
        self.check_answered_in_the_cloud(&request).await?;
        let agent = intake::agent_entry(&request.agent, &self.config.registry, &self.config.policy)
            .map_err(|_| NotPut::Dropped(Shadow::Unfit))?;
        let (lane, fleet, now) = (request.lane.clone(), self.fleet.now(), Timestamp::now());
        let scorer = self.policy.now();
        let route = self.router(&scorer, &fleet, now).shadow(request, agent, delivery.stored_at, now);
        let route = Route::Local(route.map_err(|error| match error {
            NotShadowed::Private => NotPut::Dropped(Shadow::Private),
            NotShadowed::Unfit => NotPut::Dropped(Shadow::Unfit),
            NotShadowed::Expired => NotPut::Dropped(Shadow::Expired),
            NotShadowed::Busy => NotPut::NoRoom,
        })?);
        let waiting = self.broker.shadows_on(&lane).await.map_err(|error| {
            tracing::debug!(%error, "it is not known how many shadows wait");
            NotPut::NoRoom
        })?;
        if waiting >= MAX_ON_LANE {
            return Err(NotPut::NoRoom);
        }
        let message = route.message();
        self.log.append(record(&self.name, message)).await.map_err(|_| NotPut::NoRoom)?;
        match self.broker.put_on_lane(&route, &self.sealing, delivery.traceparent()).await {
            Ok(_) => {
                ROUTED.add(1, (Lane::of(&lane), message.decision.reason.into()));
                Ok(())
            }
            Err(PublishError::TooLarge { .. }) => Err(NotPut::Dropped(Shadow::Unfit)),
            Err(error) => {
                tracing::debug!(%error, "a shadow is not on its lane yet");
                Err(NotPut::NoRoom)
            }
        }
    }

    /// Whoever asks may be wrong: only what the cloud has answered as a public task is tried once more.
    async fn check_answered_in_the_cloud(&self, request: &ShadowRequest) -> Result<(), NotPut> {
        let result =
            self.broker.result(&request.agent, &request.task_id).await.map_err(|_| NotPut::NoRoom)?;
        let decision =
            result.filter(|result| result.is_of(Some(request.task_seq))).and_then(|result| result.decision);
        match decision {
            Some(decision) if decision.screen.sensitivity == Sensitivity::Private => {
                Err(NotPut::Dropped(Shadow::Private))
            }
            Some(decision) if decision.zone == Zone::Cloud => Ok(()),
            Some(_) | None => Err(NotPut::Dropped(Shadow::Unfit)),
        }
    }
}
