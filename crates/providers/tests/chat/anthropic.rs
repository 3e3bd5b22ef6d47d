//! Anthropic Messages, in the shapes of its API reference.

use serde_json::json;
use trilane_protocol::outcome::Finish;
use trilane_protocol::{Generation, Usage};
use trilane_providers::FailureKind;
use trilane_routing::registry::ProviderApi::Anthropic;

use crate::server::{Reply, Server};
use crate::{chat, client};

const STREAM: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"the-model","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_read_input_tokens":100,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüezi"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" 🦀"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

"#;

fn plain(stop_reason: &str, text: &str) -> Reply {
    let content = json!([{"type": "text", "text": text}]);
    let usage = json!({"input_tokens": 9, "output_tokens": 4});
    Reply::json(
        200,
        &json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "the-model",
        "content": content, "stop_reason": stop_reason, "stop_sequence": null, "usage": usage}),
    )
}

#[tokio::test]
async fn a_plain_call_has_the_api_s_headers_and_its_answer_is_read() {
    let mut server = Server::start(vec![plain("end_turn", "Hello.")]).await;
    let (answer, pieces) = chat(&client(Anthropic, &server.url), &Generation::default(), false).await;
    let answer = answer.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish), ("Hello.", Finish::Stop));
    assert_eq!(answer.usage, Usage { prompt_tokens: 9, completion_tokens: 4, cached_tokens: 0 });
    assert_eq!(pieces, ["Hello."]);
    let (head, body) = server.request().await;
    assert!(head.starts_with("post /v1/messages http/1.1"), "{head}");
    assert!(
        head.contains("x-api-key: sk-hidden") && head.contains("anthropic-version: 2023-06-01"),
        "{head}"
    );
    assert_eq!(
        body,
        json!({"model": "the-model", "max_tokens": 64, "system": "Be brief.", "stream": false,
        "messages": [{"role": "user", "content": "PROMPT"}]})
    );
}

#[tokio::test]
async fn a_stream_is_read_however_it_is_cut() {
    let bytes = STREAM.as_bytes();
    let replies = [1, 7, 64, bytes.len()].map(|size| Reply::stream(bytes.chunks(size)));
    let server = Server::start(replies.to_vec()).await;
    for _ in 0..4 {
        let (answer, pieces) = chat(&client(Anthropic, &server.url), &Generation::default(), true).await;
        let answer = answer.unwrap();
        assert_eq!(answer.text, "Grüezi 🦀");
        assert_eq!(answer.usage, Usage { prompt_tokens: 125, completion_tokens: 15, cached_tokens: 100 });
        assert!(answer.first_token.is_some());
        assert_eq!(pieces, ["Grüezi", " 🦀"]);
    }
}

#[tokio::test]
async fn the_token_limit_and_a_refusal_are_told_apart() {
    let server =
        Server::start(vec![plain("max_tokens", "Hel"), plain("refusal", ""), plain("end_turn", " ")]).await;
    let client = client(Anthropic, &server.url);
    let (cut, _) = chat(&client, &Generation::default(), false).await;
    assert_eq!(cut.unwrap().finish, Finish::Length);
    let refused = chat(&client, &Generation::default(), false).await.0.unwrap_err();
    assert_eq!((refused.kind, refused.code), (FailureKind::Permanent, "refused"));
    assert_eq!(refused.usage.completion_tokens, 4, "a refusal is billed");
    let empty = chat(&client, &Generation::default(), false).await.0.unwrap_err();
    assert_eq!((empty.kind, empty.code), (FailureKind::Transient, "empty_answer"));
}

#[tokio::test]
async fn a_json_answer_is_the_input_of_the_tool_plain_and_streamed() {
    let tool = json!({"type": "tool_use", "id": "t", "name": "answer", "input": {"b": 1, "a": [2]}});
    let said = json!({"type": "text", "text": "I will call the tool."});
    let usage = json!({"input_tokens": 9, "output_tokens": 4});
    let plain = json!({"content": [said, tool], "stop_reason": "tool_use", "usage": usage});
    let stream = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"answer\",\"input\":{}}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"b\\\": 1,\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\" \\\"a\\\": [2]}\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":8}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    let server = Server::start(vec![Reply::json(200, &plain), Reply::stream([stream.as_bytes()])]).await;
    let generation = Generation { json_schema: Some(json!({"type": "object"})), ..Generation::default() };
    for is_streamed in [false, true] {
        let (answer, _) = chat(&client(Anthropic, &server.url), &generation, is_streamed).await;
        let answer: serde_json::Value = serde_json::from_str(&answer.unwrap().text).unwrap();
        assert_eq!(answer, json!({"a": [2], "b": 1}));
    }
}

#[tokio::test]
async fn an_overload_in_the_middle_of_a_stream_keeps_what_was_used() {
    let head = STREAM.find("event: content_block_stop").unwrap();
    let error = "event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": \"overloaded_error\", \"message\": \"PROMPT\"}}\n\n";
    let stream = format!("{}{error}", &STREAM[..head]);
    let server = Server::start(vec![Reply::stream([stream.as_bytes()])]).await;
    let (outcome, pieces) = chat(&client(Anthropic, &server.url), &Generation::default(), true).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind, error.code), (FailureKind::Transient, "overloaded"));
    assert!(!error.message.contains("PROMPT"), "{error}");
    assert_eq!(error.usage.prompt_tokens, 125);
    assert!(error.usage.completion_tokens >= 2, "text that arrived counts: {:?}", error.usage);
    assert_eq!(pieces.len(), 2);
}

#[tokio::test]
async fn a_setting_that_the_api_lacks_is_refused_before_anything_is_sent() {
    let mut server = Server::start(vec![plain("end_turn", "never")]).await;
    let generation = Generation { seed: Some(1), ..Generation::default() };
    let error = chat(&client(Anthropic, &server.url), &generation, false).await.0.unwrap_err();
    assert_eq!((error.kind, error.code), (FailureKind::Permanent, "unsupported_setting"));
    assert!(server.is_untouched());
}
