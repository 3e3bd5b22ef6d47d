//! Real chat templates, byte for byte as reference Jinja2 renders them. `templates/generate.py` made the
//! expected texts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::civil::date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use trilane_local_worker::template::ChatTemplate;
use trilane_protocol::Message;

#[derive(Deserialize)]
struct Expected {
    bos_token: String,
    eos_token: String,
    rendered: BTreeMap<String, String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

fn check(name: &str) {
    let conversations = fs::read_to_string(folder().join("conversations.json")).unwrap();
    let conversations: BTreeMap<String, Vec<Message>> = serde_json::from_str(&conversations).unwrap();
    let source = fs::read_to_string(folder().join(format!("templates/{name}.jinja"))).unwrap();
    let expected = fs::read_to_string(folder().join(format!("expected/{name}.json"))).unwrap();
    let expected: Expected = serde_json::from_str(&expected).unwrap();
    let template = ChatTemplate::new(&source, &expected.bos_token, &expected.eos_token).unwrap();
    let now = date(2026, 1, 31).at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap();
    assert_eq!(conversations.keys().collect::<Vec<_>>(), expected.rendered.keys().collect::<Vec<_>>());
    for (conversation, messages) in &conversations {
        let rendered = template.render(messages, &now).unwrap();
        assert_eq!(rendered, expected.rendered[conversation], "{name}, {conversation}");
    }
}

#[test]
fn llama_3_1() {
    check("llama-3.1");
}

#[test]
fn deepseek_r1_distill() {
    check("deepseek-r1-distill");
}

#[test]
fn hermes_3() {
    check("hermes-3");
}

#[test]
fn hermes_3_tool_use() {
    check("hermes-3-tool-use");
}

#[test]
fn qwen_2_5() {
    check("qwen2.5");
}

#[test]
fn smollm2() {
    check("smollm2");
}

#[test]
fn python_methods_dates_and_json() {
    check("python-methods");
}
