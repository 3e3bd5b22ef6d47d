//! How to generate: settings that every backend honours or refuses.

use serde::{Deserialize, Serialize};

use crate::limits::{InvalidTask, TaskLimits, check_count, encoded_bytes};

/// How to generate. Every backend honours or refuses each setting with an error; none ignores one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Most tokens to generate. Absent: `policy.default_max_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature, 0 to 2; 0 is greedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus sampling: probability mass, 0 (exclusive) to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Seed of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// Texts at which generation ends; they are not part of the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// JSON Schema that the answer must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<serde_json::Value>,
}

impl Generation {
    /// Checks ranges and sizes; `path` prefixes the field name in errors.
    ///
    /// # Errors
    /// [`InvalidTask`] with the first field at fault.
    pub fn check(&self, path: &str, limits: &TaskLimits) -> Result<(), InvalidTask> {
        let fail = |field: &str, expected: String| Err(InvalidTask::new(format!("{path}{field}"), expected));
        if self.max_tokens.is_some_and(|count| count == 0 || count > limits.max_tokens) {
            return fail("max_tokens", format!("expected 1 to {} (limits.max_tokens)", limits.max_tokens));
        }
        if self.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
            return fail("temperature", "expected a number from 0 to 2".into());
        }
        if self.top_p.is_some_and(|value| !(value > 0.0 && value <= 1.0)) {
            return fail("top_p", "expected a number above 0, at most 1".into());
        }
        check_count(
            &format!("{path}stop"),
            self.stop.len(),
            limits.max_stop_sequences,
            "limits.max_stop_sequences",
        )?;
        if self.stop.iter().any(|text| text.is_empty() || text.len() > limits.max_stop_bytes) {
            let expected =
                format!("expected texts of 1 to {} bytes (limits.max_stop_bytes)", limits.max_stop_bytes);
            return fail("stop", expected);
        }
        match &self.json_schema {
            Some(schema) if !schema.is_object() => {
                fail("json_schema", "expected a JSON Schema object".into())
            }
            Some(schema) => check_count(
                &format!("{path}json_schema"),
                encoded_bytes(schema),
                limits.max_schema_bytes,
                "bytes, limits.max_schema_bytes",
            ),
            None => Ok(()),
        }
    }

    /// These settings, with what they leave open taken from `fallback`.
    pub fn or(self, fallback: &Self) -> Self {
        Self {
            max_tokens: self.max_tokens.or(fallback.max_tokens),
            temperature: self.temperature.or(fallback.temperature),
            top_p: self.top_p.or(fallback.top_p),
            seed: self.seed.or(fallback.seed),
            stop: if self.stop.is_empty() { fallback.stop.clone() } else { self.stop },
            json_schema: self.json_schema.or_else(|| fallback.json_schema.clone()),
        }
    }
}
