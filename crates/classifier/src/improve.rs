//! Answers that were not good enough: one lane up where that is allowed, else they stand.

use jiff::Timestamp;
use trilane_broker::Delivery;
use trilane_broker::results::Reported;
use trilane_protocol::Work;
use trilane_routing::route::{Returned, Route};
use trilane_service::metrics::catalogue::{IMPROVED, STOOD};
use trilane_service::metrics::count_finished;
use trilane_service::metrics::labels::Lane;

use crate::read::{Incoming, ReadError, Stands};
use crate::relay::{NotNow, Relayed};
use crate::shared::Shared;

impl Shared {
    /// Puts work one lane up, or ends it with the answer that it has.
    pub(crate) async fn improve(
        &self,
        delivery: &Delivery,
        incoming: Incoming<'_>,
        stands: Stands,
        now: Timestamp,
    ) -> Result<Relayed, NotNow> {
        let Incoming { work, agent, returned, pipeline, .. } = incoming;
        let lane = returned.as_ref().map(|returned| Lane::of(&returned.lane));
        let is_late = work.deadline.is_some_and(|deadline| deadline <= now);
        let (scorer, fleet) = (self.policy.now(), self.fleet.now());
        let router = self.router(&scorer, &fleet, now);
        let upwards = |returned: Returned| router.improve(work, agent, &returned, now);
        let has_room = |route: &Route| {
            !fleet.is_full(&route.message().decision.lane, self.config.streams.lane_max_messages)
        };
        let route = returned.filter(|_| !is_late).and_then(upwards).filter(has_room);
        let Some(route) = route else { return self.let_stand(delivery, stands, now).await };
        let route = if self.broker.is_too_large(&route) { route.without_earlier_text() } else { route };
        // Where it does not fit even with what it says of its first answer, that answer is worth more than none.
        if self.broker.is_too_large(&route) {
            return self.let_stand(delivery, stands, now).await;
        }
        if let Some(ended) = self.keep_record(delivery, pipeline, &route).await? {
            return Ok(ended);
        }
        let relayed = self.put_on_lane(delivery, &route, false).await?;
        if matches!(relayed, Relayed::OnLane | Relayed::LastStepOnLane(..)) {
            self.bar.saw(&route, &self.config, now);
        }
        lane.into_iter().for_each(|lane| IMPROVED.add(1, lane));
        Ok(relayed)
    }

    /// The answer is the task's result; of a step that is not the last it is what the next one goes on with.
    pub(crate) async fn let_stand(
        &self,
        delivery: &Delivery,
        stands: Stands,
        now: Timestamp,
    ) -> Result<Relayed, NotNow> {
        let Stands { result, done } = stands;
        result.lane.iter().for_each(|lane| STOOD.add(1, Lane::of(lane)));
        if let (Work { step: Some(step), .. }, Some(text)) = (&done, &result.text)
            && !step.is_last()
        {
            return match self.next_step(delivery, &done, text).await {
                Ok(next) => self.route(delivery, next, now).await,
                Err(error) => self.unread(delivery, error).await,
            };
        }
        match self.broker.report(&result, done.encoding, delivery.traceparent()).await? {
            Reported::Stored => count_finished(&result),
            Reported::AnotherTasks => {
                self.unread(delivery, ReadError::ReusedId(Box::new(done))).await.map(drop)?;
            }
            Reported::AlreadyThere => {}
        }
        tracing::info!(outcome = result.status.as_str(), "an answer stands that was not good enough");
        Ok(Relayed::Ended)
    }
}
