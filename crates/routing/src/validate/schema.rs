//! JSON Schemas that are safe to use: nothing remote, and bounded work for any answer.
//!
//! A schema whose references lead back to themselves can take exponential time for a short answer, or never end. So
//! references may only share parts, and what a schema comes to with all of them written out is bounded.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::MAX_REGEX_BYTES;

/// Parts of a schema with its references written out.
const MAX_PARTS: usize = 10_000;

/// How deep they may lie within each other: each level takes some of the thread's stack.
const MAX_DEPTH: usize = 128;

/// Regular expressions in one schema: each may take its bound of memory, and a while to compile.
const MAX_PATTERNS: usize = 8;

/// References that are not resolved by where they stand, but by what was passed before.
const DYNAMIC: [&str; 2] = ["$dynamicRef", "$recursiveRef"];

/// The schema, ready for use.
///
/// # Errors
/// A sentence that says what to change.
pub(super) fn compile(schema: &Value) -> Result<Validator, String> {
    Measure { root: schema, known: BTreeMap::new() }.parts(schema, 0)?;
    if patterns(schema) > MAX_PATTERNS {
        return Err(format!("this schema has over {MAX_PATTERNS} regular expressions; join or drop some"));
    }
    let options = PatternOptions::regex().size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES);
    // What the crate says quotes the schema, which is text of the task.
    let built = jsonschema::options().with_pattern_options(options).build(schema);
    built.map_err(|_| "expected a JSON Schema (drafts 4 to 2020-12) that refers to nothing elsewhere".into())
}

/// Regular expressions in a schema, and perhaps values that only look like one.
fn patterns(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(patterns).sum(),
        Value::Object(map) => {
            let own = map.get("pattern").is_some_and(Value::is_string);
            let named =
                map.get("patternProperties").and_then(Value::as_object).map_or(0, serde_json::Map::len);
            usize::from(own) + named + map.values().map(patterns).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Counts what a schema comes to.
struct Measure<'a> {
    root: &'a Value,
    /// What each reference comes to; `None` while it is counted.
    known: BTreeMap<&'a str, Option<usize>>,
}

impl<'a> Measure<'a> {
    fn parts(&mut self, value: &'a Value, depth: usize) -> Result<usize, String> {
        if depth > MAX_DEPTH {
            return Err(format!("this schema is more than {MAX_DEPTH} levels deep; make it flatter"));
        }
        let mut parts: usize = 1;
        match value {
            Value::Array(items) => {
                for item in items {
                    parts = parts.saturating_add(self.parts(item, depth + 1)?);
                }
            }
            Value::Object(map) => {
                if DYNAMIC.iter().any(|key| map.contains_key(*key)) {
                    return Err("this schema has dynamic references; use `$ref`".into());
                }
                if depth > 0 && map.get("$id").is_some_and(Value::is_string) {
                    return Err("a part of this schema has an `$id` of its own; refer to it by `#/…`".into());
                }
                if let Some(Value::String(reference)) = map.get("$ref") {
                    parts = parts.saturating_add(self.referred(reference, depth)?);
                }
                for below in map.values() {
                    parts = parts.saturating_add(self.parts(below, depth + 1)?);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        if parts > MAX_PARTS {
            let message = format!(
                "this schema has over {MAX_PARTS} parts with its references written out; make it smaller"
            );
            return Err(message);
        }
        Ok(parts)
    }

    fn referred(&mut self, reference: &'a str, depth: usize) -> Result<usize, String> {
        match self.known.get(reference) {
            Some(Some(parts)) => return Ok(*parts),
            Some(None) => return Err(recursive()),
            None => {}
        }
        let Some(pointer) = reference.strip_prefix('#').filter(|pointer| pointer.starts_with('/')) else {
            return Err(match reference {
                "#" => recursive(),
                _ => "a `$ref` of this schema is not of the form `#/…`; nothing else is looked up".into(),
            });
        };
        let root = self.root;
        let target = pointer_target(root, pointer).ok_or("a `$ref` of this schema leads nowhere")?;
        self.known.insert(reference, None);
        let parts = self.parts(target, depth + 1)?;
        self.known.insert(reference, Some(parts));
        Ok(parts)
    }
}

/// A pointer with percent signs could be read in two ways, so it leads nowhere.
fn pointer_target<'a>(root: &'a Value, pointer: &str) -> Option<&'a Value> {
    root.pointer(pointer).filter(|_| !pointer.contains('%'))
}

fn recursive() -> String {
    "a `$ref` of this schema leads back to itself; write out as many levels as you need".into()
}
