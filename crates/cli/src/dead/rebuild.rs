//! From a dead letter to the task that is published again, or the reason why that cannot be.

use jiff::Timestamp;
use trilane_protocol::outcome::DeadLetter;
use trilane_protocol::task::Deadline;
use trilane_protocol::work::{LaneMessage, Return};
use trilane_protocol::{
    AgentName, DecodeError, Encoding, Generation, Sensitivity, Task, TaskId, Work, chain, subjects,
};
use trilane_routing::intake::without_system_prompt;
use trilane_routing::pipeline::Pipeline;
use trilane_routing::registry::Registry;

/// How the ids of replays begin.
const REPLAY: &str = "replay-";

/// Digits of a letter's hash in the id of its replay.
const ID_DIGITS: usize = 8;

/// A task that is published again, as its agent, in the encoding of the first one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Replay {
    pub(crate) agent: AgentName,
    pub(crate) task: Task,
    pub(crate) encoding: Encoding,
}

/// What a replay depends on besides its letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) registry: &'a Registry,
    /// The record of the letter's pipeline, where it has one that is still kept.
    pub(crate) pipeline: Option<&'a Pipeline>,
    pub(crate) now: Timestamp,
    pub(crate) options: Options,
}

/// What the operator allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Also what was refused for security's sake.
    pub(crate) force: bool,
    /// Leave deadlines out.
    pub(crate) without_deadline: bool,
}

/// Why a letter cannot be published again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The letter holds no payload.
    #[error("its payload was too large to be kept with it; publish the task again from where it came")]
    NoPayload,
    /// Nobody to publish it as.
    #[error("its subject names no valid agent; publish the task again on tasks.<agent>")]
    NoAgent,
    /// The payload is no task.
    #[error("mend what `dead show SEQ --payload` shows and publish it anew, for it does not read: {0}")]
    Unreadable(DecodeError),
    /// From a subject that holds no tasks.
    #[error("it came on `{0}`, where no tasks travel")]
    NoTask(String),
    /// Its time is over.
    #[error("its deadline {0} has passed; `--without-deadline` leaves it out")]
    DeadlinePassed(Timestamp),
    /// A step whose pipeline is forgotten.
    #[error(
        "it is a step of a pipeline whose record is no longer kept; publish the pipeline again from where it came"
    )]
    PipelineForgotten,
    /// Somebody tried to get round the trust boundary, or may have.
    #[error(
        "it was refused for security's sake ({0}): look at it first, then `--force` replays it as private"
    )]
    Security(String),
}

/// What a letter holds.
enum Content {
    /// A task as its producer wrote it.
    Task(Box<Task>, Encoding),
    /// Work as the classifier put it on a lane.
    Work(Box<LaneMessage>),
}

/// The task that stands for `letter`, and who publishes it. It goes through the intake like any other, so it is
/// screened again; nothing here makes it less private than it was.
///
/// # Errors
/// [`ReplayError`] says why not, and what to do instead.
pub(crate) fn replayed(letter: &DeadLetter, sequence: u64, given: Given<'_>) -> Result<Replay, ReplayError> {
    let is_suspect = is_security_refusal(&letter.error.code);
    if is_suspect && !given.options.force {
        return Err(ReplayError::Security(letter.error.code.clone()));
    }
    let named = letter.agent.clone().or_else(|| subjects::agent_of(&letter.source.subject));
    let (agent, task, encoding) = match content(letter)? {
        Content::Task(task, encoding) => (named, with_deadline(*task, given)?, encoding),
        Content::Work(message) => {
            let (encoding, agent) = (message.work.encoding, message.work.agent.clone());
            let task = match &message.work.step {
                None => task_of(*message, given.registry),
                Some(_) => with_deadline(whole_pipeline(&message.work, given.pipeline)?, given)?,
            };
            (named.or(Some(agent)), task, encoding)
        }
    };
    let agent = agent.ok_or(ReplayError::NoAgent)?;
    // What a message says of itself counts for nothing where its seal does not hold.
    let sensitivity = if is_suspect { Some(Sensitivity::Private) } else { task.sensitivity };
    Ok(Replay { task: Task { id: Some(id(letter, sequence)), sensitivity, ..task }, agent, encoding })
}

/// The pipeline that a letter is a step of, by the key of its record.
pub(crate) fn pipeline_of(letter: &DeadLetter) -> Option<(AgentName, TaskId)> {
    match content(letter).ok()? {
        Content::Work(message) if message.work.step.is_some() => {
            Some((message.work.agent, message.work.task_id))
        }
        Content::Work(_) | Content::Task(..) => None,
    }
}

/// The id of a letter's replay: the same however often it is asked for, and another one for a letter that has the
/// sequence in a stream that was made anew.
pub(crate) fn id(letter: &DeadLetter, sequence: u64) -> TaskId {
    let hash = chain::hash(&Encoding::Json.encode(letter));
    let text = format!("{REPLAY}{sequence}-{}", &hash[..ID_DIGITS]);
    TaskId::new(text).expect("digits of a number and a hash are a task id")
}

/// Whether an id may be that of a replay.
pub(crate) fn is_replay(task_id: &TaskId) -> bool {
    task_id.as_str().starts_with(REPLAY)
}

/// Whether a letter tells of an attempt, or what may be one, to get round the trust boundary.
pub(crate) fn is_security_refusal(code: &str) -> bool {
    code == "private_in_cloud" || code.starts_with("seal_") || code.starts_with("forged_")
}

fn content(letter: &DeadLetter) -> Result<Content, ReplayError> {
    if letter.payload.is_empty() && letter.payload_bytes > 0 {
        return Err(ReplayError::NoPayload);
    }
    let subject = &letter.source.subject;
    match subject.split('.').next() {
        Some("tasks") => task_as_written(&letter.payload),
        Some("lane") => on_lane(&letter.payload),
        Some("reroute" | "return") => handed_back(&letter.payload),
        // What waits until it is due was one of these before.
        Some("later" | "due") => handed_back(&letter.payload).or_else(|_| task_as_written(&letter.payload)),
        _ => Err(ReplayError::NoTask(subject.clone())),
    }
}

fn task_as_written(payload: &[u8]) -> Result<Content, ReplayError> {
    let encoding = Encoding::detect(None, payload).map_err(ReplayError::Unreadable)?;
    let task = encoding.decode(payload).map_err(ReplayError::Unreadable)?;
    Ok(Content::Task(Box::new(task), encoding))
}

fn on_lane(payload: &[u8]) -> Result<Content, ReplayError> {
    let message = Encoding::Msgpack.decode(payload).map_err(ReplayError::Unreadable)?;
    Ok(Content::Work(Box::new(message)))
}

/// A letter holds what a worker has handed back whole, or only the lane message inside.
fn handed_back(payload: &[u8]) -> Result<Content, ReplayError> {
    match Encoding::Msgpack.decode::<Return>(payload) {
        Ok(returned) => on_lane(&returned.message),
        Err(_) => on_lane(payload),
    }
}

/// A task whose deadline is still ahead, or left out.
fn with_deadline(task: Task, given: Given<'_>) -> Result<Task, ReplayError> {
    match task.deadline {
        _ if given.options.without_deadline => Ok(Task { deadline: None, ..task }),
        Some(Deadline::At(time)) if time <= given.now => Err(ReplayError::DeadlinePassed(time)),
        _ => Ok(task),
    }
}

/// The task that work was made of, as far as that can be told: without the agent's system prompt, which the intake
/// adds again, and without its deadline.
fn task_of(message: LaneMessage, registry: &Registry) -> Task {
    let LaneMessage { work, decision } = message;
    let agent = registry.agent(&work.agent).unwrap_or_else(|| registry.default_agent());
    let is_private = decision.screen.sensitivity == Sensitivity::Private;
    let Generation { max_tokens, temperature, top_p, seed, stop, json_schema } = work.generation;
    Task {
        messages: Some(without_system_prompt(agent, work.messages)),
        sensitivity: if is_private { Some(Sensitivity::Private) } else { work.sensitivity },
        tags: work.tags,
        complexity: work.complexity,
        model: work.model,
        max_tokens,
        temperature,
        top_p,
        seed,
        stop,
        json_schema,
        priority: work.priority,
        max_cost_usd: work.max_cost_usd,
        stream: work.stream,
        metadata: work.metadata,
        ..Task::default()
    }
}

/// The task of a step's pipeline. The record of another task under the same id says nothing about this one.
fn whole_pipeline(step: &Work, pipeline: Option<&Pipeline>) -> Result<Task, ReplayError> {
    let own = pipeline.filter(|pipeline| pipeline.base.task_seq == step.task_seq);
    own.map(|pipeline| pipeline.task.clone()).ok_or(ReplayError::PipelineForgotten)
}

#[cfg(test)]
mod tests;
