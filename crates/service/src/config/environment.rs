//! The environment as a source: `TRILANE__A__B_C` names `a.b_c`, or the existing key that looks like it
//! (`a.b-c`, `a.b.c`), so that every key can be reached from a shell.

use toml::{Table, Value};
use trilane_protocol::nearest::suggestion;

const PREFIX: &str = "TRILANE__";
const SEPARATOR: &str = "__";

/// The table that the variables with our prefix describe, placed among the `known` keys.
///
/// # Errors
/// A sentence that names the variable.
pub(super) fn overrides(
    variables: impl IntoIterator<Item = (String, String)>,
    known: &Table,
) -> Result<Table, String> {
    let mut table = Table::new();
    for (variable, text) in variables {
        let Some(path) = variable.strip_prefix(PREFIX) else { continue };
        let segments: Vec<String> = path.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
        let entry = nested(&segments, value(&text), Some(known))
            .map_err(|problem| format!("{variable}: {problem}"))?;
        merge(&mut table, entry);
    }
    Ok(table)
}

/// Puts `upper` on top of `lower`, table by table.
pub(super) fn merge(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

/// A value as TOML reads it; text that is no TOML value stands for itself.
fn value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn nested(segments: &[String], value: Value, known: Option<&Table>) -> Result<Table, String> {
    let [segment, rest @ ..] = segments else { return Err("expected a key after the prefix".into()) };
    let key = match known {
        Some(known) => existing(segment, known)?,
        None => segment.clone(),
    };
    let inner = match rest {
        [] => value,
        _ => {
            let below = known.and_then(|known| known.get(&key)).and_then(Value::as_table);
            Value::Table(nested(rest, value, below)?)
        }
    };
    Ok(Table::from_iter([(key, inner)]))
}

/// The known key that a shell can only spell with underscores. Tables of named entries take new names.
fn existing(segment: &str, known: &Table) -> Result<String, String> {
    let spelled = |key: &str| key.to_ascii_lowercase().replace(['-', '.'], "_");
    if let Some(key) = known.keys().find(|key| spelled(key) == *segment) {
        return Ok(key.clone());
    }
    let holds_named_entries = known.values().all(Value::is_table) && !known.contains_key("nats");
    if holds_named_entries {
        return Ok(segment.replace('_', "-"));
    }
    let hint = suggestion(segment, known.keys().map(String::as_str));
    // An optional key of a named entry, of the budget or the policy, is not in the table yet; the decoder knows whether it
    // exists.
    if ["backend", "model", "on_ambiguous", "untagged"].iter().any(|key| known.contains_key(*key)) {
        return Ok(segment.to_owned());
    }
    Err(format!("`{segment}` is not a key of the configuration{hint}"))
}
