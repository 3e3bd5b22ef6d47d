//! Validators: what a producer demands of the answer to its task.

use serde::{Deserialize, Serialize};

use crate::limits::{InvalidTask, TaskLimits, check_count, encoded_bytes};

/// One demand on an answer. An answer that fails one is not a good answer, whatever it costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// The answer is JSON that satisfies this schema.
    JsonSchema(serde_json::Value),
    /// This regular expression matches somewhere in the answer. Syntax: the crate `regex`, without look-around.
    Regex(String),
    /// The answer holds this text.
    Contains(String),
    /// The command of this name, an entry of `[validators]`, ends with status 0 when it reads the answer on stdin.
    /// Only for agents that the entry trusts.
    Command(String),
}

impl Validator {
    /// Its kind, as outcomes and metrics name it.
    pub fn kind(&self) -> ValidatorKind {
        match self {
            Self::JsonSchema(_) => ValidatorKind::JsonSchema,
            Self::Regex(_) => ValidatorKind::Regex,
            Self::Contains(_) => ValidatorKind::Contains,
            Self::Command(_) => ValidatorKind::Command,
        }
    }

    fn check(&self, path: &str, limits: &TaskLimits) -> Result<(), InvalidTask> {
        let bytes = encoded_bytes(self);
        check_count(path, bytes, limits.max_schema_bytes, "bytes, limits.max_schema_bytes")?;
        match self {
            Self::Regex(text) | Self::Contains(text) | Self::Command(text) if text.is_empty() => {
                Err(InvalidTask::new(path, "expected some text, found none"))
            }
            _ => Ok(()),
        }
    }
}

/// Checks the number and size of validators; whether they compile is checked where they are known to be run.
pub(crate) fn check(path: &str, validators: &[Validator], limits: &TaskLimits) -> Result<(), InvalidTask> {
    check_count(path, validators.len(), limits.max_validators, "limits.max_validators")?;
    validators
        .iter()
        .enumerate()
        .try_for_each(|(index, validator)| validator.check(&format!("{path}[{index}]"), limits))
}

impl ValidatorKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonSchema => "json_schema",
            Self::Regex => "regex",
            Self::Contains => "contains",
            Self::Command => "command",
        }
    }
}

/// The kind of a [`Validator`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidatorKind {
    /// See [`Validator::JsonSchema`].
    JsonSchema,
    /// See [`Validator::Regex`].
    Regex,
    /// See [`Validator::Contains`].
    Contains,
    /// See [`Validator::Command`].
    Command,
}
