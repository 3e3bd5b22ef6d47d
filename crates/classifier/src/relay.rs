//! One message's life: read, route, log, put on the lane, acknowledge.

use jiff::{SignedDuration, Timestamp};
use tracing::Instrument;
use trilane_broker::Delivery;
use trilane_broker::content::name_task;
use trilane_broker::pipelines::PipelineError;
use trilane_broker::publish::PublishError;
use trilane_protocol::decision::{Decision, RouteRecord};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::work::{LaneMessage, StepRef};
use trilane_protocol::{AgentName, LaneName, Sensitivity, Status, TaskId, Work, subjects};
use trilane_routing::fleet::FleetState;
use trilane_routing::learned::LearnedScorer;
use trilane_routing::route::{Parked, Route, Router, Unrouted};
use trilane_service::metrics::catalogue::{FULL_LANE, PARKED, REDELIVERIES, ROUTED, TASK_COMPLEXITY};
use trilane_service::metrics::labels::Lane;

use crate::log::LogEnded;
use crate::read::{self, Ended, Incoming, Read, ReadError, Recorded, Stands};
use crate::refuse::Refusal;
use crate::shared::Shared;

/// Longest time until a parked task is looked at again.
const PARKED_LOOK: SignedDuration = SignedDuration::from_hours(1);

/// What became of a message.
pub(crate) enum Relayed {
    /// On its lane, and logged.
    OnLane,
    /// The same, and it was the last step of its pipeline.
    LastStepOnLane(AgentName, TaskId),
    /// Over, with its result or dead letter stored.
    Ended,
    /// Kept by the server until it is due.
    Postponed,
}

/// Whose result is there already.
enum Earlier {
    None,
    Ours,
    AnotherTasks,
}

/// Whose record a pipeline's id has.
enum Kept {
    Ours,
    AnotherTasks,
}

/// Why a message stays where it is for now.
pub(crate) enum NotNow {
    Publish(PublishError),
    Pipeline(String),
    Postponed,
    Log(LogEnded),
    Result(trilane_broker::logs::ReadError),
    LaneFull(LaneName),
}

impl From<PublishError> for NotNow {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

impl Shared {
    /// Relays one message. It is acknowledged only after the next durable write is confirmed; until then it
    /// comes back, and everything here bears being done twice.
    pub(crate) async fn relay(&self, delivery: &Delivery) {
        if delivery.deliveries > 1 {
            REDELIVERIES.add(1, Lane::intake());
        }
        let span = delivery.span();
        self.relay_and_tell(delivery).instrument(span).await;
    }

    async fn relay_and_tell(&self, delivery: &Delivery) {
        match self.relay_once(delivery).await {
            Ok(Relayed::OnLane | Relayed::Postponed) => {
                delivery.ack_unconfirmed().await;
            }
            // Should the message come back, its record must still be there: so it goes last.
            Ok(Relayed::LastStepOnLane(agent, task_id)) => {
                if delivery.ack().await {
                    self.pipelines.forget(&agent, &task_id).await;
                }
            }
            Ok(Relayed::Ended) => {
                delivery.terminate().await;
            }
            Err(not_now) => {
                let delay = self.delay(delivery.deliveries);
                match not_now {
                    NotNow::Publish(PublishError::Full { subject }) => match subjects::lane_of(&subject) {
                        Some(lane) => full(&lane),
                        None => tracing::warn!(subject, "a stream is full; the task waits at the intake"),
                    },
                    NotNow::LaneFull(lane) => full(&lane),
                    NotNow::Postponed => {
                        tracing::warn!(
                            "streams.later_max_bytes is used up; a task that is not due waits at the intake"
                        );
                    }
                    NotNow::Result(error) => {
                        tracing::warn!(%error, "cannot tell whether a task has ended already; trying again");
                    }
                    NotNow::Log(error) => {
                        tracing::debug!(%error, "a task is not relayed; another classifier takes it");
                    }
                    NotNow::Publish(error) => {
                        tracing::warn!(%error, "a task is not relayed yet; trying again");
                    }
                    NotNow::Pipeline(error) => {
                        tracing::warn!(error, "a pipeline cannot go on yet; trying again");
                    }
                }
                delivery.retry_after(delay).await;
            }
        }
    }

    async fn relay_once(&self, delivery: &Delivery) -> Result<Relayed, NotNow> {
        let read = self.read(delivery).await;
        if let Some((agent, task_id)) = read::task_of(&read) {
            name_task(agent, task_id);
        }
        match read {
            Ok(Read::Incoming(incoming)) => self.admit(delivery, *incoming).await,
            Ok(Read::Ended(ended)) => {
                if let Some(stands) = ended.standing() {
                    return self.let_stand(delivery, stands, Timestamp::now()).await;
                }
                let Ended { returned, message, result, is_dead } = *ended;
                self.end(delivery, &returned, message, result, is_dead).await?;
                Ok(Relayed::Ended)
            }
            Err(error) => self.unread(delivery, error).await,
        }
    }

    /// Ends what could not be read, where that is for good.
    pub(crate) async fn unread(&self, delivery: &Delivery, error: ReadError) -> Result<Relayed, NotNow> {
        match error {
            ReadError::NotNow(reason) => return Err(NotNow::Pipeline(reason)),
            ReadError::Repeated => {
                tracing::debug!("a step was handed back twice; its pipeline has gone on");
            }
            ReadError::Forged(forged) => self.refuse_forged(delivery, *forged).await?,
            ReadError::ReusedId(work) => self.refuse_reused_id(delivery, &work).await?,
            ReadError::Unreadable(unreadable) => self.refuse_unreadable(delivery, *unreadable).await?,
        }
        Ok(Relayed::Ended)
    }

    /// Whether the work is still wanted, and wanted now.
    async fn admit(&self, delivery: &Delivery, mut incoming: Incoming<'_>) -> Result<Relayed, NotNow> {
        let now = Timestamp::now();
        let is_late = incoming.work.deadline.is_some_and(|deadline| deadline <= now);
        // An answer that came in time is not lost while it is looked at.
        if is_late && incoming.stands.is_none() {
            let error = TaskError::new(
                "deadline_passed",
                "the deadline had passed when the task was to be put on a lane",
            );
            return self.end_here(delivery, &incoming.work, Status::Expired, error).await;
        }
        if self.cancellations.has(&incoming.work).await {
            return Ok(Relayed::Ended);
        }
        match self.earlier_result(&incoming).await? {
            Earlier::None => {}
            // Whoever stored it was cut off before it said so, or says so once more.
            Earlier::Ours => return Ok(Relayed::Ended),
            Earlier::AnotherTasks => {
                self.refuse_reused_id(delivery, &incoming.work).await?;
                return Ok(Relayed::Ended);
            }
        }
        if let Some(stands) = incoming.stands.take() {
            return self.improve(delivery, incoming, *stands, now).await;
        }
        match incoming.not_before {
            Some(due) if due > now => self.postpone(delivery, due).await,
            Some(_) | None => self.route(delivery, incoming, now).await,
        }
    }

    async fn postpone(&self, delivery: &Delivery, due: Timestamp) -> Result<Relayed, NotNow> {
        if self.fleet.now().postponed_bytes > self.config.streams.later_max_bytes {
            return Err(NotNow::Postponed);
        }
        self.broker.postpone(delivery, due).await?;
        Ok(Relayed::Postponed)
    }

    /// Postpones what waits for its budget. It is routed anew when the budget's window turns, and once an hour until
    /// then: budgets may be raised, and nobody shall wait for a reservation longer than it lasts.
    async fn park(&self, delivery: &Delivery, parked: &Parked, now: Timestamp) -> Result<Relayed, NotNow> {
        let Parked { work: Work { deadline, .. }, until, reason } = parked;
        PARKED.add(1, ());
        tracing::info!(%until, reason, "a task waits for its budget");
        let next = now.checked_add(PARKED_LOOK).unwrap_or(*until).min(*until);
        self.postpone(delivery, deadline.map_or(next, |deadline| deadline.min(next))).await
    }

    pub(crate) async fn route(
        &self,
        delivery: &Delivery,
        incoming: Incoming<'_>,
        now: Timestamp,
    ) -> Result<Relayed, NotNow> {
        let Incoming { work, agent, returned, pipeline, .. } = incoming;
        let fleet = self.fleet.now();
        let is_first = returned.is_none();
        let scorer = self.policy.now();
        let router = self.router(&scorer, &fleet, now);
        match router.route(work, agent, returned.as_ref(), now) {
            Ok(route) => match self.keep_record(delivery, pipeline, &route).await? {
                Some(ended) => Ok(ended),
                None => {
                    let relayed = self.put_on_lane(delivery, &route, is_first).await?;
                    if !matches!(relayed, Relayed::Ended) {
                        self.bar.saw(&route, &self.config, now);
                    }
                    Ok(relayed)
                }
            },
            Err(Unrouted::Rejected(rejected)) => self.reject(delivery, &rejected.work, rejected.error).await,
            Err(Unrouted::Parked(parked)) => self.park(delivery, &parked, now).await,
        }
    }

    /// What decisions rest on now.
    pub(crate) fn router<'a>(
        &'a self,
        scorer: &'a LearnedScorer,
        fleet: &'a FleetState,
        now: Timestamp,
    ) -> Router<'a> {
        Router {
            registry: &self.config.registry,
            policy: &self.config.policy,
            scorer,
            bar: self.bar.now(&fleet.spending.book, now),
            fleet,
        }
    }

    /// Keeps the record of a pipeline, where the work is one; says how the task ends where that cannot be.
    pub(crate) async fn keep_record(
        &self,
        delivery: &Delivery,
        pipeline: Option<Recorded>,
        route: &Route,
    ) -> Result<Option<Relayed>, NotNow> {
        let Some(pipeline) = pipeline else { return Ok(None) };
        match self.keep(pipeline, route).await {
            Ok(Kept::Ours) => Ok(None),
            Ok(Kept::AnotherTasks) => {
                self.refuse_reused_id(delivery, &route.message().work).await?;
                Ok(Some(Relayed::Ended))
            }
            Err(PipelineError::NotNow(reason)) => Err(NotNow::Pipeline(reason)),
            Err(error @ PipelineError::TooLarge { .. }) => {
                let error = TaskError::new("pipeline_too_large", error.to_string());
                self.reject(delivery, &route.message().work, error).await.map(Some)
            }
        }
    }

    /// Logs the decision, then puts the task on its lane: nothing is ever on a lane without a record. On its first lane
    /// it is kept what can be learned from it.
    pub(crate) async fn put_on_lane(
        &self,
        delivery: &Delivery,
        route: &Route,
        is_first: bool,
    ) -> Result<Relayed, NotNow> {
        let message = route.message();
        let lane = &message.decision.lane;
        // Tried in vain again and again, a task would fill the log.
        if self.fleet.now().is_full(lane, self.config.streams.lane_max_messages) {
            return Err(NotNow::LaneFull(lane.clone()));
        }
        if is_first && message.work.step.as_ref().is_none_or(StepRef::is_last) {
            self.examples.keep(&message.work, message.decision.screen.sensitivity);
        }
        self.log.append(record(&self.name, message)).await.map_err(NotNow::Log)?;
        match self.broker.put_on_lane(route, &self.sealing, delivery.traceparent()).await {
            Err(error @ PublishError::TooLarge { .. }) => {
                let error = TaskError::new("task_too_large", error.to_string());
                return self.reject(delivery, &message.work, error).await;
            }
            // One that is there already is this very task's: its sequence is part of the message's id.
            stored => drop(stored?),
        }
        let Decision { reason, score, .. } = &message.decision;
        let Work { agent, task_id, step, .. } = &message.work;
        tracing::info!(%lane, reason = reason.as_str(), "routed");
        ROUTED.add(1, (Lane::of(lane), (*reason).into()));
        TASK_COMPLEXITY.record(score.complexity, Lane::of(lane));
        Ok(match step {
            Some(step) if step.is_last() => Relayed::LastStepOnLane(agent.clone(), task_id.clone()),
            Some(_) | None => Relayed::OnLane,
        })
    }

    /// Keeps the record of a pipeline before its step is on a lane: what was private once taints all that
    /// follows, whatever a worker says later.
    async fn keep(&self, recorded: Recorded, route: &Route) -> Result<Kept, PipelineError> {
        let Recorded { mut pipeline, revision } = recorded;
        pipeline.is_tainted |= route.message().decision.screen.sensitivity == Sensitivity::Private;
        if let Some(revision) = revision {
            return self.pipelines.update(&pipeline, revision).await.map(|()| Kept::Ours);
        }
        let earlier = self.pipelines.create(&pipeline).await?;
        let is_ours = earlier.is_none_or(|earlier| earlier.base.task_seq == pipeline.base.task_seq);
        Ok(if is_ours { Kept::Ours } else { Kept::AnotherTasks })
    }

    async fn reject(&self, delivery: &Delivery, work: &Work, error: TaskError) -> Result<Relayed, NotNow> {
        self.end_here(delivery, work, Status::Rejected, error).await
    }

    /// Ends work that goes onto no lane: with the answer from before, where there is one.
    async fn end_here(
        &self,
        delivery: &Delivery,
        work: &Work,
        status: Status,
        error: TaskError,
    ) -> Result<Relayed, NotNow> {
        let refusal = Refusal::of_work(work, status, error);
        if let Some(earlier) = work.standing(status) {
            let stands = Stands::after(work, refusal.result().of_earlier(earlier));
            return Box::pin(self.let_stand(delivery, stands, Timestamp::now())).await;
        }
        self.refuse(delivery, &refusal).await?;
        Ok(Relayed::Ended)
    }

    /// Whose result is there already under this id. Ids that the stream gives are new when they come; what workers hand
    /// back may have ended meanwhile.
    async fn earlier_result(&self, incoming: &Incoming<'_>) -> Result<Earlier, NotNow> {
        let Work { agent, task_id, task_seq, hop, .. } = &incoming.work;
        if !incoming.has_own_id && *hop == 0 {
            return Ok(Earlier::None);
        }
        match self.broker.result(agent, task_id).await {
            Ok(None) => Ok(Earlier::None),
            Ok(Some(result)) if result.is_of(Some(*task_seq)) => Ok(Earlier::Ours),
            Ok(Some(_)) => Ok(Earlier::AnotherTasks),
            Err(error) => Err(NotNow::Result(error)),
        }
    }
}

fn full(lane: &LaneName) {
    FULL_LANE.add(1, Lane::of(lane));
    tracing::debug!(%lane, "a lane is full; the task waits at the intake");
}

/// A decision as the routing log has it.
pub(crate) fn record(classifier: &str, message: &LaneMessage) -> RouteRecord {
    RouteRecord {
        task_id: message.work.task_id.clone(),
        agent: message.work.agent.clone(),
        hop: message.work.hop,
        step: message.work.step.as_ref().map(|step| step.name.clone()),
        task_seq: message.work.task_seq,
        prompt_bytes: message.work.messages.iter().map(|message| message.content.len() as u64).sum(),
        classifier: classifier.to_owned(),
        decision: message.decision.clone(),
    }
}
