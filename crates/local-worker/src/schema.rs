//! From a JSON schema to the grammar that holds an answer to it.
//!
//! llama.cpp's converter passes over keywords that a grammar cannot express. An answer would then break the
//! schema in silence, so a schema is walked first, and refused where it says more than the grammar will hold.

use serde_json::{Map, Value};

/// Deepest schema that is walked.
const MAX_DEPTH: usize = 64;
/// Keywords that say nothing about the answer.
const NOTES: [&str; 14] = [
    "$schema",
    "$id",
    "$comment",
    "$anchor",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$vocabulary",
];
/// Deepest groups of a `pattern`.
const MAX_PATTERN_GROUPS: usize = 16;
/// String formats that the converter knows.
const FORMATS: [&str; 4] = ["date", "time", "date-time", "uuid"];

/// Why a schema cannot be held to. Places are given without the names of properties, which are the task's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the JSON schema cannot be held to at `{place}`: {problem}")]
pub struct SchemaError {
    place: String,
    problem: String,
}

/// The GBNF grammar of `schema`, with the rule `root`.
///
/// # Errors
/// [`SchemaError`] names the keyword that no grammar can hold, or what is malformed.
pub fn grammar(schema: &Value) -> Result<String, SchemaError> {
    check(schema, "#", 0)?;
    llama_cpp_2::json_schema_to_grammar(&schema.to_string())
        .map_err(|_| refuse("#", "it is malformed or has a `$ref` that leads nowhere"))
}

fn refuse(place: &str, problem: impl Into<String>) -> SchemaError {
    SchemaError { place: place.into(), problem: problem.into() }
}

fn check(schema: &Value, place: &str, depth: usize) -> Result<(), SchemaError> {
    if depth > MAX_DEPTH {
        return Err(refuse("#", format!("it is nested deeper than {MAX_DEPTH} levels")));
    }
    let Value::Object(node) = schema else {
        return Err(refuse(place, "expected an object"));
    };
    for definitions in ["$defs", "definitions"] {
        check_each(node.get(definitions), &format!("{place}/{definitions}"), depth)?;
    }
    // The order in which the converter looks: the first of these decides, and all else would be passed over.
    if node.contains_key("$ref") {
        return only(node, place, &["$ref"]);
    }
    for alternatives in ["oneOf", "anyOf"] {
        if let Some(list) = node.get(alternatives) {
            only(node, place, &[alternatives])?;
            return check_each(Some(list), &format!("{place}/{alternatives}"), depth);
        }
    }
    match node.get("type") {
        Some(Value::Array(types)) => types.iter().try_for_each(|kind| {
            let mut single = node.clone();
            single.insert("type".into(), kind.clone());
            check(&Value::Object(single), place, depth + 1)
        }),
        _ if node.contains_key("const") => check_values(node, place, "const"),
        _ if node.contains_key("enum") => check_values(node, place, "enum"),
        Some(Value::String(kind)) => check_type(node, kind, place, depth),
        Some(_) => Err(refuse(place, "`type` must be a string or a list of strings")),
        None => check_untyped(node, place, depth),
    }
}

fn check_each(schemas: Option<&Value>, place: &str, depth: usize) -> Result<(), SchemaError> {
    match schemas {
        None => Ok(()),
        Some(Value::Object(map)) => {
            map.values().try_for_each(|one| check(one, &format!("{place}/*"), depth + 1))
        }
        Some(Value::Array(list)) => {
            list.iter().try_for_each(|one| check(one, &format!("{place}/*"), depth + 1))
        }
        Some(_) => Err(refuse(place, "expected schemas")),
    }
}

/// Refuses every keyword that is neither a note nor `allowed`.
fn only(node: &Map<String, Value>, place: &str, allowed: &[&str]) -> Result<(), SchemaError> {
    let known = |key: &str| NOTES.contains(&key) || allowed.contains(&key);
    match node.keys().find(|key| !known(key.as_str())) {
        None => Ok(()),
        Some(key) if is_keyword(key) => {
            let beside =
                allowed.first().filter(|first| **first != "type").map(|first| format!(" beside `{first}`"));
            Err(refuse(place, format!("`{key}`{} is not supported here", beside.unwrap_or_default())))
        }
        Some(_) => Err(refuse(place, "it has a keyword that is unknown")),
    }
}

/// Whether a key looks like a keyword and not like the task's own words.
fn is_keyword(key: &str) -> bool {
    const KNOWN: [&str; 32] = [
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
        "items",
        "prefixItems",
        "additionalItems",
        "unevaluatedItems",
        "contains",
        "uniqueItems",
        "minItems",
        "maxItems",
        "pattern",
        "format",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "not",
        "allOf",
    ];
    KNOWN.contains(&key) || ["if", "then", "else", "oneOf", "anyOf", "$ref"].contains(&key)
}

fn check_values(node: &Map<String, Value>, place: &str, keyword: &str) -> Result<(), SchemaError> {
    only(node, place, &[keyword, "type"])?;
    let values: &[Value] = match (&node[keyword], keyword) {
        (Value::Array(list), "enum") if !list.is_empty() => list,
        (_, "enum") => return Err(refuse(place, "`enum` must be a list that is not empty")),
        (value, _) => std::slice::from_ref(value),
    };
    let Some(Value::String(kind)) = node.get("type") else { return Ok(()) };
    if values.iter().all(|value| is_of_type(value, kind)) {
        return Ok(());
    }
    Err(refuse(place, format!("a value of `{keyword}` is not of the `type` beside it")))
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn check_type(node: &Map<String, Value>, kind: &str, place: &str, depth: usize) -> Result<(), SchemaError> {
    match kind {
        "object" => check_object(node, place, depth),
        "array" => check_array(node, place, depth),
        "string" => check_string(node, place),
        "integer" => check_integer(node, place),
        "number" | "boolean" | "null" => only(node, place, &["type"]),
        _ => Err(refuse(place, "`type` names no JSON type")),
    }
}

fn check_untyped(node: &Map<String, Value>, place: &str, depth: usize) -> Result<(), SchemaError> {
    if node.contains_key("properties") {
        return check_object(node, place, depth);
    }
    only(node, place, &[]).map_err(|error| refuse(place, format!("{}; give a `type`", error.problem)))
}

fn check_object(node: &Map<String, Value>, place: &str, depth: usize) -> Result<(), SchemaError> {
    only(node, place, &["type", "properties", "required", "additionalProperties"])?;
    let properties = node.get("properties");
    check_each(properties, &format!("{place}/properties"), depth)?;
    if let Some(more @ Value::Object(_)) = node.get("additionalProperties") {
        check(more, &format!("{place}/additionalProperties"), depth + 1)?;
    }
    let is_property = |name: &Value| {
        name.as_str().is_some_and(|name| properties.is_some_and(|map| map.get(name).is_some()))
    };
    match node.get("required") {
        Some(Value::Array(names)) if !names.iter().all(is_property) => {
            Err(refuse(place, "`required` names something that is not under `properties`"))
        }
        Some(Value::Array(_)) | None => Ok(()),
        Some(_) => Err(refuse(place, "`required` must be a list of names")),
    }
}

fn check_array(node: &Map<String, Value>, place: &str, depth: usize) -> Result<(), SchemaError> {
    match node.get("items").or_else(|| node.get("prefixItems")) {
        Some(Value::Array(list)) => {
            // A list of schemas makes a tuple of exactly that length.
            let first = if node.contains_key("items") { "items" } else { "prefixItems" };
            only(node, place, &["type", first])?;
            list.iter().try_for_each(|item| check(item, &format!("{place}/{first}"), depth + 1))
        }
        Some(item) => {
            only(node, place, &["type", "items", "minItems", "maxItems"])?;
            check(item, &format!("{place}/items"), depth + 1)
        }
        None => only(node, place, &["type", "minItems", "maxItems"]),
    }
}

fn check_string(node: &Map<String, Value>, place: &str) -> Result<(), SchemaError> {
    if let Some(pattern) = node.get("pattern") {
        only(node, place, &["pattern", "type"])?;
        let fits = pattern.as_str().is_some_and(is_plain_pattern);
        let problem =
            "`pattern` must start with ^, end with $, and use only literals, classes, groups and repetition";
        return if fits { Ok(()) } else { Err(refuse(place, problem)) };
    }
    if let Some(format) = node.get("format") {
        only(node, place, &["format", "type"])?;
        let known = format.as_str().is_some_and(|format| FORMATS.contains(&format));
        return if known {
            Ok(())
        } else {
            Err(refuse(place, format!("`format` must be one of {}", FORMATS.join(", "))))
        };
    }
    only(node, place, &["type", "minLength", "maxLength"])
}

/// Patterns that the converter turns into a grammar; for others it would accept any string.
fn is_plain_pattern(pattern: &str) -> bool {
    let Some(inner) = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')) else { return false };
    let mut rest = inner;
    let mut repeatable = false;
    let mut open = 0usize;
    while let Some(first) = rest.chars().next() {
        let tail = &rest[first.len_utf8()..];
        let is_repetition = matches!(first, '*' | '+' | '?' | '{');
        if is_repetition && !repeatable {
            return false;
        }
        repeatable = !is_repetition && !matches!(first, '(' | '|');
        let next = match first {
            '\\' => tail.strip_prefix(|escaped| "^$.[]()|{}*+?trn\\\"-".contains(escaped)),
            '[' => after_class(tail),
            '{' => after_repetition(tail),
            '(' => {
                open += 1;
                if tail.starts_with('?') { tail.strip_prefix("?:") } else { Some(tail) }
            }
            ')' => open.checked_sub(1).map(|left| {
                open = left;
                tail
            }),
            '^' | '$' | ']' | '}' => None,
            _ => Some(tail),
        };
        let Some(next) = next else { return false };
        if open > MAX_PATTERN_GROUPS {
            return false;
        }
        rest = next;
    }
    open == 0
}

/// What follows a character class, whose `[` has been read.
fn after_class(mut rest: &str) -> Option<&str> {
    loop {
        let first = rest.chars().next()?;
        let tail = &rest[first.len_utf8()..];
        rest = match first {
            ']' => return Some(tail),
            '\\' => tail.strip_prefix(|escaped| "trn\\\"[]-".contains(escaped))?,
            _ => tail,
        };
    }
}

/// What follows `n}`, `n,}`, `,m}` or `n,m}`.
fn after_repetition(rest: &str) -> Option<&str> {
    let (numbers, tail) = rest.split_once('}')?;
    let is_number = |text: &str| text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = match numbers.split_once(',') {
        None => !numbers.is_empty() && is_number(numbers),
        Some((least, most)) => is_number(least) && is_number(most),
    };
    fits.then_some(tail)
}

fn check_integer(node: &Map<String, Value>, place: &str) -> Result<(), SchemaError> {
    only(node, place, &["type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])?;
    for (one, other) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        if node.contains_key(one) && node.contains_key(other) {
            return Err(refuse(place, format!("`{one}` and `{other}` exclude each other here")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_grammar_can_hold_is_converted() {
        let schemas = [
            json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
                   "required": ["name", "age"], "additionalProperties": false}),
            json!({"type": "array", "items": {"enum": ["red", "green", 3]}, "minItems": 1, "maxItems": 4}),
            json!({"type": ["string", "null"]}),
            json!({"anyOf": [{"const": 1}, {"type": "boolean"}]}),
            json!({"$defs": {"id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+(?:a|b)?$"}}, "type": "object",
                   "properties": {"id": {"$ref": "#/$defs/id", "description": "the number"}}}),
            json!({"type": "string", "format": "date"}),
            json!({}),
        ];
        for schema in schemas {
            let grammar = grammar(&schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
            assert!(grammar.contains("root ::="), "{grammar}");
        }
    }

    #[test]
    fn what_would_be_passed_over_is_refused_with_its_name() {
        let refused = [
            (json!({"type": "number", "minimum": 0}), "`minimum`"),
            (json!({"type": "integer", "multipleOf": 5}), "`multipleOf`"),
            (json!({"type": "array", "uniqueItems": true}), "`uniqueItems`"),
            (json!({"type": "object", "patternProperties": {}}), "`patternProperties`"),
            (json!({"type": "object", "required": ["a"]}), "`required`"),
            (json!({"type": "string", "pattern": "colou?r"}), "`pattern`"),
            (json!({"type": "string", "pattern": "^(?=a)b$"}), "`pattern`"),
            (json!({"type": "string", "pattern": "^\\d$"}), "`pattern`"),
            (json!({"type": "string", "pattern": "^a+?$"}), "`pattern`"),
            (json!({"type": "string", "pattern": "^[a-z$"}), "`pattern`"),
            (json!({"type": "string", "pattern": "^(a$"}), "`pattern`"),
            (json!({"type": "string", "format": "email"}), "`format`"),
            (json!({"type": "string", "pattern": "^a$", "maxLength": 3}), "`maxLength` beside `pattern`"),
            (json!({"$ref": "#/$defs/a", "minLength": 3}), "`minLength` beside `$ref`"),
            (json!({"not": {"type": "null"}}), "`not`"),
            (json!({"type": "string", "enum": [1]}), "`enum`"),
            (json!({"type": "object", "properties": {"private name": {"allOf": []}}}), "#/properties/*"),
            (json!({"$ref": "#/nowhere"}), "leads nowhere"),
            (json!(true), "expected an object"),
        ];
        for (schema, reason) in refused {
            let error = grammar(&schema).unwrap_err().to_string();
            assert!(error.contains(reason), "{schema}: {error}");
            assert!(!error.contains("private name"), "{error}");
        }
    }

    #[test]
    fn a_schema_as_deep_as_the_wire_allows_is_refused() {
        let deep = (0..120).fold(json!({}), |inner, _| json!({"type": "array", "items": inner}));
        assert!(grammar(&deep).unwrap_err().to_string().contains("nested deeper"));
    }
}
