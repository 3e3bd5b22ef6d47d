//! How dead letters look: a line each without a word of what is in them, or one in full.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use trilane_broker::letters::Letter;
use trilane_protocol::outcome::{SourceRef, TaskError};
use trilane_protocol::task::Metadata;
use trilane_protocol::{AgentName, Encoding, TaskId};

use crate::output::{self, print};

/// Characters of an error message in a table.
const SHOWN_MESSAGE: usize = 60;

/// One letter as it is listed and shown. The message as it came only where it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    sequence: u64,
    died_at: Timestamp,
    agent: Option<AgentName>,
    task_id: Option<TaskId>,
    place: String,
    error: TaskError,
    deliveries: u64,
    source: SourceRef,
    payload_bytes: u64,
    has_payload: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

impl From<&Letter> for Line {
    fn from(listed: &Letter) -> Self {
        let letter = listed.letter.clone();
        Self {
            sequence: listed.sequence,
            died_at: letter.died_at,
            agent: letter.agent,
            task_id: letter.task_id,
            place: letter.place,
            error: letter.error,
            deliveries: letter.deliveries,
            source: letter.source,
            payload_bytes: letter.payload_bytes,
            has_payload: listed.has_payload,
            payload: None,
        }
    }
}

pub(super) fn lines(letters: &[Letter]) -> Vec<Line> {
    letters.iter().map(Line::from).collect()
}

pub(super) fn table(lines: &[Line]) -> String {
    let mut table = output::table(&["seq", "died", "agent", "task", "place", "code", "message"]);
    for line in lines {
        table.add_row([
            line.sequence.to_string(),
            died(line),
            name(line.agent.as_ref()),
            name(line.task_id.as_ref()),
            line.place.clone(),
            line.error.code.clone(),
            output::beginning(&line.error.message, SHOWN_MESSAGE),
        ]);
    }
    table.trim_fmt()
}

/// Prints one letter, with the message as it came where `payload` asks for it.
pub(super) fn one(letter: &Letter, payload: bool, json: bool) -> anyhow::Result<()> {
    let payload = payload.then(|| readable(&letter.letter.payload));
    let line = Line { payload, ..Line::from(letter) };
    print(&line, json, || text(&line))
}

fn text(line: &Line) -> String {
    let SourceRef { stream, subject, sequence } = &line.source;
    let kept = if line.has_payload { "kept" } else { "too large to be kept" };
    let mut text = format!(
        "letter    {}\ndied      {} at {}, after {} deliveries\ntask      {} of {}\nfrom      {subject}, {sequence} of {stream}\n\
         message   {} bytes, {kept}\ncode      {}\nreason    {}",
        line.sequence,
        died(line),
        line.place,
        line.deliveries,
        name(line.task_id.as_ref()),
        name(line.agent.as_ref()),
        line.payload_bytes,
        line.error.code,
        line.error.message,
    );
    match &line.payload {
        None => {}
        Some(Value::String(payload)) => text.extend(["\n\n", payload]),
        Some(payload) => text.push_str(&format!("\n\n{payload:#}")),
    }
    text
}

/// A payload for people: text as it is, MessagePack as the JSON that it stands for, else a list of bytes.
fn readable(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) => text.into(),
        Err(_) => {
            Encoding::Msgpack.decode::<Metadata>(payload).map_or_else(|_| payload.into(), Value::Object)
        }
    }
}

fn died(line: &Line) -> String {
    line.died_at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn name(name: Option<&impl ToString>) -> String {
    name.map_or_else(|| "-".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use trilane_protocol::outcome::DeadLetter;

    use super::*;

    fn letter(payload: &[u8]) -> Letter {
        let letter = DeadLetter {
            task_id: Some("minutes-1".parse().unwrap()),
            agent: Some("ops".parse().unwrap()),
            place: "local-fast".into(),
            error: TaskError::new("poison_task", "in flight at 5 workers that died"),
            deliveries: 5,
            source: SourceRef {
                stream: "LANE_LOCAL".into(),
                subject: "lane.local-fast.normal".into(),
                sequence: 9,
            },
            died_at: Timestamp::UNIX_EPOCH,
            payload_bytes: payload.len() as u64,
            payload: payload.to_vec(),
        };
        Letter { sequence: 17, stored_at: Timestamp::UNIX_EPOCH, letter, has_payload: true }
    }

    #[test]
    fn the_message_is_shown_on_demand_only() {
        let letter = letter(b"{\"prompt\":\"SECRET\"}");
        let listed = lines(std::slice::from_ref(&letter));
        let shown = [
            table(&listed),
            serde_json::to_string(&listed).unwrap(),
            text(&listed[0]),
            serde_json::to_string(&listed[0]).unwrap(),
        ];
        assert!(shown.iter().all(|text| !text.contains("SECRET")), "{shown:?}");
        let whole = Line { payload: Some(readable(&letter.letter.payload)), ..listed[0].clone() };
        assert!(text(&whole).ends_with("{\"prompt\":\"SECRET\"}"));
    }

    #[test]
    fn a_letter_reads_well() {
        insta::assert_snapshot!(table(&lines(&[letter(b"x")])), @r"
        seq  died                 agent  task       place       code         message
        17   1970-01-01 00:00:00  ops    minutes-1  local-fast  poison_task  in flight at 5 workers that died
        ");
        insta::assert_snapshot!(text(&Line::from(&letter(b"x"))), @r"
        letter    17
        died      1970-01-01 00:00:00 at local-fast, after 5 deliveries
        task      minutes-1 of ops
        from      lane.local-fast.normal, 9 of LANE_LOCAL
        message   1 bytes, kept
        code      poison_task
        reason    in flight at 5 workers that died
        ");
    }

    #[test]
    fn messagepack_is_shown_as_json_and_other_bytes_as_a_list() {
        let task = serde_json::json!({ "prompt": "x", "max_tokens": 7, "temperature": 0.5 });
        assert_eq!(readable(&Encoding::Msgpack.encode(&task)), task);
        assert_eq!(readable(&[0xff, 0xfe]), serde_json::json!([0xff, 0xfe]));
        assert_eq!(readable(b"not JSON"), "not JSON");
    }
}
