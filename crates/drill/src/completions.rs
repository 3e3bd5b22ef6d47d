//! OpenAI Chat Completions as the servers of this crate speak it: what matters of a request, and the shapes of answers.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::script::{ANSWER_TOKENS, PROMPT_TOKENS};

/// What matters in a request.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// The conversation, the newest last.
    pub(crate) messages: Vec<Message>,
    /// Whether the answer is to come in pieces.
    #[serde(default)]
    pub(crate) stream: bool,
}

/// One message of a conversation.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    /// Its text.
    pub(crate) content: String,
}

impl Request {
    /// The newest message.
    pub(crate) fn prompt(&self) -> &str {
        self.messages.last().map(|message| message.content.as_str()).unwrap_or_default()
    }
}

/// The answer to who asks for the models.
pub(crate) fn models(name: &str) -> Response {
    as_json(&json!({"object": "list", "data": [{"id": name, "object": "model"}]}))
}

/// A response of one JSON object.
pub(crate) fn as_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// A whole answer that is not streamed.
pub(crate) fn plain(text: &str) -> Response {
    let choice =
        json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    as_json(&json!({"object": "chat.completion", "choices": [choice], "usage": usage()}))
}

/// One piece of a streamed answer.
pub(crate) fn piece(text: &str) -> Bytes {
    let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
    event(&json!({"choices": [choice]}))
}

/// What comes after the last piece.
pub(crate) fn end_of_stream() -> Bytes {
    let last = event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    let counted = event(&json!({"choices": [], "usage": usage()}));
    Bytes::from([last.as_ref(), counted.as_ref(), b"data: [DONE]\n\n"].concat())
}

fn usage() -> Value {
    json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS})
}

fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}
