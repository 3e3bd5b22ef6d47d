//! What becomes of a stuck message: a pure function of it.

use jiff::Timestamp;
use trilane_broker::stuck::Stuck;
use trilane_protocol::learning::EarlierAnswer;
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::task::Metadata;
use trilane_protocol::work::{LaneMessage, Return, Spent};
use trilane_protocol::{
    AgentName, Decision, Encoding, LaneName, Status, Task, TaskId, TaskResult, Work, subjects,
};
use trilane_routing::intake;
use trilane_trust::{Seal, SealError, Trusted};

/// What becomes of a stuck message.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Its task ends as `failed`, or with the answer from before.
    Fail(Box<Failure>),
    /// It belongs to no task that anybody could name: only the dead letter tells.
    Bury {
        /// Where it died.
        place: String,
        /// Why nobody is told.
        error: TaskError,
    },
    /// It is a shadow, or the wish for one: nobody is told.
    Remove,
    /// Not a message that this version knows how to end: it stays, and the operator is told.
    Leave,
}

/// A task that ends where it got stuck.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Where it died: a lane, or the intake.
    pub(crate) place: String,
    /// Its result, unless it has one.
    pub(crate) result: TaskResult,
    /// How its result is written.
    pub(crate) encoding: Encoding,
}

/// What is known of the task of a stuck message.
struct Known {
    agent: AgentName,
    task_id: TaskId,
    task_seq: u64,
    encoding: Encoding,
    published_at: Timestamp,
    metadata: Metadata,
    spent: Spent,
    decision: Option<Decision>,
    /// The answer that stands in place of the failure.
    standing: Option<EarlierAnswer>,
}

/// Decides what becomes of a stuck message. A worker's or a lane's message is believed where a classifier's seal is on
/// it; an expired one was a classifier's too.
pub(crate) fn of(stuck: &Stuck, trusted: &Trusted, now: Timestamp) -> Fate {
    let subject = &stuck.source.subject;
    let intake = || subjects::INTAKE.to_owned();
    if subjects::is_of_a_shadow(subject) {
        return Fate::Remove;
    }
    let (place, known) = if let Some(lane) = subjects::lane_of(subject) {
        let known = sealed(stuck.payload(), stuck.seal(), &lane, trusted, now);
        (lane.to_string(), known.map(|message| on_a_lane(message, stuck.place.deliveries)))
    } else if let Some(agent) = subjects::agent_of(subject) {
        let known = match subjects::is_return(subject) {
            true => handed_back(stuck, &agent, trusted, now),
            false => Ok(published(stuck, agent)),
        };
        (intake(), known)
    } else if subject.starts_with("tasks.") {
        (intake(), Err("the subject's second token is no agent name".to_owned()))
    } else if let Some((agent, task_id)) = subjects::cancelled_task(subject) {
        (intake(), Err(format!("cancel task `{task_id}` of agent `{agent}` again")))
    } else {
        return Fate::Leave;
    };
    match known {
        Ok(known) => Fate::Fail(Box::new(failure(stuck, place, known, now))),
        Err(reason) => {
            let message = format!("{}. No task ends with this message: {reason}", cause(stuck));
            Fate::Bury { place, error: TaskError::new(MAX_DELIVERIES, message) }
        }
    }
}

/// The error code of a message that got stuck.
pub(crate) const MAX_DELIVERIES: &str = "max_deliveries";

fn sealed(
    payload: &[u8],
    seal: Option<&str>,
    lane: &LaneName,
    trusted: &Trusted,
    now: Timestamp,
) -> Result<LaneMessage, String> {
    let seal = seal.and_then(Seal::read);
    match trusted.verify(seal.as_ref(), lane, payload, now) {
        Ok(()) | Err(SealError::Expired) => {}
        Err(error) => return Err(error.to_string()),
    }
    let message: LaneMessage = Encoding::Msgpack.decode(payload).map_err(|error| error.to_string())?;
    let is_its_own = message.decision.lane == *lane;
    is_its_own.then_some(message).ok_or_else(|| "the message is for another lane".to_owned())
}

fn on_a_lane(message: LaneMessage, deliveries: u64) -> Known {
    let LaneMessage { mut work, decision } = message;
    work.spent.attempts = work.spent.attempts.saturating_add(u32::try_from(deliveries).unwrap_or(u32::MAX));
    Known::of_work(work, decision)
}

/// What a worker has handed back and no classifier has taken. An answer in it stays in the dead letter.
fn handed_back(stuck: &Stuck, agent: &AgentName, trusted: &Trusted, now: Timestamp) -> Result<Known, String> {
    let returned: Return = Encoding::Msgpack.decode(stuck.payload()).map_err(|error| error.to_string())?;
    let message = sealed(&returned.message, Some(&returned.seal), &returned.lane, trusted, now)?;
    if message.work.agent != *agent {
        return Err("the subject names another agent than the message".to_owned());
    }
    Ok(on_a_lane(message, returned.deliveries.into()))
}

/// A task that never left the intake. Where it does not read, its producer still looks for a result.
fn published(stuck: &Stuck, agent: AgentName) -> Known {
    let (payload, source) = (stuck.payload(), &stuck.source);
    let encoding = Encoding::detect(stuck.header("Content-Type"), payload).unwrap_or(Encoding::Json);
    let task: Option<Task> = encoding.decode(payload).ok();
    Known {
        agent,
        task_id: intake::likely_id(payload, encoding, stuck.message_id(), source.sequence),
        task_seq: source.sequence,
        encoding,
        published_at: stuck.stored_at,
        metadata: task.map(|task| task.metadata).unwrap_or_default(),
        spent: Spent::default(),
        decision: None,
        standing: None,
    }
}

impl Known {
    fn of_work(work: Work, decision: Decision) -> Self {
        // A pipeline that is stuck in the middle cannot go on from here.
        let standing = work.standing(Status::Failed).filter(|_| work.is_last_step()).cloned();
        let Work { agent, task_id, task_seq, encoding, published_at, metadata, spent, .. } = work;
        Self {
            agent,
            task_id,
            task_seq,
            encoding,
            published_at,
            metadata,
            spent,
            decision: Some(decision),
            standing,
        }
    }
}

fn failure(stuck: &Stuck, place: String, known: Known, now: Timestamp) -> Failure {
    let Known { agent, task_id, task_seq, encoding, published_at, metadata, spent, decision, standing } =
        known;
    let decided_at = decision.as_ref().map_or(now, |decision| decision.decided_at);
    let message = format!("{}; then publish the task again under another id", cause(stuck));
    let error = TaskError::new(MAX_DELIVERIES, message);
    let result = TaskResult {
        lane: decision.as_ref().map(|decision| decision.lane.clone()),
        model: decision.as_ref().map(|decision| decision.model.clone()),
        usage: spent.usage,
        cost_usd: spent.cost_usd,
        timing_ms: Timing {
            queued: milliseconds(published_at, decided_at),
            waited: milliseconds(decided_at, now),
            ..Timing::default()
        },
        attempts: spent.attempts,
        decision,
        metadata,
        ..TaskResult::without_answer(agent, task_id, Some(task_seq), Status::Failed, error, now)
    };
    let result = match standing {
        Some(earlier) => result.of_earlier(&earlier),
        None => result,
    };
    Failure { place, result, encoding }
}

/// The bound is no part of the topology, so somebody has set it: that is what can be mended.
fn cause(stuck: &Stuck) -> String {
    format!(
        "nobody concluded the message in {} deliveries, and the server makes no more of them; `trilane provision` \
         takes the bound (max_deliver) of consumer `{}` away",
        stuck.place.deliveries, stuck.place.consumer
    )
}

/// Clocks of different hosts may disagree; a negative span counts as none.
fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}
