//! One call: send, read plain or streamed, give up in time.

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::anthropic;
use crate::chat::{Answer, Bill, ChatError, ChatRequest};
use crate::draft::Draft;
use crate::endpoint::{Endpoint, Wire};
use crate::failure::{self, Call, ErrorReport};
use crate::http::refused_address;
use crate::keys::ApiKey;
use crate::openai;
use crate::sse::SseParser;

/// Longest answer, bytes; a stream wraps each token in some hundred bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Part of an error body that is read; the rest is never looked at.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A stream that keeps sending may take this many times the endpoint's timeout, then it is given up: one
/// that only sends signs of life would hold a slot for ever.
pub const STREAM_TIMEOUTS: u32 = 20;

/// Calls one endpoint.
#[derive(Debug, Clone)]
pub struct ChatClient {
    http: Client,
    endpoint: Endpoint,
}

impl ChatClient {
    /// A client for `endpoint`; [`crate::http`] makes the connections.
    pub fn new(http: Client, endpoint: Endpoint) -> Self {
        Self { http, endpoint }
    }

    /// What it calls.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Calls once. `on_text` gets each piece of text as it arrives; a plain answer is one piece.
    ///
    /// The request is aborted, and its connection closed, when `cancel` fires or the future is dropped.
    ///
    /// # Errors
    /// [`ChatError`], with the tokens that were used all the same.
    pub async fn chat(
        &self,
        request: &ChatRequest<'_>,
        key: Option<&ApiKey>,
        cancel: &CancellationToken,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Answer, ChatError> {
        if cancel.is_cancelled() {
            return Err(ChatError::cancelled().with_bill(Bill::NotSent));
        }
        let call = Call { endpoint: &self.endpoint, key, request };
        let mut draft = Draft::default();
        let whole = self.endpoint.timeout * if request.stream { STREAM_TIMEOUTS } else { 1 };
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ChatError::cancelled()),
            outcome = timeout(whole, self.exchange(call, &mut draft, on_text)) => {
                outcome.unwrap_or_else(|_| Err(timed_out(call)))
            }
        };
        match outcome {
            Ok(()) => draft.finish(request.messages),
            Err(error) => {
                let bill = if draft.is_counted() { Bill::Counted } else { error.bill };
                Err(error.with_usage(draft.usage_so_far(request.messages)).with_bill(bill))
            }
        }
    }

    async fn exchange(
        &self,
        call: Call<'_>,
        draft: &mut Draft,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), ChatError> {
        let started = Instant::now();
        let request = self.post(call).map_err(|error| error.with_bill(Bill::NotSent))?;
        let limit = self.endpoint.timeout;
        let response = timeout(limit, request.send()).await.map_err(|_| timed_out(call))?;
        let response = response.map_err(|error| transport(&error, call))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response, call).await);
        }
        // Some servers do not stream even though they are asked to; their answer is as good.
        if is_stream(&response) {
            return read_stream(response, call, started, draft, on_text).await;
        }
        let bytes = read_body(response, call, MAX_ANSWER_BYTES).await?;
        match self.endpoint.wire {
            Wire::Anthropic => anthropic::read_plain(&bytes, wants_json(call), draft)?,
            Wire::OpenAi | Wire::OpenAiCompatible => openai::read_plain(&bytes, draft)?,
        }
        if !draft.text.is_empty() {
            on_text(&draft.text);
        }
        Ok(())
    }

    fn post(&self, call: Call<'_>) -> Result<RequestBuilder, ChatError> {
        let body = match self.endpoint.wire {
            Wire::Anthropic => anthropic::body(call.request)?,
            wire @ (Wire::OpenAi | Wire::OpenAiCompatible) => openai::body(call.request, wire)?,
        };
        let accept = if call.request.stream { "text/event-stream" } else { "application/json" };
        let json = HeaderValue::from_static("application/json");
        let post = self.http.post(self.endpoint.chat_url()).header(CONTENT_TYPE, json).header(ACCEPT, accept);
        Ok(self.authorize(post, call.key).body(body))
    }

    fn authorize(&self, post: RequestBuilder, key: Option<&ApiKey>) -> RequestBuilder {
        match self.endpoint.wire {
            Wire::Anthropic => {
                let post = post.header("anthropic-version", anthropic::VERSION);
                key.and_then(|key| key.header(""))
                    .into_iter()
                    .fold(post, |post, key| post.header("x-api-key", key))
            }
            Wire::OpenAi | Wire::OpenAiCompatible => key
                .and_then(|key| key.header("Bearer "))
                .into_iter()
                .fold(post, |post, key| post.header(AUTHORIZATION, key)),
        }
    }
}

fn wants_json(call: Call<'_>) -> bool {
    call.request.generation.json_schema.is_some()
}

fn is_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

/// What a status other than 200 means. An error body that cannot be read says nothing; the status remains.
async fn refusal(response: Response, call: Call<'_>) -> ChatError {
    let status = response.status().as_u16();
    let retry_after = failure::retry_after(response.headers(), Timestamp::now());
    let body = read_body(response, call, MAX_ERROR_BYTES).await.unwrap_or_default();
    failure::from_status(status, &ErrorReport::read(&body), call)
        .with_retry_after(retry_after)
        .with_bill(Bill::Refused)
}

async fn read_body(mut response: Response, call: Call<'_>, most: usize) -> Result<Vec<u8>, ChatError> {
    let mut body = Vec::new();
    while let Some(bytes) = next_bytes(&mut response, call).await? {
        if body.len() + bytes.len() > most {
            return Err(too_long(most));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

async fn read_stream(
    mut response: Response,
    call: Call<'_>,
    started: Instant,
    draft: &mut Draft,
    on_text: &mut (dyn FnMut(&str) + Send),
) -> Result<(), ChatError> {
    let mut parser = SseParser::default();
    let mut read = 0;
    while let Some(bytes) = next_bytes(&mut response, call).await? {
        read += bytes.len();
        if read > MAX_ANSWER_BYTES {
            return Err(too_long(MAX_ANSWER_BYTES));
        }
        let events = parser
            .push(&bytes)
            .map_err(|error| ChatError::permanent("answer_too_long", error.to_string()))?;
        for event in events {
            let known = draft.text.len();
            read_event(&event.name, &event.data, call, draft)?;
            let text = &draft.text[known..];
            if !text.is_empty() {
                draft.first_token.get_or_insert_with(|| started.elapsed());
                on_text(text);
            }
            if draft.ended {
                return Ok(());
            }
        }
    }
    // Without its end marker the draft is not `ended`, and so counts as cut.
    Ok(())
}

fn read_event(name: &str, data: &str, call: Call<'_>, draft: &mut Draft) -> Result<(), ChatError> {
    if name == "error" || holds_error(data) {
        return Err(failure::from_stream(&ErrorReport::read(data.as_bytes()), call));
    }
    match call.endpoint.wire {
        Wire::Anthropic => anthropic::read_event(data, wants_json(call), draft),
        Wire::OpenAi | Wire::OpenAiCompatible => openai::read_event(data, draft),
    }
}

/// Whether the data of an event reports an error: an object with an `error` that is not null.
fn holds_error(data: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Probe {
        error: Option<serde::de::IgnoredAny>,
    }
    data.contains("\"error\"") && serde_json::from_str::<Probe>(data).is_ok_and(|probe| probe.error.is_some())
}

async fn next_bytes(response: &mut Response, call: Call<'_>) -> Result<Option<Bytes>, ChatError> {
    let chunk = timeout(call.endpoint.timeout, response.chunk()).await.map_err(|_| timed_out(call))?;
    chunk.map_err(|_| {
        let name = &call.endpoint.name;
        ChatError::transient(
            "stream_cut",
            format!("the connection to `{name}` broke in the middle of the answer; it is tried again"),
        )
    })
}

fn too_long(most: usize) -> ChatError {
    ChatError::permanent(
        "answer_too_long",
        format!("the answer is longer than {most} bytes; check that base_url is a chat API"),
    )
}

fn timed_out(call: Call<'_>) -> ChatError {
    let (name, seconds) = (&call.endpoint.name, call.endpoint.timeout.as_secs());
    ChatError::transient(
        "timeout",
        format!("`{name}` did not answer in time (timeout {seconds} s); it is tried again"),
    )
}

/// A request that got no response. The error's own text holds the URL and is not repeated.
fn transport(error: &reqwest::Error, call: Call<'_>) -> ChatError {
    let name = &call.endpoint.name;
    if let Some(refused) = refused_address(error) {
        let message = format!("{refused}; `{name}` must lie on this host or network");
        return ChatError::permanent("address_refused", message).with_bill(Bill::NotSent);
    }
    if error.is_connect() {
        let message = format!("cannot connect to `{name}`; check base_url and that the server runs");
        return ChatError::transient("connect_failed", message).with_bill(Bill::NotSent);
    }
    ChatError::transient(
        "request_failed",
        format!("the connection to `{name}` broke before the answer; it is tried again"),
    )
}
