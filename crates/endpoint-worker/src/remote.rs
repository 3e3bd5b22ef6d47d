//! Models that a local server forwards elsewhere are refused: the address is private, the work would not be.
//!
//! Ollama serves models of its cloud under the same API as local ones. They show by their tag (`:cloud`,
//! `-cloud`), and by `remote_host` and `remote_model` in what `/api/show` says. A name can be pointed
//! elsewhere while a worker runs, so it is asked before every call. Servers without that path have no such
//! models.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use trilane_providers::http::refused_address;
use trilane_worker::{RunError, RunErrorKind};

/// Longest wait for the answer of `/api/show`; it runs no model.
const SHOW_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest answer that is read, bytes; it holds the model's licence and template.
const MAX_SHOW_BYTES: usize = 8 * 1024 * 1024;

/// Whether a model's name says that it runs in Ollama's cloud.
pub fn is_cloud_name(remote_name: &str) -> bool {
    let name = remote_name.trim().to_ascii_lowercase();
    name == "cloud" || name.ends_with(":cloud") || name.ends_with("-cloud")
}

/// Where a server describes its models, if it is Ollama: beside the OpenAI-compatible API, not below it.
pub fn show_url(base_url: &Url) -> String {
    let base = base_url.as_str().trim_end_matches('/');
    format!("{}/api/show", base.strip_suffix("/v1").unwrap_or(base).trim_end_matches('/'))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    remote_host: Option<String>,
    remote_model: Option<String>,
}

/// Asks the server whether it runs `remote_name` itself.
///
/// # Errors
/// `remote_model`, permanent, where it does not; `address_refused`, permanent, where the server lies elsewhere;
/// `remote_check_failed`, transient, where it cannot be known.
pub async fn check_runs_here(http: &Client, show_url: &str, remote_name: &str) -> Result<(), RunError> {
    let body = serde_json::json!({ "model": remote_name }).to_string();
    let asking = http.post(show_url).header("content-type", "application/json").timeout(SHOW_TIMEOUT);
    let response = asking.body(body).send().await.map_err(|error| unreachable_server(&error, remote_name))?;
    match response.status() {
        StatusCode::OK => {}
        // No such path, or no such model; the call itself will tell.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => return Ok(()),
        _ => return Err(unknown(remote_name)),
    }
    let body = read(response).await.ok_or_else(|| unknown(remote_name))?;
    if is_remote(&body) {
        let message = format!(
            "`{remote_name}` is not run by the local server but forwarded elsewhere; nothing was sent. Pull a \
             model that runs locally and name it in remote_name"
        );
        return Err(RunError::new(RunErrorKind::Permanent, "remote_model", message));
    }
    Ok(())
}

/// Text that is no JSON object comes from a server that answers every path; it is not Ollama.
fn is_remote(body: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    if !value.is_object() {
        return false;
    }
    // Fields of an unexpected type are no ground for trust.
    let Ok(shown) = serde_json::from_value::<Shown>(value) else { return true };
    [shown.remote_host, shown.remote_model].into_iter().flatten().any(|text| !text.is_empty())
}

async fn read(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.ok()? {
        if body.len() + bytes.len() > MAX_SHOW_BYTES {
            return None;
        }
        body.extend_from_slice(&bytes);
    }
    Some(body)
}

fn unreachable_server(error: &reqwest::Error, remote_name: &str) -> RunError {
    match refused_address(error) {
        Some(refused) => {
            let message =
                format!("{refused}; the server of `{remote_name}` must lie on this host or network");
            RunError::new(RunErrorKind::Permanent, "address_refused", message)
        }
        None => unknown(remote_name),
    }
}

fn unknown(remote_name: &str) -> RunError {
    let message = format!(
        "cannot ask the server whether it runs `{remote_name}` itself; check base_url and that it runs"
    );
    RunError::new(RunErrorKind::Transient, "remote_check_failed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cloud_tag_is_known_in_all_its_forms() {
        for name in
            ["gpt-oss:120b-cloud", "glm-4.6:cloud", "Qwen3-Coder:480B-CLOUD", "registry.example/x:cloud"]
        {
            assert!(is_cloud_name(name), "{name}");
        }
        for name in ["llama3.1:8b", "cloudy:7b", "my-cloud-model:latest"] {
            assert!(!is_cloud_name(name), "{name}");
        }
    }

    #[test]
    fn a_model_is_remote_where_the_server_names_another_host_or_model() {
        assert!(is_remote(br#"{"details":{},"remote_host":"https://ollama.com:443"}"#));
        assert!(is_remote(br#"{"remote_model":"gpt-oss:120b"}"#));
        assert!(
            is_remote(br#"{"remote_host":["https://ollama.com"]}"#),
            "no trust in what is not understood"
        );
        assert!(!is_remote(
            br#"{"details":{"family":"llama"},"remote_host":"","capabilities":["completion"]}"#
        ));
        assert!(!is_remote(b"<html>") && !is_remote(b"[1]"));
    }

    #[test]
    fn the_description_lies_beside_the_openai_path() {
        let show = |base: &str| show_url(&Url::parse(base).unwrap());
        assert_eq!(show("http://127.0.0.1:11434/v1"), "http://127.0.0.1:11434/api/show");
        assert_eq!(show("http://127.0.0.1:11434/v1/"), "http://127.0.0.1:11434/api/show");
        assert_eq!(show("http://ollama/proxy/v1"), "http://ollama/proxy/api/show");
        assert_eq!(show("http://ollama"), "http://ollama/api/show");
    }
}
