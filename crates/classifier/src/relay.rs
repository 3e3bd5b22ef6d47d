//! One message's life: read, route, put on the lane, log, acknowledge.

use std::time::Duration;

use jiff::Timestamp;
use trilane_broker::Delivery;
use trilane_broker::pipelines::PipelineError;
use trilane_broker::publish::PublishError;
use trilane_protocol::decision::RouteRecord;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::{AgentName, Sensitivity, Status, TaskId, Work};
use trilane_routing::pipeline::Pipeline;
use trilane_routing::route::{Parked, Route, Router, Unrouted};
use trilane_routing::score::ColdStart;

use crate::read::{Incoming, ReadError};
use crate::refuse::Refusal;
use crate::shared::Shared;

/// Doublings of the delay for a full lane; the configured longest delay ends the growth before.
const MAX_DOUBLINGS: u64 = 16;

/// How often a parked task is looked at again.
const PARKED_LOOK: Duration = Duration::from_secs(60);

/// What became of a message.
enum Relayed {
    /// On its lane, and logged.
    OnLane,
    /// The same, and it was the last step of its pipeline.
    LastStepOnLane(AgentName, TaskId),
    /// Over, with its result or dead letter stored.
    Ended,
}

/// Whose record a pipeline's id has.
enum Kept {
    Ours,
    AnotherTasks,
}

/// Why a message stays where it is for now.
enum NotNow {
    Publish(PublishError),
    Pipeline(String),
    /// It waits for a budget.
    Parked(Box<Parked>),
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
        match self.relay_once(delivery).await {
            Ok(Relayed::OnLane) => {
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
                let mut delay = self.delay(delivery.deliveries);
                match not_now {
                    NotNow::Parked(parked) => delay = park(&parked),
                    NotNow::Publish(PublishError::Full { subject }) => {
                        metrics::counter!("trilane_full_lane_total").increment(1);
                        tracing::debug!(subject, "a lane is full; the task waits at the intake");
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
        let incoming = match self.read(delivery).await {
            Ok(incoming) => incoming,
            Err(ReadError::NotNow(reason)) => return Err(NotNow::Pipeline(reason)),
            Err(ReadError::ReusedId(work)) => {
                self.refuse_reused_id(delivery, &work).await?;
                return Ok(Relayed::Ended);
            }
            Err(ReadError::Unreadable(unreadable)) => {
                self.refuse_unreadable(delivery, *unreadable).await?;
                return Ok(Relayed::Ended);
            }
        };
        let now = Timestamp::now();
        if incoming.work.deadline.is_some_and(|deadline| deadline <= now) {
            let error = TaskError::new(
                "deadline_passed",
                "the deadline had passed when the task was to be put on a lane",
            );
            self.refuse(delivery, &Refusal::of_work(&incoming.work, Status::Expired, error)).await?;
            return Ok(Relayed::Ended);
        }
        if self.is_id_used(delivery, &incoming).await {
            self.refuse_reused_id(delivery, &incoming.work).await?;
            return Ok(Relayed::Ended);
        }
        self.route(delivery, incoming, now).await
    }

    async fn route(
        &self,
        delivery: &Delivery,
        incoming: Incoming<'_>,
        now: Timestamp,
    ) -> Result<Relayed, NotNow> {
        let Incoming { work, agent, returned, pipeline, .. } = incoming;
        let fleet = self.fleet.now();
        let router = Router {
            registry: &self.config.registry,
            policy: &self.config.policy,
            scorer: &ColdStart,
            fleet: &fleet,
        };
        match router.route(work, agent, returned.as_ref(), now) {
            Ok(route) => {
                if let Some(pipeline) = pipeline {
                    match self.keep(pipeline, &route).await {
                        Ok(Kept::Ours) => {}
                        Ok(Kept::AnotherTasks) => {
                            self.refuse_reused_id(delivery, &route.message().work).await?;
                            return Ok(Relayed::Ended);
                        }
                        Err(PipelineError::NotNow(reason)) => return Err(NotNow::Pipeline(reason)),
                        Err(error @ PipelineError::TooLarge { .. }) => {
                            let error = TaskError::new("pipeline_too_large", error.to_string());
                            return self.reject(delivery, &route.message().work, error).await;
                        }
                    }
                }
                self.put_on_lane(delivery, &route).await
            }
            Err(Unrouted::Rejected(rejected)) => self.reject(delivery, &rejected.work, rejected.error).await,
            Err(Unrouted::Parked(parked)) => Err(NotNow::Parked(parked)),
        }
    }

    async fn put_on_lane(&self, delivery: &Delivery, route: &Route) -> Result<Relayed, NotNow> {
        let message = route.message();
        let stored = match self.broker.put_on_lane(route, delivery.traceparent()).await {
            Err(error @ PublishError::TooLarge { .. }) => {
                let error = TaskError::new("task_too_large", error.to_string());
                return self.reject(delivery, &message.work, error).await;
            }
            other => other?,
        };
        // Nobody but an earlier delivery of this message could have stored it, unless the id is used twice.
        if stored.is_duplicate && delivery.deliveries == 1 {
            self.refuse_reused_id(delivery, &message.work).await?;
            return Ok(Relayed::Ended);
        }
        let record = record(&self.name, delivery, route);
        self.broker.log_route(&record).await?;
        let (lane, reason) = (record.decision.lane.to_string(), record.decision.reason.as_str());
        tracing::info!(task_id = %record.task_id, agent = %record.agent, lane, reason, "routed");
        metrics::counter!("trilane_routed_total", "lane" => lane, "reason" => reason).increment(1);
        let Work { agent, task_id, step, .. } = &message.work;
        Ok(match step {
            Some(step) if step.is_last() => Relayed::LastStepOnLane(agent.clone(), task_id.clone()),
            Some(_) | None => Relayed::OnLane,
        })
    }

    /// Keeps the record of a pipeline before its step is on a lane: what was private once taints all that
    /// follows, whatever a worker says later.
    async fn keep(&self, mut pipeline: Pipeline, route: &Route) -> Result<Kept, PipelineError> {
        let message = route.message();
        pipeline.is_tainted |= message.decision.screen.sensitivity == Sensitivity::Private;
        if !pipeline.outputs.is_empty() || message.work.hop > 0 {
            return self.pipelines.put(&pipeline).await.map(|()| Kept::Ours);
        }
        let earlier = self.pipelines.create(&pipeline).await?;
        let is_ours = earlier.is_none_or(|earlier| earlier.base.task_seq == pipeline.base.task_seq);
        Ok(if is_ours { Kept::Ours } else { Kept::AnotherTasks })
    }

    async fn reject(&self, delivery: &Delivery, work: &Work, error: TaskError) -> Result<Relayed, NotNow> {
        self.refuse(delivery, &Refusal::of_work(work, Status::Rejected, error)).await?;
        Ok(Relayed::Ended)
    }

    /// Whether the result of this id is there already. Only ids that a producer chose can have been used, and
    /// a redelivery may find its own.
    async fn is_id_used(&self, delivery: &Delivery, incoming: &Incoming<'_>) -> bool {
        if !incoming.has_own_id || delivery.deliveries > 1 {
            return false;
        }
        let Work { agent, task_id, .. } = &incoming.work;
        match self.broker.result(agent, task_id).await {
            Ok(found) => found.is_some(),
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether an id was used; the second result would be refused");
                false
            }
        }
    }

    fn delay(&self, deliveries: u64) -> Duration {
        let initial = Duration::from_millis(self.config.classifier.full_lane_retry_initial_ms);
        let most = Duration::from_millis(self.config.classifier.full_lane_retry_max_ms);
        let doublings = deliveries.saturating_sub(1).min(MAX_DOUBLINGS);
        let grown = initial.saturating_mul(1 << doublings).min(most);
        grown.mul_f64(rand::random_range(0.7..1.3))
    }
}

/// Until the budget's window turns, the task stays at the intake and is looked at again from time to time: the budget
/// may be raised, and its deadline may pass.
fn park(parked: &Parked) -> Duration {
    let Work { task_id, agent, .. } = &parked.work;
    metrics::counter!("trilane_parked_total").increment(1);
    tracing::debug!(%task_id, %agent, until = %parked.until, reason = parked.reason, "a task waits for its budget");
    let next = parked.work.deadline.map_or(parked.until, |deadline| deadline.min(parked.until));
    let left = Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default();
    left.min(PARKED_LOOK).mul_f64(rand::random_range(1.0..1.3))
}

fn record(classifier: &str, delivery: &Delivery, route: &Route) -> RouteRecord {
    let message = route.message();
    RouteRecord {
        task_id: message.work.task_id.clone(),
        agent: message.work.agent.clone(),
        hop: message.work.hop,
        step: message.work.step.as_ref().map(|step| step.name.clone()),
        task_seq: delivery.source.sequence,
        prompt_bytes: message.work.messages.iter().map(|message| message.content.len() as u64).sum(),
        classifier: classifier.to_owned(),
        decision: message.decision.clone(),
    }
}
