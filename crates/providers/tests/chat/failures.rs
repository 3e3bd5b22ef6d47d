//! What goes wrong on the way: refusals by status, broken connections, timeouts, cancellation.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use trilane_protocol::{Generation, Usage};
use trilane_providers::{Bill, ChatError, ChatRequest, FailureKind};
use trilane_routing::registry::ProviderApi::{Anthropic, Openai};

use crate::server::{Reply, Server};
use crate::{NEVER, chat, client, client_with_timeout, key, messages};

async fn refusal(reply: Reply) -> ChatError {
    let server = Server::start(vec![reply]).await;
    chat(&client(Anthropic, &server.url), &Generation::default(), true).await.0.unwrap_err()
}

fn error_body(kind: &str) -> serde_json::Value {
    json!({"type": "error", "error": {"type": kind, "message": "about your PROMPT"}})
}

#[tokio::test]
async fn a_limit_and_an_overload_say_when_to_come_back() {
    let limited = refusal(Reply::json(429, &error_body("rate_limit_error")).header("retry-after", "7")).await;
    assert_eq!((limited.kind, limited.code), (FailureKind::RateLimited, "rate_limited"));
    assert_eq!(limited.retry_after, Some(Duration::from_secs(7)));
    assert!(limited.message.contains("429 rate_limit_error"), "{limited}");
    let overloaded =
        refusal(Reply::json(529, &error_body("overloaded_error")).header("retry-after-ms", "250")).await;
    assert_eq!((overloaded.kind, overloaded.code), (FailureKind::Transient, "overloaded"));
    assert_eq!(overloaded.retry_after, Some(Duration::from_millis(250)));
}

#[tokio::test]
async fn a_refused_key_is_named_by_its_place_and_never_shown() {
    let error = refusal(Reply::json(401, &error_body("authentication_error"))).await;
    assert_eq!((error.kind, error.code), (FailureKind::KeyRefused, "bad_api_key"));
    assert!(error.message.contains("env THE_KEY") && !error.message.contains("sk-hidden"), "{error}");
}

#[tokio::test]
async fn no_error_repeats_the_prompt() {
    for status in [400, 404, 413, 422, 500] {
        let error = refusal(Reply::json(status, &error_body("PROMPT"))).await;
        assert!(!format!("{error:?}").contains("PROMPT"), "{error:?}");
        assert_eq!(error.usage, Usage::default());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Server::start(vec![Reply::json(200, &json!({}))]).await;
    let target = format!("{}/v1/messages", elsewhere.url);
    let error = refusal(Reply::json(307, &json!({})).header("location", &target)).await;
    assert_eq!((error.kind, error.code), (FailureKind::Permanent, "redirect_refused"));
    assert!(elsewhere.is_untouched());
}

#[tokio::test]
async fn a_server_that_is_not_there_may_come_back() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client(Openai, &format!("http://{free}"));
    let error = chat(&client, &Generation::default(), false).await.0.unwrap_err();
    assert_eq!((error.kind, error.code), (FailureKind::Transient, "connect_failed"));
}

#[tokio::test]
async fn nonsense_instead_of_an_answer_is_tried_again() {
    for reply in [Reply::json(200, &json!({"hello": 1})), Reply::stream([&b"data: {]\n\n"[..]])] {
        let error = refusal(reply).await;
        assert_eq!((error.kind, error.code), (FailureKind::Transient, "malformed_answer"));
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    // A timeout of 0 seconds is over at the first wait, so nothing is waited for.
    let server = Server::start(vec![Reply::stream([]).hanging()]).await;
    let client = client_with_timeout(Openai, &server.url, 0);
    let error = chat(&client, &Generation::default(), true).await.0.unwrap_err();
    assert_eq!((error.kind, error.code), (FailureKind::Transient, "timeout"));
}

#[tokio::test]
async fn a_cancelled_call_closes_its_connection_and_tells_what_it_used() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":40,\"output_tokens\":1}}}\n\n\
                 event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Once upon\"}}\n\n";
    let mut server = Server::start(vec![Reply::stream([start.as_bytes()]).hanging()]).await;
    let client = client(Anthropic, &server.url);
    let (cancel, messages, generation) = (CancellationToken::new(), messages(), Generation::default());
    let request =
        ChatRequest { model: "m", messages: &messages, generation: &generation, max_tokens: 9, stream: true };
    // The first piece of text is the signal that the answer is under way.
    let mut on_text = |_: &str| cancel.cancel();
    let error = client.chat(&request, Some(&key()), &cancel, &mut on_text).await.unwrap_err();
    assert_eq!((error.kind, error.usage.prompt_tokens), (FailureKind::Cancelled, 40));
    assert!(error.usage.completion_tokens >= 2, "{:?}", error.usage);
    server.request().await;
    tokio::time::timeout(NEVER, server.hang_up()).await.unwrap();
}

#[tokio::test]
async fn a_failure_says_what_is_known_of_its_price() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = chat(&client(Openai, &format!("http://{free}")), &Generation::default(), false).await.0;
    assert_eq!(unreachable.unwrap_err().bill, Bill::NotSent);
    let unsupported = Generation { temperature: Some(1.5), ..Generation::default() };
    let unsent =
        chat(&client(Anthropic, &format!("http://{free}")), &unsupported, false).await.0.unwrap_err();
    assert_eq!((unsent.code, unsent.bill), ("unsupported_setting", Bill::NotSent));
    assert_eq!(refusal(Reply::json(500, &json!({}))).await.bill, Bill::Refused);
    let broken = Reply::json(200, &json!({"content": []})).broken();
    assert_eq!(refusal(broken).await.bill, Bill::Unknown);
    assert_eq!(refusal(Reply::json(200, &json!({"hello": 1}))).await.bill, Bill::Unknown);
    let failing = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
    assert_eq!(refusal(Reply::stream([failing.as_bytes()])).await.bill, Bill::Unknown);
}
