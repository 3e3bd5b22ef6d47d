//! What a status, its headers and its error code mean for the task.
//!
//! The text of an error body may quote the prompt. It is searched for a few fixed phrases and then dropped;
//! of the other fields only words of [`KNOWN_WORDS`] are ever shown.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::chat::{ChatError, ChatRequest, FailureKind};
use crate::endpoint::Endpoint;
use crate::keys::ApiKey;

/// Longest delay that a server's `Retry-After` is taken for; more is a fault of the server or its clock.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What was called: messages name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) key: Option<&'a ApiKey>,
    pub(crate) request: &'a ChatRequest<'a>,
}

/// What an error body says, prompt-free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ErrorReport {
    /// `type` and `code`, as far as they are known words.
    words: Vec<&'static str>,
    /// The setting at fault, if the server names one.
    setting: Option<&'static str>,
    /// A status inside the body, as llama.cpp and vLLM have it.
    status: Option<u16>,
    /// Whether the message is about a prompt that is too long.
    is_too_long: bool,
    /// Whether the message is about money.
    is_about_credit: bool,
}

/// Values of `type` and `code` that may be shown, and the status that each stands for where an error comes
/// in the middle of a stream.
const KNOWN_WORDS: [(&str, u16); 27] = [
    ("api_error", 500),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("billing_hard_limit_reached", 402),
    ("content_filter", 400),
    ("content_policy_violation", 400),
    ("context_length_exceeded", 413),
    ("exceed_context_size_error", 413),
    ("insufficient_quota", 402),
    ("internal_error", 500),
    ("invalid_api_key", 401),
    ("invalid_request_error", 400),
    ("invalid_value", 400),
    ("model_not_found", 404),
    ("not_found_error", 404),
    ("overloaded_error", 529),
    ("permission_error", 403),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("request_too_large", 413),
    ("requests", 429),
    ("server_error", 500),
    ("string_above_max_length", 413),
    ("timeout_error", 504),
    ("tokens", 429),
    ("unsupported_parameter", 400),
    ("unsupported_value", 400),
];

/// Names of settings on the wire, and in a task.
const SETTINGS: [(&str, &str); 9] = [
    ("max_tokens", "max_tokens"),
    ("max_completion_tokens", "max_tokens"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("seed", "seed"),
    ("stop", "stop"),
    ("stop_sequences", "stop"),
    ("response_format", "json_schema"),
    ("tools", "json_schema"),
];

const TOO_LONG_PHRASES: [&str; 5] = [
    "prompt is too long",
    "maximum context length",
    "exceeds the available context size",
    "context length exceeded",
    "exceed context limit",
];

const CREDIT_PHRASES: [&str; 2] = ["credit balance is too low", "exceeded your current quota"];

impl ErrorReport {
    /// Reads an error body of any of the APIs; what it does not understand says nothing.
    pub(crate) fn read(body: &[u8]) -> Self {
        let Ok(root) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let error = match root.get("error") {
            Some(inner) if inner.is_object() => inner,
            _ => &root,
        };
        let text = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default();
        let message = root.get("error").and_then(Value::as_str).unwrap_or(text("message")).to_lowercase();
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
        Self {
            words: ["type", "code"].iter().filter_map(|field| known_word(text(field))).collect(),
            setting: setting(text("param")),
            status: error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
            is_too_long: says(&TOO_LONG_PHRASES),
            is_about_credit: says(&CREDIT_PHRASES),
        }
    }

    fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(word))
    }

    /// The status that an error in the middle of a stream stands for.
    fn implied_status(&self) -> u16 {
        let named = self.words.iter().filter_map(|word| KNOWN_WORDS.iter().find(|(known, _)| known == word));
        self.status.or(named.map(|(_, status)| *status).max()).unwrap_or(500)
    }
}

fn known_word(word: &str) -> Option<&'static str> {
    KNOWN_WORDS.iter().map(|(known, _)| *known).find(|known| *known == word)
}

fn setting(param: &str) -> Option<&'static str> {
    let first = param.split(['.', '[']).next().unwrap_or_default();
    SETTINGS.iter().find(|(wire, _)| *wire == first).map(|(_, name)| *name)
}

/// The delay that the headers ask for: `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |name: &str| text(name).and_then(|text| text.parse::<f64>().ok());
    let seconds = number("retry-after-ms").map(|ms| ms / 1e3).or_else(|| number("retry-after"));
    let until = || {
        let date = DateTimeParser::new().parse_timestamp(text("retry-after")?).ok()?;
        Some(date.duration_since(now).as_secs_f64())
    };
    let seconds = seconds.or_else(until)?.clamp(0.0, MAX_RETRY_AFTER.as_secs_f64());
    Duration::try_from_secs_f64(seconds).ok()
}

/// What an error in the middle of a stream means.
pub(crate) fn from_stream(report: &ErrorReport, call: Call<'_>) -> ChatError {
    from_status(report.implied_status(), report, call)
}

/// What a status other than success means.
pub(crate) fn from_status(status: u16, report: &ErrorReport, call: Call<'_>) -> ChatError {
    let name = &call.endpoint.name;
    let shown = shown(status, report);
    if report.is_about_credit
        || status == 402
        || report.has(&["insufficient_quota", "billing_hard_limit_reached"])
    {
        let key = key_phrase(call);
        let message = format!("the account of {key} at `{name}` is out of credit ({shown}); top it up");
        return ChatError::new(FailureKind::OutOfCredit, "out_of_credit", message);
    }
    match status {
        401 | 403 => ChatError::new(FailureKind::KeyRefused, "bad_api_key", bad_key(&shown, call)),
        429 => {
            let message = format!(
                "`{name}` limits the rate of {} ({shown}); the call is tried again later",
                key_phrase(call)
            );
            ChatError::new(FailureKind::RateLimited, "rate_limited", message)
        }
        529 | 503 => {
            ChatError::transient("overloaded", format!("`{name}` is overloaded ({shown}); it is tried again"))
        }
        408 | 409 | 425 | 500..=599 => {
            ChatError::transient("provider_error", format!("`{name}` failed ({shown}); it is tried again"))
        }
        300..=399 => {
            let message = format!(
                "`{name}` redirects ({shown}); redirects are not followed: set base_url to where the API is"
            );
            ChatError::permanent("redirect_refused", message)
        }
        _ => refused_request(status, report, call),
    }
}

/// A request that this server will never take.
fn refused_request(status: u16, report: &ErrorReport, call: Call<'_>) -> ChatError {
    let (name, model) = (&call.endpoint.name, call.request.model);
    let shown = shown(status, report);
    let too_long_words = ["context_length_exceeded", "exceed_context_size_error", "string_above_max_length"];
    if status == 413 || report.is_too_long || report.has(&too_long_words) {
        let message =
            format!("prompt and answer do not fit `{model}` at `{name}` ({shown}); shorten the prompt");
        return ChatError::permanent("prompt_too_long", message);
    }
    if report.has(&["content_filter", "content_policy_violation"]) {
        let message = format!("a content filter of `{name}` refused the prompt ({shown}); rephrase the task");
        return ChatError::permanent("refused", message);
    }
    if let Some(setting) = report.setting {
        let advice = format!("`{name}` refuses its value for `{model}` ({shown}); change it or leave it out");
        return ChatError::unsupported(setting, &advice);
    }
    if status == 404 || report.has(&["model_not_found"]) {
        let message =
            format!("`{name}` does not know the model `{model}` ({shown}); check remote_name and base_url");
        return ChatError::permanent("unknown_model", message);
    }
    let given = given_settings(call.request);
    ChatError::permanent(
        "request_refused",
        format!("`{name}` refuses the request ({shown}); check its settings: {given}"),
    )
}

fn bad_key(shown: &str, call: Call<'_>) -> String {
    let name = &call.endpoint.name;
    match call.key.map(ApiKey::label) {
        Some(label) => format!(
            "`{name}` does not accept the key from {label} ({shown}); put a valid key there and restart the worker"
        ),
        None => format!(
            "`{name}` wants an API key ({shown}) and is called without one; let it take calls without a key"
        ),
    }
}

fn shown(status: u16, report: &ErrorReport) -> String {
    report.words.iter().fold(status.to_string(), |shown, word| format!("{shown} {word}"))
}

fn key_phrase(call: Call<'_>) -> String {
    call.key.map_or_else(|| "calls without a key".to_owned(), |key| format!("the key from {}", key.label()))
}

fn given_settings(request: &ChatRequest<'_>) -> String {
    let generation = request.generation;
    let given = [
        ("temperature", generation.temperature.is_some()),
        ("top_p", generation.top_p.is_some()),
        ("seed", generation.seed.is_some()),
        ("stop", !generation.stop.is_empty()),
        ("json_schema", generation.json_schema.is_some()),
    ];
    let names = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
    std::iter::once("max_tokens").chain(names).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use trilane_protocol::Generation;

    use super::*;

    fn judge(status: u16, body: &str) -> ChatError {
        let endpoint = Endpoint::served("prov", "http://127.0.0.1:1", Duration::from_secs(1)).unwrap();
        let generation = Generation { temperature: Some(0.1), ..Generation::default() };
        let request =
            ChatRequest { model: "m", messages: &[], generation: &generation, max_tokens: 1, stream: false };
        let call = Call { endpoint: &endpoint, key: None, request: &request };
        from_status(status, &ErrorReport::read(body.as_bytes()), call)
    }

    #[test]
    fn each_status_has_its_kind_and_code() {
        use FailureKind::{KeyRefused, OutOfCredit, Permanent, RateLimited, Transient};
        let cases = [
            (301, Permanent, "redirect_refused"),
            (400, Permanent, "request_refused"),
            (401, KeyRefused, "bad_api_key"),
            (402, OutOfCredit, "out_of_credit"),
            (403, KeyRefused, "bad_api_key"),
            (404, Permanent, "unknown_model"),
            (408, Transient, "provider_error"),
            (409, Transient, "provider_error"),
            (413, Permanent, "prompt_too_long"),
            (422, Permanent, "request_refused"),
            (429, RateLimited, "rate_limited"),
            (500, Transient, "provider_error"),
            (503, Transient, "overloaded"),
            (529, Transient, "overloaded"),
        ];
        for (status, kind, code) in cases {
            let error = judge(status, "not json");
            assert_eq!((error.kind, error.code), (kind, code), "{status}");
        }
    }

    #[test]
    fn the_body_tells_a_long_prompt_an_empty_account_and_a_bad_setting_apart() {
        let code = |status, body: &str| judge(status, body).code;
        let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#;
        assert_eq!(code(400, anthropic), "prompt_too_long");
        assert_eq!(code(400, r#"{"error":{"code":"context_length_exceeded"}}"#), "prompt_too_long");
        assert_eq!(
            code(400, r#"{"error":{"code":400,"type":"exceed_context_size_error"}}"#),
            "prompt_too_long"
        );
        assert_eq!(
            code(429, r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#),
            "out_of_credit"
        );
        assert_eq!(
            code(400, r#"{"error":{"message":"Your credit balance is too low to …"}}"#),
            "out_of_credit"
        );
        assert_eq!(code(400, r#"{"error":{"code":"content_filter"}}"#), "refused");
        let setting = judge(400, r#"{"error":{"code":"unsupported_value","param":"temperature"}}"#);
        assert_eq!(setting.code, "unsupported_setting");
        assert!(setting.message.contains("`temperature`"), "{setting}");
    }

    #[test]
    fn a_message_never_repeats_what_the_server_wrote() {
        let body =
            r#"{"error":{"type":"SECRET PROMPT","code":"SECRET","param":"SECRET","message":"SECRET"}}"#;
        for status in [400, 401, 404, 413, 429, 500] {
            assert!(!judge(status, body).message.contains("SECRET"));
        }
        assert!(judge(400, "{}").message.contains("max_tokens, temperature"), "settings by name");
    }

    #[test]
    fn an_error_inside_a_stream_has_the_status_that_its_type_stands_for() {
        let implied = |body: &str| ErrorReport::read(body.as_bytes()).implied_status();
        assert_eq!(implied(r#"{"type":"error","error":{"type":"overloaded_error"}}"#), 529);
        assert_eq!(implied(r#"{"error":{"code":503,"type":"server_error"}}"#), 503);
        assert_eq!(implied(r#"{"error":"gone"}"#), 500);
    }

    #[test]
    fn retry_after_is_read_as_milliseconds_seconds_or_a_date_and_bounded() {
        let now: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        let delay = |pairs: &[(&'static str, &'static str)]| {
            let headers =
                pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            retry_after(&headers.collect(), now)
        };
        assert_eq!(delay(&[("retry-after", "20")]), Some(Duration::from_secs(20)));
        assert_eq!(
            delay(&[("retry-after", "20"), ("retry-after-ms", "1500")]),
            Some(Duration::from_millis(1500))
        );
        let date = delay(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]);
        assert_eq!(date, Some(Duration::from_secs(30)));
        assert_eq!(
            delay(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]),
            Some(Duration::ZERO),
            "long past"
        );
        assert_eq!(delay(&[("retry-after", "99999999")]), Some(MAX_RETRY_AFTER));
        assert_eq!(delay(&[("retry-after", "-3")]), Some(Duration::ZERO));
        assert_eq!(delay(&[("retry-after", "NaN")]), None);
        assert_eq!(delay(&[("retry-after", "soon")]), None);
        assert_eq!(delay(&[]), None);
    }
}
