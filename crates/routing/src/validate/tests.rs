use serde_json::{Value, json};

use super::*;

fn task(value: Value) -> Task {
    serde_json::from_value(value).unwrap()
}

fn agent(name: &str) -> AgentName {
    name.parse().unwrap()
}

fn commands() -> Commands {
    let entry = CommandValidator {
        command: vec!["/usr/bin/true".into()],
        timeout_s: 5,
        agents: vec![agent("coder")],
    };
    BTreeMap::from([("compiles".to_owned(), entry)])
}

fn refusal(value: Value, by: &str) -> String {
    check(&task(value), &agent(by), &commands()).unwrap_err().message
}

#[test]
fn each_demand_is_held_against_the_answer() {
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "integer", "minimum": 1}}});
    for (validator, good, bad) in [
        (Validator::JsonSchema(schema), " {\"n\": 3}\n", "{\"n\": 0}"),
        (Validator::JsonSchema(json!({"pattern": "^a+$"})), "\"aaa\"", "\"ab\""),
        (Validator::JsonSchema(json!(true)), "1", "one"),
        (Validator::Regex(r"\b\d{4}\b".into()), "in 1999", "in 99"),
        (Validator::Contains("fn main".into()), "fn main() {}", "fn other() {}"),
    ] {
        assert_eq!(is_met(&validator, good), Some(true), "{validator:?}");
        assert_eq!(is_met(&validator, bad), Some(false), "{validator:?}");
    }
    assert_eq!(is_met(&Validator::Command("compiles".into()), ""), None, "the worker runs it");
    assert_eq!(is_met(&Validator::Regex("(".into()), ""), None, "what cannot be used says nothing");
}

#[test]
fn what_cannot_be_used_is_refused_and_named_by_its_field() {
    let found =
        refusal(json!({"prompt": "x", "validate": [{"contains": "a"}, {"regex": "SECRET("}]}), "coder");
    assert!(found.contains("`validate[1]`") && !found.contains("SECRET"), "{found}");
    let step = json!({"name": "a", "prompt": "x", "validate": [{"json_schema": {"type": "SECRET"}}]});
    let found = refusal(json!({"prompt": "x", "steps": [step]}), "coder");
    assert!(found.contains("`steps[0].validate[0]`") && !found.contains("SECRET"), "{found}");
    let found = refusal(json!({"prompt": "x", "validate": [{"regex": "(a{1000}){1000}"}]}), "coder");
    assert!(found.contains("too large"), "{found}");
}

#[test]
fn a_command_is_for_those_whom_its_entry_trusts() {
    let named = |name: &str| json!({"prompt": "x", "validate": [{"command": name}]});
    check(&task(named("compiles")), &agent("coder"), &commands()).unwrap();
    let found = refusal(named("compile"), "coder");
    assert!(found.contains("did you mean `compiles`?"), "{found}");
    let found = refusal(named("compiles"), "stranger");
    assert!(found.contains("not trusted"), "{found}");
    let step = json!({"name": "a", "agent": "coder", "prompt": "x", "validate": [{"command": "compiles"}]});
    let found = refusal(json!({"prompt": "x", "steps": [step]}), "stranger");
    assert!(found.contains("not trusted"), "a step's agent lends nobody its trust: {found}");
}

#[test]
fn a_schema_that_could_hold_up_a_worker_is_refused() {
    let refused =
        |schema: Value| refusal(json!({"prompt": "x", "validate": [{"json_schema": schema}]}), "coder");
    for (schema, word) in [
        (json!({"$ref": "#"}), "leads back"),
        (json!({"$ref": "#/a", "a": {"$ref": "#/a"}}), "leads back"),
        (
            json!({"anyOf": [{"$ref": "#/$defs/t"}], "$defs": {"t": {"items": {"$ref": "#/$defs/t"}}}}),
            "leads back",
        ),
        (json!({"$ref": "https://example.org/schema.json"}), "nothing else is looked up"),
        (json!({"$ref": "#/nowhere"}), "leads nowhere"),
        (json!({"$dynamicRef": "#node"}), "dynamic"),
        (json!({"items": {"$id": "https://example.org/", "$ref": "#/x"}}), "`$id`"),
    ] {
        let found = refused(schema);
        assert!(found.contains(word), "{found}");
    }
    // Each level asks for the one below twice: a million parts in two kilobytes.
    let mut definitions = serde_json::Map::from_iter([("d0".to_owned(), json!({"type": "integer"}))]);
    for level in 1..=20 {
        let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
        definitions.insert(format!("d{level}"), json!({"anyOf": [below, below]}));
    }
    let found = refused(json!({"$ref": "#/$defs/d20", "$defs": definitions}));
    assert!(found.contains("written out"), "{found}");
}

#[test]
fn the_entry_of_a_command_is_checked() {
    let good = commands()["compiles"].clone();
    assert_eq!(good.fault(), None);
    let bad = |change: fn(&mut CommandValidator)| {
        let mut entry = good.clone();
        change(&mut entry);
        entry.fault().unwrap().0
    };
    assert_eq!(bad(|entry| entry.command = vec!["sh".into(), "-c".into()]), "command");
    assert_eq!(bad(|entry| entry.command.clear()), "command");
    assert_eq!(bad(|entry| entry.timeout_s = 0), "timeout_s");
    assert_eq!(bad(|entry| entry.agents.clear()), "agents");
}
