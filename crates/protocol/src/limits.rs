//! The bounds a task is held to, and the error of one that is over them. Each bound has a default here and a
//! key under `[limits]` in the configuration.

use serde::{Deserialize, Serialize};

/// Bounds of one task. Each is checked at the intake; a task over one of them ends as `rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskLimits {
    /// Encoded task, bytes. The server's `max_payload` must be larger.
    pub max_task_bytes: usize,
    /// Messages of one conversation.
    pub max_messages: usize,
    /// Tags of one task.
    pub max_tags: usize,
    /// Longest tag, bytes.
    pub max_tag_bytes: usize,
    /// Stop sequences of one task.
    pub max_stop_sequences: usize,
    /// Longest stop sequence, bytes.
    pub max_stop_bytes: usize,
    /// Encoded JSON schema, bytes.
    pub max_schema_bytes: usize,
    /// Encoded metadata, bytes.
    pub max_metadata_bytes: usize,
    /// Validators of one task or step; each within `max_schema_bytes`.
    pub max_validators: usize,
    /// Steps of one pipeline.
    pub max_steps: usize,
    /// Largest `max_tokens` a task may ask for.
    pub max_tokens: u32,
    /// Furthest deadline, seconds from publish. Results are kept for longer than this.
    pub max_deadline_s: u64,
    /// Furthest `not_before`, seconds from publish.
    pub max_not_before_s: u64,
}

impl Default for TaskLimits {
    fn default() -> Self {
        Self {
            max_task_bytes: 1024 * 1024,
            max_messages: 256,
            max_tags: 32,
            max_tag_bytes: 64,
            max_stop_sequences: 8,
            max_stop_bytes: 64,
            max_schema_bytes: 32 * 1024,
            max_metadata_bytes: 16 * 1024,
            max_validators: 8,
            max_steps: 16,
            max_tokens: 32_768,
            max_deadline_s: 7 * 24 * 3600,
            max_not_before_s: 30 * 24 * 3600,
        }
    }
}

/// A task that cannot be accepted: the field at fault, and what was expected of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {expected}")]
pub struct InvalidTask {
    /// Path of the field, such as `steps[1].prompt`.
    pub field: String,
    /// What was expected, and what to do.
    pub expected: String,
}

impl InvalidTask {
    /// An error for `field`.
    pub fn new(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), expected: expected.into() }
    }
}

pub(crate) fn check_count(field: &str, found: usize, most: usize, limit: &str) -> Result<(), InvalidTask> {
    if found > most {
        return Err(InvalidTask::new(field, format!("found {found}, expected at most {most} ({limit})")));
    }
    Ok(())
}

/// Size as JSON. Maps and values always encode; a failure would mean a broken allocator.
pub(crate) fn encoded_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}
