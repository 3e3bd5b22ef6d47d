//! From a task on the wire to the first piece of routable work: defaults filled in, references resolved.

use jiff::Timestamp;
use trilane_protocol::limits::{InvalidTask, TaskLimits};
use trilane_protocol::nearest::suggestion;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::task::Role;
use trilane_protocol::work::Spent;
use trilane_protocol::{AgentName, Encoding, Message, ModelName, Task, TaskId, Work};

use crate::policy::{Policy, UnknownAgent};
use crate::registry::{Agent, ModelChoice, Registry};

/// Where a task came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The agent in the subject.
    pub agent: AgentName,
    /// Sequence in the TASKS stream.
    pub sequence: u64,
    /// The `Nats-Msg-Id` header.
    pub message_id: Option<String>,
    /// When the server stored it.
    pub published_at: Timestamp,
    /// How it is written.
    pub encoding: Encoding,
}

/// Makes work of a task, or says why not. Of a pipeline this is the input as it stands: see
/// [`pipeline`](crate::pipeline) for its steps.
///
/// # Errors
/// [`TaskError`] with the code `invalid_task`, `unknown_agent`, `unknown_model` or `model_without_lane`.
pub fn intake(
    task: &Task,
    origin: &Origin,
    registry: &Registry,
    policy: &Policy,
    limits: &TaskLimits,
) -> Result<Work, TaskError> {
    task.check(limits).map_err(|error| invalid(&error))?;
    let deadline = deadline(task, origin, limits).map_err(|error| invalid(&error))?;
    let agent = agent_entry(&origin.agent, registry, policy)?;
    let model = pinned_model(task.model.as_ref(), agent, registry)?;
    Ok(Work {
        task_id: task_id(task, origin)?,
        agent: origin.agent.clone(),
        task_seq: origin.sequence,
        hop: 0,
        step: None,
        encoding: origin.encoding,
        published_at: origin.published_at,
        deadline,
        messages: conversation(task, agent),
        generation: task.generation(),
        sensitivity: task.sensitivity,
        tags: task.tags.clone(),
        complexity: task.complexity,
        model,
        priority: task.priority,
        max_cost_usd: task.max_cost_usd,
        stream: task.stream,
        validate: task.validate.clone(),
        earlier: None,
        shadow: false,
        metadata: task.metadata.clone(),
        spent: Spent::default(),
    })
}

/// The task's own id, else the message id, else the stream sequence, which the publisher reads in its
/// acknowledgement. Ids of digits alone are the stream's, so that no task can be given another one's id.
///
/// # Errors
/// [`TaskError`] where the id is no task id, or one of the stream's.
pub fn task_id(task: &Task, origin: &Origin) -> Result<TaskId, TaskError> {
    let (field, id) = match (&task.id, &origin.message_id) {
        (Some(id), _) => ("id", Ok(id.clone())),
        (None, Some(header)) => ("Nats-Msg-Id", TaskId::new(header.as_str())),
        (None, None) => return Ok(sequence_id(origin.sequence)),
    };
    let id = id.map_err(|error| invalid(&InvalidTask::new(field, error.to_string())))?;
    if is_the_stream_s(&id) {
        let expected = "ids of digits alone are given by the stream; put a letter into yours";
        return Err(invalid(&InvalidTask::new(field, expected)));
    }
    Ok(id)
}

fn is_the_stream_s(id: &TaskId) -> bool {
    id.as_str().bytes().all(|byte| byte.is_ascii_digit())
}

/// The deadline as a time. However it was given, it may not outlive the result.
fn deadline(task: &Task, origin: &Origin, limits: &TaskLimits) -> Result<Option<Timestamp>, InvalidTask> {
    let Some(deadline) = task.deadline.map(|deadline| deadline.resolve(origin.published_at)) else {
        return Ok(None);
    };
    let ahead_s = deadline.as_second().saturating_sub(origin.published_at.as_second());
    if ahead_s > i64::try_from(limits.max_deadline_s).unwrap_or(i64::MAX) {
        let expected =
            format!("expected at most {} seconds ahead (limits.max_deadline_s)", limits.max_deadline_s);
        return Err(InvalidTask::new("deadline", expected));
    }
    Ok(Some(deadline))
}

/// When the task may first be put on a lane, if it says so.
///
/// # Errors
/// [`TaskError`] with the code `invalid_task` for one that is too far away, or not before its deadline.
pub fn not_before(
    task: &Task,
    deadline: Option<Timestamp>,
    origin: &Origin,
    limits: &TaskLimits,
) -> Result<Option<Timestamp>, TaskError> {
    let Some(time) = task.not_before.map(|time| time.resolve(origin.published_at)) else { return Ok(None) };
    let refuse = |expected: String| Err(invalid(&InvalidTask::new("not_before", expected)));
    let ahead_s = time.as_second().saturating_sub(origin.published_at.as_second());
    if ahead_s > i64::try_from(limits.max_not_before_s).unwrap_or(i64::MAX) {
        let most = limits.max_not_before_s;
        return refuse(format!("expected at most {most} seconds ahead (limits.max_not_before_s)"));
    }
    if deadline.is_some_and(|deadline| deadline <= time) {
        return refuse("expected a time before `deadline`".into());
    }
    Ok(Some(time))
}

/// The id of a task without one: its stream sequence.
pub fn sequence_id(sequence: u64) -> TaskId {
    TaskId::new(sequence.to_string()).expect("digits are a task id")
}

/// The id under which the producer of a task will look for its result, even where the task does not read: the one
/// in the payload if that much can be read, else the message id, else the stream sequence. Never one that the stream has
/// given or will give to another task.
pub fn likely_id(payload: &[u8], encoding: Encoding, message_id: Option<&str>, sequence: u64) -> TaskId {
    let fields: Option<serde_json::Map<String, serde_json::Value>> = encoding.decode(payload).ok();
    let in_payload = fields.and_then(|fields| TaskId::new(fields.get("id")?.as_str()?).ok());
    let in_header = || TaskId::new(message_id?).ok();
    let own = in_payload.or_else(in_header).filter(|id| !is_the_stream_s(id));
    own.unwrap_or_else(|| sequence_id(sequence))
}

/// The agent's entry in the registry, as the policy has it for agents without one.
///
/// # Errors
/// [`TaskError`] with the code `unknown_agent`.
pub fn agent_entry<'a>(
    name: &AgentName,
    registry: &'a Registry,
    policy: &Policy,
) -> Result<&'a Agent, TaskError> {
    match (registry.agent(name), policy.unknown_agent) {
        (Some(agent), _) => Ok(agent),
        (None, UnknownAgent::Default) => Ok(registry.default_agent()),
        (None, UnknownAgent::Reject) => {
            let hint = suggestion(name.as_str(), registry.agents.keys().map(AgentName::as_str));
            let message = format!("agent `{name}` is not in the registry; add it under [agents]{hint}");
            Err(TaskError::new("unknown_agent", message))
        }
    }
}

/// The model that the task names, else the one that its agent names.
pub(crate) fn pinned_model(
    named: Option<&ModelName>,
    agent: &Agent,
    registry: &Registry,
) -> Result<Option<ModelName>, TaskError> {
    let pinned = match (named, &agent.model) {
        (Some(model), _) | (None, ModelChoice::Model(model)) => model,
        (None, ModelChoice::Lane(lane)) => &registry.lanes[lane].models[0],
        (None, ModelChoice::Auto) => return Ok(None),
    };
    if !registry.models.contains_key(pinned) {
        let hint = suggestion(pinned.as_str(), registry.models.keys().map(ModelName::as_str));
        let message = format!("field `model`: `{pinned}` is not in the registry{hint}");
        return Err(TaskError::new("unknown_model", message));
    }
    if registry.lane_of(pinned).is_none() {
        let message =
            format!("field `model`: `{pinned}` is on no lane; add it to the `models` of one under [lanes]");
        return Err(TaskError::new("model_without_lane", message));
    }
    Ok(Some(pinned.clone()))
}

fn conversation(task: &Task, agent: &Agent) -> Vec<Message> {
    let own = match (&task.prompt, &task.messages) {
        (_, Some(messages)) => messages.clone(),
        (prompt, None) => vec![user_message(prompt.clone().unwrap_or_default())],
    };
    with_system_prompt(agent, own)
}

pub(crate) fn user_message(content: String) -> Message {
    Message { role: Role::User, content }
}

/// The agent's system prompt goes first; a task's own follows it in the same message.
pub(crate) fn with_system_prompt(agent: &Agent, mut messages: Vec<Message>) -> Vec<Message> {
    let Some(prompt) = &agent.system_prompt else { return messages };
    match messages.first_mut() {
        Some(first) if first.role == Role::System => first.content = format!("{prompt}\n\n{}", first.content),
        _ => messages.insert(0, Message { role: Role::System, content: prompt.clone() }),
    }
    messages
}

/// The conversation as its producer wrote it: [`with_system_prompt`] turned back. Where the agent's prompt has
/// changed since, the old one stays.
pub fn without_system_prompt(agent: &Agent, mut messages: Vec<Message>) -> Vec<Message> {
    let (Some(prompt), Some(first)) = (&agent.system_prompt, messages.first_mut()) else { return messages };
    if first.role != Role::System {
        return messages;
    }
    if first.content == *prompt {
        messages.remove(0);
    } else if let Some(own) =
        first.content.strip_prefix(prompt.as_str()).and_then(|rest| rest.strip_prefix("\n\n"))
    {
        first.content = own.to_owned();
    }
    messages
}

fn invalid(error: &InvalidTask) -> TaskError {
    TaskError::new("invalid_task", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.into() }
    }

    #[test]
    fn taking_the_system_prompt_away_gives_back_what_the_producer_wrote() {
        let agent = |prompt: Option<&str>| Agent {
            model: ModelChoice::Auto,
            sensitivity: None,
            system_prompt: prompt.map(str::to_owned),
            budget_day_usd: None,
            budget_week_usd: None,
        };
        let conversations = [
            vec![message(Role::User, "hi")],
            vec![message(Role::System, "be brief"), message(Role::User, "hi")],
            vec![message(Role::System, "You help."), message(Role::User, "hi")],
        ];
        for own in conversations {
            for prompt in [None, Some("You help.")] {
                let agent = agent(prompt);
                let sent = with_system_prompt(&agent, own.clone());
                assert_eq!(without_system_prompt(&agent, sent), own, "{prompt:?}");
            }
        }
    }
}
