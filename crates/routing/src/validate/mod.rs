//! Validators: whether a producer's demands can be held against an answer at all, and whether an answer meets them.
//!
//! Whatever is accepted here takes time in proportion to demand and answer: the producer of a task must not be able to
//! hold up a worker with its validators. Commands are run by the worker; here stands who may name which.

mod schema;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trilane_protocol::limits::InvalidTask;
use trilane_protocol::nearest::suggestion;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::validator::Validator;
use trilane_protocol::{AgentName, Task};

/// Bytes that a compiled regular expression may take: about ten thousand states, so that the longest answer is searched
/// in well under a second.
const MAX_REGEX_BYTES: usize = 256 * 1_024;

/// Validators of a task and its steps together that have to be compiled: patterns and schemas. Each takes milliseconds.
const MAX_COMPILED: usize = 16;

/// Longest time that a command may be given, seconds: its task holds a slot of the worker for as long.
pub const MAX_TIMEOUT_S: u64 = 600;

/// The commands that validators may name: the section `[validators]`.
pub type Commands = BTreeMap<String, CommandValidator>;

/// A command that judges answers: it reads the answer on stdin, and status 0 says that it will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandValidator {
    /// The program by its absolute path, then its arguments. No shell is asked.
    pub command: Vec<String>,
    /// Seconds after which it is killed, and says nothing about the answer.
    pub timeout_s: u64,
    /// The agents whose tasks may name it.
    pub agents: Vec<AgentName>,
}

impl CommandValidator {
    /// The key at fault and what is wrong with it, if anything is.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        if !self.command.first().is_some_and(|program| program.starts_with('/')) {
            return Some(("command", "expected the absolute path of a program, then its arguments".into()));
        }
        if !(1..=MAX_TIMEOUT_S).contains(&self.timeout_s) {
            return Some(("timeout_s", format!("expected 1 to {MAX_TIMEOUT_S} seconds")));
        }
        let is_open = self.agents.is_empty();
        is_open.then(|| ("agents", "name the agents that may use it; nobody may otherwise".into()))
    }
}

/// Whether the demands of a task and of its steps can be held against an answer. Commands are trusted to whoever
/// publishes the task, whatever agent a step names.
///
/// # Errors
/// [`TaskError`] with the code `invalid_task`, which names the field.
pub fn check(task: &Task, agent: &AgentName, commands: &Commands) -> Result<(), TaskError> {
    let of_task = task.validate.iter().enumerate();
    let of_task = of_task.map(|(index, validator)| (format!("validate[{index}]"), validator));
    let of_steps = task.steps.iter().enumerate().flat_map(|(step, entry)| {
        let of_step = entry.validate.iter().enumerate();
        of_step.map(move |(index, validator)| (format!("steps[{step}].validate[{index}]"), validator))
    });
    let all: Vec<_> = of_task.chain(of_steps).collect();
    let is_compiled = |(_, validator): &&(String, &Validator)| {
        matches!(validator, Validator::JsonSchema(_) | Validator::Regex(_))
    };
    if let Some((field, _)) = all.iter().filter(is_compiled).nth(MAX_COMPILED) {
        let problem = format!("a task and its steps may have {MAX_COMPILED} patterns and schemas together");
        return Err(TaskError::new("invalid_task", InvalidTask::new(field, problem).to_string()));
    }
    all.into_iter().try_for_each(|(field, validator)| {
        check_one(validator, agent, commands)
            .map_err(|problem| TaskError::new("invalid_task", InvalidTask::new(field, problem).to_string()))
    })
}

fn check_one(validator: &Validator, agent: &AgentName, commands: &Commands) -> Result<(), String> {
    match validator {
        Validator::JsonSchema(schema) => schema::compile(schema).map(drop),
        Validator::Regex(pattern) => regex(pattern).map(drop),
        Validator::Contains(_) => Ok(()),
        Validator::Command(name) => command(name, agent, commands).map(drop),
    }
}

/// The command that a task of `agent` names.
///
/// # Errors
/// A sentence, where there is no such command or the agent may not use it.
pub fn command<'a>(
    name: &str,
    agent: &AgentName,
    commands: &'a Commands,
) -> Result<&'a CommandValidator, String> {
    let Some(found) = commands.get(name) else {
        let hint = suggestion(name, commands.keys().map(String::as_str));
        return Err(format!("no such command under [validators]{hint}"));
    };
    if !found.agents.contains(agent) {
        return Err(format!(
            "agent `{agent}` is not trusted with this command; add it to the command's `agents`"
        ));
    }
    Ok(found)
}

/// Whether `answer` meets the demand. `None` where that is not told here: a command, or what cannot be used.
pub fn is_met(validator: &Validator, answer: &str) -> Option<bool> {
    match validator {
        Validator::JsonSchema(schema) => {
            let schema = schema::compile(schema).ok()?;
            let value = serde_json::from_str(answer);
            Some(value.is_ok_and(|value: serde_json::Value| schema.is_valid(&value)))
        }
        Validator::Regex(pattern) => Some(regex(pattern).ok()?.is_match(answer)),
        Validator::Contains(text) => Some(answer.contains(text.as_str())),
        Validator::Command(_) => None,
    }
}

fn regex(pattern: &str) -> Result<regex::Regex, String> {
    let built =
        regex::RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build();
    // What the crate says quotes the pattern, which is text of the task.
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this regular expression is too large; repeat fewer times".into(),
        _ => "expected a regular expression of the crate `regex`, without look-around and back-references"
            .into(),
    })
}

#[cfg(test)]
mod tests;
