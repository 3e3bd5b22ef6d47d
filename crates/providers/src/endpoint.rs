//! Where a server is and what it speaks.

use std::time::Duration;

use reqwest::Url;
use trilane_routing::registry::{Provider, ProviderApi};

/// A chat API that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What messages call it: the provider's entry of the registry, or the model it serves.
    pub name: String,
    /// What it speaks.
    pub wire: Wire,
    /// Base URL without a slash at its end, such as `https://api.anthropic.com/v1`.
    pub base_url: Url,
    /// Longest wait for a whole plain answer, or for the next piece of a streamed one.
    pub timeout: Duration,
}

/// What an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Anthropic Messages.
    Anthropic,
    /// Chat Completions as OpenAI itself has it: the token limit is `max_completion_tokens` (its newer
    /// models refuse `max_tokens`) and at most four stop sequences are taken.
    OpenAi,
    /// Chat Completions as everybody else has it: the token limit is `max_tokens` (older servers do not
    /// know the new name and would ignore it), and the server itself bounds the stop sequences.
    OpenAiCompatible,
}

/// An address that cannot be an API's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("base_url of `{name}`: {problem}")]
pub struct EndpointError {
    name: String,
    problem: &'static str,
}

/// Hosts that speak [`Wire::OpenAi`], with all hosts below them.
const OPENAI_HOSTS: [&str; 2] = ["api.openai.com", "openai.azure.com"];

impl Endpoint {
    /// The endpoint of a cloud provider.
    ///
    /// # Errors
    /// [`EndpointError`] when `base_url` is not the base of an HTTP API.
    pub fn cloud(name: &str, provider: &Provider) -> Result<Self, EndpointError> {
        let base_url = parse_base(name, &provider.base_url)?;
        let wire = match provider.api {
            ProviderApi::Anthropic => Wire::Anthropic,
            ProviderApi::Openai if is_openai(&base_url) => Wire::OpenAi,
            ProviderApi::Openai => Wire::OpenAiCompatible,
        };
        Ok(Self { name: name.to_owned(), wire, base_url, timeout: Duration::from_secs(provider.timeout_s) })
    }

    /// The endpoint of an inference server of one's own.
    ///
    /// # Errors
    /// As [`Endpoint::cloud`].
    pub fn served(name: &str, base_url: &str, timeout: Duration) -> Result<Self, EndpointError> {
        let base_url = parse_base(name, base_url)?;
        Ok(Self { name: name.to_owned(), wire: Wire::OpenAiCompatible, base_url, timeout })
    }

    /// Whether calls travel encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// Where a chat call is posted to.
    pub(crate) fn chat_url(&self) -> String {
        let path = match self.wire {
            Wire::Anthropic => "messages",
            Wire::OpenAi | Wire::OpenAiCompatible => "chat/completions",
        };
        format!("{}/{path}", self.base_url.as_str().trim_end_matches('/'))
    }
}

fn parse_base(name: &str, text: &str) -> Result<Url, EndpointError> {
    let fail = |problem| EndpointError { name: name.to_owned(), problem };
    let url = Url::parse(text).map_err(|_| fail("expected a URL such as https://api.example.com/v1"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(fail("expected a URL that starts with http:// or https:// and names a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fail("holds a user name or password; keys belong under `keys`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(fail("ends in a query or fragment; only scheme, host, port and path are used"));
    }
    Ok(url)
}

fn is_openai(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    OPENAI_HOSTS
        .iter()
        .any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(api: ProviderApi, base_url: &str) -> Provider {
        Provider {
            api,
            base_url: base_url.into(),
            keys: Vec::new(),
            requests_per_minute: 1,
            tokens_per_minute: 1,
            max_concurrency: 1,
            timeout_s: 7,
        }
    }

    #[test]
    fn the_token_limit_has_its_new_name_only_where_openai_itself_listens() {
        let wire = |url: &str| Endpoint::cloud("x", &provider(ProviderApi::Openai, url)).unwrap().wire;
        assert_eq!(wire("https://api.openai.com/v1"), Wire::OpenAi);
        assert_eq!(wire("https://mine.openai.azure.com/openai/v1"), Wire::OpenAi);
        assert_eq!(wire("https://fakeapi.openai.com.example.org/v1"), Wire::OpenAiCompatible);
        assert_eq!(wire("https://notapi.openai.com/v1"), Wire::OpenAiCompatible);
        assert_eq!(wire("http://127.0.0.1:8080/v1"), Wire::OpenAiCompatible);
    }

    #[test]
    fn the_path_is_put_behind_the_base() {
        let slash = Endpoint::served("m", "http://127.0.0.1:1/v1/", Duration::from_secs(1)).unwrap();
        assert_eq!(slash.chat_url(), "http://127.0.0.1:1/v1/chat/completions");
        let bare = Endpoint::cloud("a", &provider(ProviderApi::Anthropic, "https://a.example")).unwrap();
        assert_eq!(bare.chat_url(), "https://a.example/messages");
    }

    #[test]
    fn what_is_no_base_of_an_api_is_refused_by_name() {
        for bad in ["", "api.openai.com/v1", "ftp://x/v1", "https://user:key@x/v1", "https://x/v1?key=1"] {
            let error = Endpoint::served("mine", bad, Duration::from_secs(1)).unwrap_err().to_string();
            assert!(error.starts_with("base_url of `mine`: ") && !error.contains("key@"), "{error}");
        }
    }
}
