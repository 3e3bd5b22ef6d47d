//! OpenAI Chat Completions, in the shapes of its API reference.

use serde_json::{Value, json};
use trilane_protocol::outcome::Finish;
use trilane_protocol::{Generation, Usage};
use trilane_providers::FailureKind;
use trilane_routing::registry::ProviderApi::Openai;

use crate::server::{Reply, Server};
use crate::{chat, client};

const STREAM: &str = r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Grüezi"},"finish_reason":null}],"usage":null}

: keep-alive

data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" 🦀"},"finish_reason":null}],"usage":null}

data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":8}}}

data: [DONE]

"#;

fn plain(message: &Value, finish_reason: &str) -> Reply {
    let choice = json!({"index": 0, "message": message, "finish_reason": finish_reason});
    let usage = json!({"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 8}});
    Reply::json(200, &json!({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}))
}

#[tokio::test]
async fn a_plain_call_has_the_api_s_headers_and_its_answer_is_read() {
    let answer = json!({"role": "assistant", "content": "Hello.", "refusal": null});
    let mut server = Server::start(vec![plain(&answer, "stop")]).await;
    let (answer, pieces) = chat(&client(Openai, &server.url), &Generation::default(), false).await;
    let answer = answer.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish), ("Hello.", Finish::Stop));
    assert_eq!(answer.usage, Usage { prompt_tokens: 19, completion_tokens: 10, cached_tokens: 8 });
    assert_eq!(pieces, ["Hello."]);
    let (head, body) = server.request().await;
    assert!(head.starts_with("post /v1/chat/completions http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer sk-hidden"), "{head}");
    assert_eq!(body["max_tokens"], 64);
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "Be brief."}));
}

#[tokio::test]
async fn a_stream_is_read_however_it_is_cut() {
    let unix = STREAM.to_owned();
    let windows = STREAM.replace('\n', "\r\n");
    let replies = [&unix, &windows].map(|stream| Reply::stream(stream.as_bytes().chunks(5)));
    let mut server = Server::start(replies.to_vec()).await;
    for _ in 0..2 {
        let (answer, pieces) = chat(&client(Openai, &server.url), &Generation::default(), true).await;
        let answer = answer.unwrap();
        assert_eq!(answer.text, "Grüezi 🦀");
        assert_eq!(answer.usage, Usage { prompt_tokens: 19, completion_tokens: 10, cached_tokens: 8 });
        assert_eq!(pieces, ["Grüezi", " 🦀"]);
        let (_, body) = server.request().await;
        assert_eq!(body["stream_options"], json!({"include_usage": true}));
    }
}

#[tokio::test]
async fn a_stream_without_its_end_marker_was_cut() {
    let end = STREAM.find("data: [DONE]").unwrap();
    let middle = STREAM.find(": keep-alive").unwrap();
    let replies = vec![
        Reply::stream([&STREAM.as_bytes()[..end]]),
        Reply::stream([&STREAM.as_bytes()[..middle]]),
        Reply::stream([&STREAM.as_bytes()[..middle]]).broken(),
    ];
    let server = Server::start(replies).await;
    let client = client(Openai, &server.url);
    let mut usages = Vec::new();
    for _ in 0..3 {
        let error = chat(&client, &Generation::default(), true).await.0.unwrap_err();
        assert_eq!((error.kind, error.code), (FailureKind::Transient, "stream_cut"));
        usages.push(error.usage);
    }
    assert_eq!(
        usages[0],
        Usage { prompt_tokens: 19, completion_tokens: 10, cached_tokens: 8 },
        "counted already"
    );
    assert!(usages[1].prompt_tokens > 0 && usages[1].completion_tokens > 0, "estimated: {:?}", usages[1]);
    assert_eq!(usages[1], usages[2]);
}

#[tokio::test]
async fn refusals_filters_and_limits_are_told_apart() {
    let refusal = json!({"role": "assistant", "content": null, "refusal": "I cannot."});
    let cut = json!({"role": "assistant", "content": "Hel"});
    let none = json!({"role": "assistant", "content": null});
    let replies = vec![
        plain(&refusal, "stop"),
        plain(&none, "content_filter"),
        plain(&cut, "length"),
        plain(&none, "length"),
    ];
    let server = Server::start(replies).await;
    let client = client(Openai, &server.url);
    for case in ["refusal", "content_filter"] {
        let error = chat(&client, &Generation::default(), false).await.0.unwrap_err();
        assert_eq!((error.kind, error.code), (FailureKind::Permanent, "refused"), "{case}");
        assert!(!error.message.contains("I cannot"));
    }
    assert_eq!(chat(&client, &Generation::default(), false).await.0.unwrap().finish, Finish::Length);
    let nothing = chat(&client, &Generation::default(), false).await.0.unwrap_err();
    assert_eq!(
        (nothing.kind, nothing.code),
        (FailureKind::Permanent, "empty_answer"),
        "a repeat would end alike"
    );
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood_all_the_same() {
    let server = Server::start(vec![plain(&json!({"content": "Hello."}), "stop")]).await;
    let (answer, pieces) = chat(&client(Openai, &server.url), &Generation::default(), true).await;
    assert_eq!((answer.unwrap().text.as_str(), pieces.as_slice()), ("Hello.", &["Hello.".to_owned()][..]));
}

#[tokio::test]
async fn an_error_inside_a_stream_is_no_answer() {
    let stream =
        "data: {\"error\": {\"message\": \"PROMPT\", \"type\": \"server_error\", \"code\": 500}}\n\n";
    let server = Server::start(vec![Reply::stream([stream.as_bytes()])]).await;
    let error = chat(&client(Openai, &server.url), &Generation::default(), true).await.0.unwrap_err();
    assert_eq!((error.kind, error.code), (FailureKind::Transient, "provider_error"));
}
