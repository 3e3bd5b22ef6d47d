//! The login form, and the session that it begins.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;

use super::access::{Access, COOKIE};
use super::answer;
use super::listen::Peer;
use super::routes::Dashboard;
use super::token::{SESSION_S, Token};

const FORM: &str = include_str!("login.html");

/// Where the form says what went wrong.
const PLACE: &str = "<!-- problem -->";

/// `POST /login`, from the form.
pub(super) async fn login(
    State(dashboard): State<Arc<Dashboard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Access::Token(token) = &dashboard.access else { return to_page(None) };
    let (address, now) = (peer.0.ip(), Instant::now());
    if !dashboard.tries.may_try(address, now) {
        return form(StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens. Try again in a minute.");
    }
    if !token.is(given(&body)) {
        dashboard.tries.count_wrong(address, now);
        tracing::warn!(from = %peer.0, "a wrong token for the dashboard");
        return form(StatusCode::UNAUTHORIZED, "This is not the token.");
    }
    to_page(Some(begin(token, &headers)))
}

/// `GET /login`: whoever reloads the page after a wrong token.
pub(super) async fn visit() -> Response {
    to_page(None)
}

/// `POST /logout`.
pub(super) async fn logout() -> Response {
    to_page(Some(format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")))
}

/// The cookie of a session that begins now.
pub(super) fn begin(token: &Token, headers: &HeaderMap) -> String {
    let session = token.session(Timestamp::now().as_second());
    // Whoever serves the page by TLS is a proxy in front.
    let is_by_tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let secure = if is_by_tls { "; Secure" } else { "" };
    format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_S}{secure}")
}

/// The form, with what went wrong.
pub(super) fn form(status: StatusCode, problem: &'static str) -> Response {
    (status, Html(FORM.replace(PLACE, problem))).into_response()
}

/// To programs that have named too many wrong tokens.
pub(super) fn too_many() -> Response {
    let mut response =
        answer::error(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again in a minute");
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("60"));
    response
}

fn to_page(cookie: Option<String>) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
    if let Some(cookie) = cookie.and_then(|cookie| cookie.parse().ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The token in the form's body. Its characters need no decoding; spaces around it come from copying.
fn given(body: &[u8]) -> &str {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let token = text.split('&').find_map(|field| field.strip_prefix("token=")).unwrap_or_default();
    token.trim_matches('+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_the_form() {
        assert_eq!(given(b"token=abc-_9"), "abc-_9");
        assert_eq!(given(b"x=1&token=++abc+"), "abc");
        for none in [&b""[..], b"tokens=abc", b"\xff"] {
            assert_eq!(given(none), "");
        }
    }

    #[test]
    fn a_session_s_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let token = Token::new(&"x".repeat(43)).unwrap();
        let cookie = begin(&token, &HeaderMap::new());
        for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("Secure"));
        let by_tls = HeaderMap::from_iter([(
            header::HeaderName::from_static("x-forwarded-proto"),
            "https".parse().unwrap(),
        )]);
        assert!(begin(&token, &by_tls).ends_with("; Secure"));
    }

    #[test]
    fn the_form_has_a_place_for_what_went_wrong() {
        assert_eq!(FORM.matches(PLACE).count(), 1);
    }
}
