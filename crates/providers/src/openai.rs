//! OpenAI Chat Completions and what is compatible with it: request, plain answer and stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trilane_protocol::{Message, Usage};

use crate::chat::{ChatError, ChatRequest};
use crate::draft::{Draft, Stop};
use crate::endpoint::Wire;

/// Stop sequences that OpenAI takes.
const MAX_STOP_SEQUENCES: usize = 4;

/// The data of the last event of a stream.
const END_MARKER: &str = "[DONE]";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct ResponseFormat<'a> {
    r#type: &'static str,
    json_schema: NamedSchema<'a>,
}

#[derive(Serialize)]
struct NamedSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: &'a Value,
}

/// A stream only counts its tokens when it is asked to.
#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// The body of a call.
///
/// # Errors
/// A setting that the API cannot honour.
pub(crate) fn body(request: &ChatRequest<'_>, wire: Wire) -> Result<Vec<u8>, ChatError> {
    let generation = request.generation;
    let is_openai = wire == Wire::OpenAi;
    if is_openai && generation.stop.len() > MAX_STOP_SEQUENCES {
        return Err(ChatError::unsupported("stop", "OpenAI takes at most 4 stop sequences"));
    }
    let body = Body {
        model: request.model,
        messages: request.messages,
        max_tokens: (!is_openai).then_some(request.max_tokens),
        max_completion_tokens: is_openai.then_some(request.max_tokens),
        temperature: generation.temperature,
        top_p: generation.top_p,
        seed: generation.seed,
        stop: &generation.stop,
        response_format: generation.json_schema.as_ref().map(|schema| ResponseFormat {
            r#type: "json_schema",
            json_schema: NamedSchema { name: "answer", strict: true, schema },
        }),
        stream: request.stream,
        stream_options: request.stream.then_some(StreamOptions { include_usage: true }),
    };
    serde_json::to_vec(&body)
        .map_err(|_| ChatError::permanent("invalid_request", "the request cannot be written as JSON"))
}

/// A plain answer, or one piece of a stream.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Piece>,
    delta: Option<Piece>,
    finish_reason: Option<String>,
    /// Only read where it is what OpenAI makes of it; other servers have other ideas.
    #[serde(default)]
    logprobs: Value,
}

/// What OpenAI writes for each token.
#[derive(Deserialize)]
struct LogProbabilities {
    content: Vec<LogProbability>,
}

#[derive(Deserialize)]
struct LogProbability {
    logprob: f64,
}

#[derive(Deserialize)]
struct Piece {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct TokenCounts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

/// Reads a plain answer.
///
/// # Errors
/// `malformed_answer`.
pub(crate) fn read_plain(bytes: &[u8], draft: &mut Draft) -> Result<(), ChatError> {
    let completion: Completion = serde_json::from_slice(bytes).map_err(|_| malformed())?;
    absorb(completion, draft);
    draft.ended = true;
    Ok(())
}

/// Reads one event of a stream. Events that hold an `error` are read elsewhere.
///
/// # Errors
/// `malformed_answer`.
pub(crate) fn read_event(data: &str, draft: &mut Draft) -> Result<(), ChatError> {
    if data.trim() == END_MARKER {
        draft.ended = true;
        return Ok(());
    }
    absorb(serde_json::from_str(data).map_err(|_| malformed())?, draft);
    Ok(())
}

fn absorb(completion: Completion, draft: &mut Draft) {
    for choice in completion.choices {
        if let Ok(LogProbabilities { content }) = LogProbabilities::deserialize(&choice.logprobs) {
            let known = content.iter().filter(|token| token.logprob <= 0.0);
            let (sum, count) = &mut draft.logprobs;
            known.for_each(|token| {
                *sum += token.logprob;
                *count += 1;
            });
        }
        if let Some(piece) = choice.message.or(choice.delta) {
            draft.text.push_str(&piece.content.unwrap_or_default());
            if piece.refusal.is_some_and(|refusal| !refusal.is_empty()) {
                draft.stop = Some(Stop::Refused);
            }
        }
        // A refusal ends with the reason `stop`; it stays a refusal.
        if draft.stop != Some(Stop::Refused) {
            draft.stop = choice.finish_reason.as_deref().map(stop).or(draft.stop);
        }
    }
    if let Some(counts) = completion.usage {
        draft.usage = counts.into();
        // Some servers count along with each piece; only the count after the last one is the final one.
        draft.counted = draft.stop.is_some();
    }
}

impl From<TokenCounts> for Usage {
    fn from(counts: TokenCounts) -> Self {
        let cached = counts.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        Self {
            prompt_tokens: counts.prompt_tokens,
            completion_tokens: counts.completion_tokens,
            cached_tokens: cached.min(counts.prompt_tokens),
        }
    }
}

fn stop(reason: &str) -> Stop {
    match reason {
        "stop" | "eos" => Stop::Done,
        "length" => Stop::Length,
        "content_filter" => Stop::Refused,
        _ => Stop::Unknown,
    }
}

fn malformed() -> ChatError {
    ChatError::transient(
        "malformed_answer",
        "the answer does not follow the OpenAI API; check base_url and `api`",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trilane_protocol::{Generation, Role};

    use super::*;

    fn written(wire: Wire, generation: &Generation, stream: bool) -> Result<Value, ChatError> {
        let messages = [Message { role: Role::User, content: "hi".into() }];
        let request = ChatRequest { model: "gpt", messages: &messages, generation, max_tokens: 9, stream };
        body(&request, wire).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn the_token_limit_has_the_name_that_the_server_knows() {
        let plain = Generation::default();
        let messages = json!([{"role": "user", "content": "hi"}]);
        let openai =
            json!({"model": "gpt", "messages": messages, "max_completion_tokens": 9, "stream": false});
        assert_eq!(written(Wire::OpenAi, &plain, false).unwrap(), openai);
        let other = json!({"model": "gpt", "messages": messages, "max_tokens": 9, "stream": true,
            "stream_options": {"include_usage": true}});
        assert_eq!(written(Wire::OpenAiCompatible, &plain, true).unwrap(), other);
    }

    #[test]
    fn log_probabilities_are_read_where_they_come() {
        let mut draft = Draft::default();
        let event = |text: &str, logprobs: Value| {
            json!({"choices": [{"delta": {"content": text}, "finish_reason": "stop", "logprobs": logprobs}]})
                .to_string()
        };
        let pieces = [
            json!({"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -3.0}]}),
            json!(null),
        ];
        for piece in pieces
            .into_iter()
            .chain([json!({"content": [{"token": "c", "logprob": -2.0}]}), json!({"tokens": 1})])
        {
            read_event(&event("x", piece), &mut draft).unwrap();
        }
        read_event("[DONE]", &mut draft).unwrap();
        assert_eq!(draft.finish(&[]).unwrap().mean_logprob, Some(-2.0));
    }

    #[test]
    fn every_setting_is_written_or_refused() {
        let generation = Generation {
            max_tokens: Some(7),
            temperature: Some(0.7),
            top_p: Some(0.5),
            seed: Some(3),
            stop: vec!["a".into(); 5],
            json_schema: Some(json!({"type": "object"})),
        };
        let error = written(Wire::OpenAi, &generation, false).unwrap_err();
        assert!(error.code == "unsupported_setting" && error.message.contains("`stop`"), "{error}");
        let body = written(Wire::OpenAiCompatible, &generation, false).unwrap();
        assert_eq!(
            (&body["temperature"], &body["top_p"], &body["seed"]),
            (&json!(0.7), &json!(0.5), &json!(3))
        );
        assert_eq!(body["stop"].as_array().unwrap().len(), 5);
        let schema = json!({"name": "answer", "strict": true, "schema": {"type": "object"}});
        assert_eq!(body["response_format"], json!({"type": "json_schema", "json_schema": schema}));
    }
}
