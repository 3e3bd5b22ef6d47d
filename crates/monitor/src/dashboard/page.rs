//! What the browser gets, embedded in the binary, and the headers that keep it from being anything else.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{Html, IntoResponse, Response};

use super::access::Access;
use super::login;
use super::routes::Dashboard;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

/// Where the page has its sign-out, for those who have signed in.
const PLACE: &str = "<!-- sign out -->";
const SIGN_OUT: &str =
    "<form method=\"post\" action=\"/logout\"><button class=\"quiet\">Sign out</button></form>";

/// Nothing but the page's own files, no frame around it, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const PROTECTION: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Puts the protecting headers on every answer.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in PROTECTION {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// `GET /`. Opening the page begins the session anew.
pub(super) async fn html(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Response {
    let Access::Token(token) = &dashboard.access else { return Html(HTML).into_response() };
    let mut response = Html(HTML.replace(PLACE, SIGN_OUT)).into_response();
    if let Ok(cookie) = login::begin(token, &headers).parse() {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// `GET /page.css`.
pub(super) async fn css() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], CSS).into_response()
}

/// `GET /page.js`.
pub(super) async fn js() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], JS).into_response()
}

/// `GET /icon.svg`.
pub(super) async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], ICON).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_makes_no_markup_of_text() {
        let login = include_str!("login.html");
        for text in [HTML, CSS, login] {
            assert!(!text.contains("http://") && !text.contains("https://"), "all is embedded");
        }
        for text in [HTML, login] {
            assert!(!text.contains(" style=") && !text.contains("<script>"), "no inline code");
            let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
            assert!(!text.split_whitespace().any(is_handler), "no inline handlers");
        }
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!JS.contains(markup), "{markup}");
        }
        assert_eq!(HTML.matches(PLACE).count(), 1);
    }
}
