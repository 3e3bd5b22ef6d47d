//! The Anthropic Messages API, version 2023-06-01: request, plain answer and stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use trilane_protocol::{Generation, Message, Role, Usage};

use crate::chat::{ChatError, ChatRequest};
use crate::draft::{Draft, Stop};

/// Value of the `anthropic-version` header.
pub(crate) const VERSION: &str = "2023-06-01";

/// Highest temperature that the API takes.
const MAX_TEMPERATURE: f32 = 1.0;

/// The tool whose input is the answer where a `json_schema` is asked for.
const ANSWER_TOOL: &str = "answer";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    system: String,
    messages: &'a [Message],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tool<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice>,
    stream: bool,
}

/// The schema is the input of a tool that the model must call. `strict` makes the provider keep to the
/// schema, or refuse a schema that it cannot keep to.
#[derive(Serialize)]
struct Tool<'a> {
    name: &'static str,
    description: &'static str,
    input_schema: &'a Value,
    strict: bool,
}

#[derive(Serialize)]
struct ToolChoice {
    r#type: &'static str,
    name: &'static str,
    disable_parallel_tool_use: bool,
}

/// The body of a call.
///
/// # Errors
/// A setting that the API cannot honour.
pub(crate) fn body(request: &ChatRequest<'_>) -> Result<Vec<u8>, ChatError> {
    let generation = request.generation;
    check(generation)?;
    let turns = request.messages.iter().position(|message| message.role != Role::System);
    let (system, messages) = request.messages.split_at(turns.unwrap_or(request.messages.len()));
    let system: Vec<&str> = system.iter().map(|message| message.content.as_str()).collect();
    let schema = generation.json_schema.as_ref();
    let body = Body {
        model: request.model,
        max_tokens: request.max_tokens,
        system: system.join("\n\n"),
        messages,
        temperature: generation.temperature,
        top_p: generation.top_p,
        stop_sequences: &generation.stop,
        tools: schema.map(|schema| {
            [Tool {
                name: ANSWER_TOOL,
                description: "Gives the answer. Call it once, with the whole answer.",
                input_schema: schema,
                strict: true,
            }]
        }),
        tool_choice: schema.map(|_| ToolChoice {
            r#type: "tool",
            name: ANSWER_TOOL,
            disable_parallel_tool_use: true,
        }),
        stream: request.stream,
    };
    serde_json::to_vec(&body)
        .map_err(|_| ChatError::permanent("invalid_request", "the request cannot be written as JSON"))
}

fn check(generation: &Generation) -> Result<(), ChatError> {
    if generation.seed.is_some() {
        return Err(ChatError::unsupported(
            "seed",
            "the Anthropic API has none; leave it out or pin a model that has",
        ));
    }
    if generation.temperature.is_some_and(|temperature| temperature > MAX_TEMPERATURE) {
        return Err(ChatError::unsupported("temperature", "the Anthropic API takes 0 to 1"));
    }
    if generation.stop.iter().any(|text| text.trim().is_empty()) {
        return Err(ChatError::unsupported("stop", "the Anthropic API takes no text of white space alone"));
    }
    match &generation.json_schema {
        Some(schema) if schema.get("type").and_then(Value::as_str) != Some("object") => {
            Err(ChatError::unsupported(
                "json_schema",
                "the Anthropic API needs `\"type\": \"object\"` at the top",
            ))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct PlainAnswer {
    content: Vec<Block>,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: TokenCounts,
}

#[derive(Deserialize)]
struct Block {
    text: Option<String>,
    input: Option<Box<RawValue>>,
}

/// Counts as the API reports them; those that an event leaves out have not changed.
#[derive(Debug, Default, Deserialize)]
struct TokenCounts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl TokenCounts {
    /// `input_tokens` leaves out what was read from or written to the cache; a [`Usage`] holds all of it.
    fn update(&self, usage: &mut Usage) {
        if let Some(fresh) = self.input_tokens {
            let cached = self.cache_read_input_tokens.unwrap_or(0);
            usage.cached_tokens = cached;
            usage.prompt_tokens = fresh + cached + self.cache_creation_input_tokens.unwrap_or(0);
        }
        usage.completion_tokens = self.output_tokens.unwrap_or(usage.completion_tokens);
    }
}

/// Reads a plain answer. Where JSON is wanted only the tool's input counts, else only text.
///
/// # Errors
/// `malformed_answer`.
pub(crate) fn read_plain(bytes: &[u8], wants_json: bool, draft: &mut Draft) -> Result<(), ChatError> {
    let answer: PlainAnswer = serde_json::from_slice(bytes).map_err(|_| malformed())?;
    for block in answer.content {
        let text = if wants_json { block.input.map(|input| input.get().to_owned()) } else { block.text };
        draft.text.push_str(&text.unwrap_or_default());
    }
    answer.usage.update(&mut draft.usage);
    draft.counted = true;
    draft.stop = answer.stop_reason.as_deref().map(stop);
    draft.ended = true;
    Ok(())
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    message: Option<MessageStart>,
    content_block: Option<Block>,
    delta: Option<Delta>,
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
struct MessageStart {
    #[serde(default)]
    usage: TokenCounts,
}

#[derive(Deserialize)]
struct Delta {
    text: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
}

/// Reads one event of a stream. `error` events are read elsewhere.
///
/// # Errors
/// `malformed_answer`.
pub(crate) fn read_event(data: &str, wants_json: bool, draft: &mut Draft) -> Result<(), ChatError> {
    let event: Event = serde_json::from_str(data).map_err(|_| malformed())?;
    if let Some(counts) = event.message.as_ref().map(|message| &message.usage).or(event.usage.as_ref()) {
        counts.update(&mut draft.usage);
    }
    match event.r#type.as_str() {
        "content_block_start" if !wants_json => {
            draft.text.push_str(&event.content_block.and_then(|block| block.text).unwrap_or_default());
        }
        "content_block_delta" => {
            let piece =
                event.delta.and_then(|delta| if wants_json { delta.partial_json } else { delta.text });
            draft.text.push_str(&piece.unwrap_or_default());
        }
        "message_delta" => {
            draft.counted = event.usage.is_some();
            let reason = event.delta.and_then(|delta| delta.stop_reason);
            draft.stop = reason.as_deref().map(stop).or(draft.stop);
        }
        "message_stop" => draft.ended = true,
        // `ping`, `content_block_stop` and events of later versions carry nothing of the answer.
        _ => {}
    }
    Ok(())
}

fn stop(reason: &str) -> Stop {
    match reason {
        "end_turn" | "stop_sequence" | "tool_use" => Stop::Done,
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "refusal" => Stop::Refused,
        _ => Stop::Unknown,
    }
}

fn malformed() -> ChatError {
    ChatError::transient(
        "malformed_answer",
        "the answer does not follow the Anthropic API; check base_url and `api`",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(messages: &[Message], generation: &Generation) -> Result<Value, ChatError> {
        let request = ChatRequest { model: "claude", messages, generation, max_tokens: 9, stream: false };
        body(&request).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.into() }
    }

    #[test]
    fn system_messages_stand_apart_and_settings_keep_their_value() {
        let messages = [message(Role::System, "a"), message(Role::System, "b"), message(Role::User, "hi")];
        let generation = Generation {
            temperature: Some(0.7),
            top_p: Some(0.9),
            stop: vec!["END".into()],
            ..Generation::default()
        };
        let expected = json!({
            "model": "claude", "max_tokens": 9, "system": "a\n\nb", "stream": false, "temperature": 0.7, "top_p": 0.9,
            "messages": [{"role": "user", "content": "hi"}], "stop_sequences": ["END"],
        });
        assert_eq!(written(&messages, &generation).unwrap(), expected);
    }

    #[test]
    fn a_schema_becomes_the_input_of_a_tool_that_must_be_called() {
        let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}}});
        let generation = Generation { json_schema: Some(schema.clone()), ..Generation::default() };
        let body = written(&[message(Role::User, "hi")], &generation).unwrap();
        assert_eq!(body["tools"][0]["input_schema"], schema);
        assert_eq!(
            body["tool_choice"],
            json!({"type": "tool", "name": "answer", "disable_parallel_tool_use": true})
        );
    }

    #[test]
    fn what_the_api_does_not_have_is_refused_by_name() {
        let refused = |generation: Generation| written(&[], &generation).unwrap_err();
        let cases = [
            ("seed", Generation { seed: Some(1), ..Generation::default() }),
            ("temperature", Generation { temperature: Some(1.1), ..Generation::default() }),
            ("stop", Generation { stop: vec!["\n".into()], ..Generation::default() }),
            (
                "json_schema",
                Generation { json_schema: Some(json!({"type": "array"})), ..Generation::default() },
            ),
        ];
        for (setting, generation) in cases {
            let error = refused(generation);
            assert_eq!(error.code, "unsupported_setting");
            assert!(error.message.contains(&format!("`{setting}`")), "{error}");
        }
        let at_most = Generation { temperature: Some(1.0), ..Generation::default() };
        assert!(written(&[], &at_most).is_ok());
    }

    #[test]
    fn cached_tokens_are_part_of_the_prompt() {
        let answer = json!({"content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 7}});
        let mut draft = Draft::default();
        read_plain(answer.to_string().as_bytes(), false, &mut draft).unwrap();
        let usage = Usage { prompt_tokens: 42, completion_tokens: 2, cached_tokens: 30 };
        assert_eq!(draft.finish(&[]).unwrap().usage, usage);
    }
}
