//! Calls against a scripted server: both APIs, plain and streamed, and everything that can go wrong.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failure of the test")]

mod anthropic;
mod failures;
mod openai;
mod server;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trilane_protocol::{Generation, Message, Role};
use trilane_providers::http::cloud_client;
use trilane_providers::keys::ApiKey;
use trilane_providers::{Answer, ChatClient, ChatError, ChatRequest, Endpoint};
use trilane_routing::registry::{KeySource, Provider, ProviderApi};

/// A client of `api` at `url`, with a timeout that no test waits for.
fn client(api: ProviderApi, url: &str) -> ChatClient {
    client_with_timeout(api, url, 600)
}

fn client_with_timeout(api: ProviderApi, url: &str, timeout_s: u64) -> ChatClient {
    let provider = Provider {
        api,
        base_url: format!("{url}/v1"),
        keys: Vec::new(),
        requests_per_minute: 1,
        tokens_per_minute: 1,
        max_concurrency: 1,
        timeout_s,
    };
    ChatClient::new(cloud_client(false).unwrap(), Endpoint::cloud("prov", &provider).unwrap())
}

fn key() -> ApiKey {
    ApiKey::read(&KeySource::Env("THE_KEY".into()), |_| Some("sk-hidden".into())).unwrap().unwrap()
}

fn messages() -> Vec<Message> {
    vec![
        Message { role: Role::System, content: "Be brief.".into() },
        Message { role: Role::User, content: "PROMPT".into() },
    ]
}

/// Calls once; also gives the pieces of text as they came.
async fn chat(
    client: &ChatClient,
    generation: &Generation,
    stream: bool,
) -> (Result<Answer, ChatError>, Vec<String>) {
    let messages = messages();
    let request = ChatRequest { model: "the-model", messages: &messages, generation, max_tokens: 64, stream };
    let mut pieces = Vec::new();
    let mut on_text = |text: &str| pieces.push(text.to_owned());
    let outcome = client.chat(&request, Some(&key()), &CancellationToken::new(), &mut on_text).await;
    (outcome, pieces)
}

/// Long enough that only a hang is meant by it.
const NEVER: Duration = Duration::from_secs(600);
