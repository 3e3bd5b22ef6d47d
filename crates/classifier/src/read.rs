//! From a message of the intake to routable work: a new task, or one that a worker gave back.

use jiff::Timestamp;
use trilane_broker::Delivery;
use trilane_broker::pipelines::Known;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::work::{Ending, LaneMessage, MAX_HOPS, RerouteCause, Return, Spent};
use trilane_protocol::{AgentName, Encoding, Task, TaskId, TaskResult, Work, Zone, subjects};
use trilane_routing::intake::{self, Origin};
use trilane_routing::pipeline::Pipeline;
use trilane_routing::registry::Agent;
use trilane_routing::route::Returned;
use trilane_routing::validate;

use crate::shared::Shared;
use crate::take_back::{self, Forged};

/// Looks at a pipeline's record after which it counts as lost where it is not there. The server that answers may be behind
/// the others of its cluster; until then, with the growing delay between them, it has half a minute to catch up.
const LOST_AFTER_DELIVERIES: u64 = 8;

/// A message that reads.
pub(crate) struct Incoming<'a> {
    pub(crate) work: Work,
    pub(crate) agent: &'a Agent,
    /// Where it comes back from, if it does.
    pub(crate) returned: Option<Returned>,
    /// The record of its pipeline, if it is one.
    pub(crate) pipeline: Option<Recorded>,
    /// Whether its producer chose the id, so that it may have been used before.
    pub(crate) has_own_id: bool,
    /// When it may first be put on a lane.
    pub(crate) not_before: Option<Timestamp>,
    /// The answer that stands where no stronger lane may take the work.
    pub(crate) stands: Option<Box<Stands>>,
}

/// An answer that was not good enough.
pub(crate) struct Stands {
    /// The result as it stands.
    pub(crate) result: TaskResult,
    /// The work that it is the answer to.
    pub(crate) done: Work,
}

/// A pipeline, and which revision of its record that is; none where it has no record yet.
pub(crate) struct Recorded {
    pub(crate) pipeline: Pipeline,
    pub(crate) revision: Option<u64>,
}

/// What a message of the intake is.
pub(crate) enum Read<'a> {
    /// A task, or one that a worker gave back, to be routed.
    Incoming(Box<Incoming<'a>>),
    /// How a task has ended in the cloud zone.
    Ended(Box<Ended>),
}

/// How a task has ended.
pub(crate) struct Ended {
    pub(crate) returned: Return,
    pub(crate) message: LaneMessage,
    pub(crate) result: TaskResult,
    pub(crate) is_dead: bool,
}

impl Ended {
    /// The answer from before that stands where the attempt after it has failed in the cloud zone.
    pub(crate) fn standing(&self) -> Option<Stands> {
        let LaneMessage { work, .. } = &self.message;
        let earlier = work.standing(self.result.status)?;
        let result = take_back::bound(self.result.clone(), self.message.clone()).of_earlier(earlier);
        Some(Stands::after(work, result))
    }
}

impl Stands {
    /// `result`, as the answer to `work` after a hop that has brought none.
    pub(crate) fn after(work: &Work, result: TaskResult) -> Self {
        let spent = Spent { attempts: result.attempts, usage: result.usage, cost_usd: result.cost_usd };
        Self { done: Work { hop: work.hop.saturating_add(1), spent, ..work.clone() }, result }
    }
}

/// A message that goes nowhere, with what is needed to tell its producer.
pub(crate) struct Unreadable {
    pub(crate) agent: Option<AgentName>,
    pub(crate) task_id: TaskId,
    pub(crate) task_seq: u64,
    pub(crate) encoding: Encoding,
    pub(crate) published_at: Timestamp,
    pub(crate) spent: Spent,
    pub(crate) error: TaskError,
}

/// Why a message could not be read.
pub(crate) enum ReadError {
    /// It never will be: it ends as `rejected`.
    Unreadable(Box<Unreadable>),
    /// It was never on a lane, whoever handed it back.
    Forged(Box<Forged>),
    /// It belongs to a task whose id another task has used before.
    ReusedId(Box<Work>),
    /// It was handed back before, by another run of the same step, and its pipeline has gone on.
    Repeated,
    /// Not now: the record that it needs cannot be reached.
    NotNow(String),
}

/// The task that a message is about, as far as it can be told.
pub(crate) fn task_of<'a>(read: &'a Result<Read<'_>, ReadError>) -> Option<(&'a AgentName, &'a TaskId)> {
    let of_work = |work: &'a Work| Some((&work.agent, &work.task_id));
    match read {
        Ok(Read::Incoming(incoming)) => of_work(&incoming.work),
        Ok(Read::Ended(ended)) => of_work(&ended.message.work),
        Err(ReadError::ReusedId(work)) => of_work(work),
        Err(ReadError::Unreadable(unreadable)) => Some((unreadable.agent.as_ref()?, &unreadable.task_id)),
        Err(ReadError::Forged(_) | ReadError::Repeated | ReadError::NotNow(_)) => None,
    }
}

impl Shared {
    /// Reads one message of the intake.
    pub(crate) async fn read(&self, delivery: &Delivery) -> Result<Read<'_>, ReadError> {
        let Some(agent) = subjects::agent_of(&delivery.source.subject) else {
            let error = TaskError::new(
                "invalid_agent",
                "the subject's second token is no agent name; publish to tasks.<agent>, where <agent> has 1 to 64 characters out of A-Z a-z 0-9 _ -",
            );
            return Err(unreadable(delivery, None, error));
        };
        if !subjects::is_return(&delivery.source.subject) {
            return self.read_task(delivery, &agent).map(|incoming| Read::Incoming(Box::new(incoming)));
        }
        let read = self.read_return(delivery, &agent, Timestamp::now());
        let (mut returned, message) = read.map_err(|forged| ReadError::Forged(Box::new(forged)))?;
        // Its task has its result; nothing that a worker says of a shadow is one.
        if message.work.shadow {
            tracing::warn!("a shadow was handed back; it is dropped");
            return Err(ReadError::Repeated);
        }
        let ending =
            std::mem::replace(&mut returned.ending, Ending::Refused { error: TaskError::new("", "") });
        let (result, is_dead) = match ending {
            Ending::Reroute { spent, cause: RerouteCause::Improve { result, reason } } => {
                let incoming = self.to_be_improved(delivery, message, spent, *result, reason).await?;
                return Ok(Read::Incoming(Box::new(incoming)));
            }
            Ending::Reroute { spent, cause } => {
                let incoming = self.rerouted(delivery, message, spent, cause).await?;
                return Ok(Read::Incoming(Box::new(incoming)));
            }
            Ending::Ended { result, is_dead } => (*result, is_dead),
            Ending::Refused { error } => (take_back::refused(&message.work, error), true),
        };
        Ok(Read::Ended(Box::new(Ended { returned, message, result, is_dead })))
    }

    fn read_task(&self, delivery: &Delivery, agent: &AgentName) -> Result<Incoming<'_>, ReadError> {
        let fail = |error: TaskError| unreadable(delivery, Some(agent.clone()), error);
        let most = self.config.limits.max_task_bytes;
        let found = delivery.payload().len();
        if found > most {
            let message =
                format!("the task has {found} bytes, at most {most} are accepted (limits.max_task_bytes)");
            return Err(fail(TaskError::new("task_too_large", message)));
        }
        let encoding = delivery.encoding().map_err(|error| fail(error.into()))?;
        let task: Task = encoding.decode(delivery.payload()).map_err(|error| fail(error.into()))?;
        let origin = Origin {
            agent: agent.clone(),
            sequence: delivery.source.sequence,
            message_id: delivery.message_id().map(str::to_owned),
            published_at: delivery.stored_at,
            encoding,
        };
        let (registry, policy) = (&self.config.registry, &self.config.policy);
        let base = intake::intake(&task, &origin, registry, policy, &self.config.limits).map_err(fail)?;
        validate::check(&task, agent, &self.config.validators).map_err(fail)?;
        let has_own_id = task.id.is_some() || origin.message_id.is_some();
        let entry = intake::agent_entry(agent, registry, policy).map_err(fail)?;
        let not_before =
            intake::not_before(&task, base.deadline, &origin, &self.config.limits).map_err(fail)?;
        if task.steps.is_empty() {
            let (returned, pipeline) = (None, None);
            return Ok(Incoming {
                work: base,
                agent: entry,
                returned,
                pipeline,
                has_own_id,
                not_before,
                stands: None,
            });
        }
        let pipeline = Pipeline::new(task, base);
        let (work, entry) = pipeline.next_work(0, Spent::default(), registry, policy).map_err(fail)?;
        let pipeline = Some(Recorded { pipeline, revision: None });
        Ok(Incoming { work, agent: entry, returned: None, pipeline, has_own_id, not_before, stands: None })
    }

    async fn rerouted(
        &self,
        delivery: &Delivery,
        message: LaneMessage,
        spent: Spent,
        cause: RerouteCause,
    ) -> Result<Incoming<'_>, ReadError> {
        let LaneMessage { mut work, decision } = message;
        // A worker's word is not enough: its key could send a task round for ever.
        if work.hop >= MAX_HOPS {
            let text = format!("the task was put on {MAX_HOPS} lanes and none of them has ended it");
            return Err(gave_back(delivery, &work, TaskError::new("too_many_hops", text)));
        }
        work.hop += 1;
        work.spent = spent;
        let (registry, policy) = (&self.config.registry, &self.config.policy);
        let returned = Returned { lane: decision.lane, cause };
        if let RerouteCause::StepDone { text } = &returned.cause {
            return self.next_step(delivery, &work, text).await;
        }
        let entry = intake::agent_entry(&work.agent, registry, policy)
            .map_err(|error| gave_back(delivery, &work, error))?;
        // The record of a pipeline is no longer needed once its last step is on a lane.
        let pipeline = match &work.step {
            Some(step) if !step.is_last() => Some(self.kept_pipeline(delivery, &work).await?),
            Some(_) | None => None,
        };
        let returned = Some(returned);
        let (has_own_id, not_before, stands) = (false, None, None);
        Ok(Incoming { work, agent: entry, returned, pipeline, has_own_id, not_before, stands })
    }

    /// Work whose answer was not good enough, with what stands of it. A worker may wish for more than it is given: cloud
    /// lanes hand nothing back for this, and nothing goes up twice; then the answer stands at once.
    async fn to_be_improved(
        &self,
        delivery: &Delivery,
        message: LaneMessage,
        spent: Spent,
        result: TaskResult,
        reason: String,
    ) -> Result<Incoming<'_>, ReadError> {
        let LaneMessage { work, decision } = &message;
        let agent = intake::agent_entry(&work.agent, &self.config.registry, &self.config.policy);
        let is_first = work.earlier.is_none() && work.hop < MAX_HOPS;
        let may_go_up = decision.zone == Zone::Local && is_first && agent.is_ok();
        let earlier = take_back::earlier_answer(&message, &result, reason.clone());
        let stands = Stands {
            done: Work { hop: work.hop.saturating_add(1), spent: spent.clone(), ..work.clone() },
            result: take_back::bound(result.clone(), message.clone()),
        };
        if !may_go_up {
            tracing::warn!(lane = %decision.lane, "an answer was handed back that may not go up; it stands");
            return Ok(self.standing(stands));
        }
        let cause = RerouteCause::Improve { result: Box::new(result), reason };
        let mut incoming = self.rerouted(delivery, message, spent, cause).await?;
        incoming.work.earlier = Some(Box::new(earlier));
        incoming.stands = Some(Box::new(stands));
        Ok(incoming)
    }

    /// What only waits to be stored as it stands.
    fn standing(&self, stands: Stands) -> Incoming<'_> {
        Incoming {
            work: stands.done.clone(),
            agent: self.config.registry.default_agent(),
            returned: None,
            pipeline: None,
            has_own_id: false,
            not_before: None,
            stands: Some(Box::new(stands)),
        }
    }

    /// The step after one that is done.
    pub(crate) async fn next_step(
        &self,
        delivery: &Delivery,
        done: &Work,
        text: &str,
    ) -> Result<Incoming<'_>, ReadError> {
        let mut kept = self.kept_pipeline(delivery, done).await?;
        kept.pipeline.finish_step(done, text.to_owned());
        let (registry, policy) = (&self.config.registry, &self.config.policy);
        let next = kept.pipeline.next_work(done.hop, done.spent.clone(), registry, policy);
        let (work, agent) = next.map_err(|error| gave_back(delivery, done, error))?;
        let pipeline = Some(kept);
        let (returned, has_own_id, not_before, stands) = (None, false, None, None);
        Ok(Incoming { work, agent, returned, pipeline, has_own_id, not_before, stands })
    }

    async fn kept_pipeline(&self, delivery: &Delivery, work: &Work) -> Result<Recorded, ReadError> {
        let known = self.pipelines.look_up(&work.agent, &work.task_id).await;
        let (kept, revision) = match known.map_err(|error| ReadError::NotNow(error.to_string()))? {
            Known::Kept(kept, revision) => (*kept, revision),
            Known::Over => return Err(ReadError::Repeated),
            Known::Nothing if delivery.deliveries < LOST_AFTER_DELIVERIES => {
                return Err(ReadError::NotNow("its record is not there yet, or not any more".into()));
            }
            Known::Nothing => {
                let message = "the pipeline's record is gone: it was kept for streams.results_max_age_s";
                return Err(gave_back(delivery, work, TaskError::new("pipeline_lost", message)));
            }
        };
        // Another task's record under the same id: nothing of the one may reach the other.
        if kept.base.task_seq != work.task_seq {
            return Err(ReadError::ReusedId(Box::new(work.clone())));
        }
        if kept.is_past(work) {
            return Err(ReadError::Repeated);
        }
        Ok(Recorded { pipeline: kept, revision: Some(revision) })
    }
}

fn unreadable(delivery: &Delivery, agent: Option<AgentName>, error: TaskError) -> ReadError {
    let encoding = delivery.encoding().unwrap_or(Encoding::Json);
    ReadError::Unreadable(Box::new(Unreadable {
        agent,
        task_id: intake::likely_id(
            delivery.payload(),
            encoding,
            delivery.message_id(),
            delivery.source.sequence,
        ),
        task_seq: delivery.source.sequence,
        encoding,
        published_at: delivery.stored_at,
        spent: Spent::default(),
        error,
    }))
}

fn gave_back(delivery: &Delivery, work: &Work, error: TaskError) -> ReadError {
    ReadError::Unreadable(Box::new(Unreadable {
        agent: Some(work.agent.clone()),
        task_id: work.task_id.clone(),
        task_seq: work.task_seq,
        encoding: work.encoding,
        published_at: delivery.stored_at,
        spent: work.spent.clone(),
        error,
    }))
}
