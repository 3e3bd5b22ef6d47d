//! Who is let in: a pure function of a request's head.
//!
//! On loopback no token is asked for, so two things stand between the page and whatever site the operator's browser has
//! open: the name in `Host` (a foreign name that resolves to 127.0.0.1 is refused) and where a request comes from.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, header};

use super::token::Token;

/// The session's cookie.
pub(super) const COOKIE: &str = "trilane_dashboard";

/// What a request that changes something must carry. A page of another origin cannot set it without asking first,
/// and is never told yes.
pub(super) const MARK: &str = "x-trilane-dashboard";

/// What everybody may have: what the login form is made of.
const OPEN: [&str; 3] = ["/login", "/page.css", "/icon.svg"];

/// Where the page itself is; links from elsewhere may lead there.
const PAGE: &str = "/";

/// How the page is protected.
#[derive(Debug)]
pub(super) enum Access {
    /// Served to this machine alone.
    Loopback,
    /// Served to others, who name the token.
    Token(Token),
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It names a host that is not this one.
    Host,
    /// A page of another origin has sent it.
    Foreign,
    /// It changes something and does not carry [`MARK`].
    Unmarked,
    /// It names no token, and has no session.
    NoToken,
    /// It names a wrong token.
    WrongToken,
}

impl Access {
    /// Lets a request in, or says why not.
    pub(super) fn judge(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        now_s: i64,
    ) -> Result<(), Refusal> {
        if matches!(self, Self::Loopback) && !names_loopback(text(headers, header::HOST.as_str())) {
            return Err(Refusal::Host);
        }
        let only_reads = matches!(*method, Method::GET | Method::HEAD);
        let is_visit = only_reads && path == PAGE;
        if !is_visit && is_foreign(only_reads, headers) {
            return Err(Refusal::Foreign);
        }
        let bearer = bearer(headers);
        let is_form = path == "/login" || path == "/logout";
        if !only_reads && !is_form && bearer.is_none() && !headers.contains_key(MARK) {
            return Err(Refusal::Unmarked);
        }
        match self {
            Self::Loopback => Ok(()),
            Self::Token(_) if OPEN.contains(&path) => Ok(()),
            Self::Token(token) => is_known(token, bearer, headers, now_s),
        }
    }
}

fn is_known(token: &Token, bearer: Option<&str>, headers: &HeaderMap, now_s: i64) -> Result<(), Refusal> {
    match bearer {
        Some(given) if token.is(given) => Ok(()),
        Some(_) => Err(Refusal::WrongToken),
        None => {
            let begun = session(headers).is_some_and(|session| token.has_begun(session, now_s));
            if begun { Ok(()) } else { Err(Refusal::NoToken) }
        }
    }
}

/// Browsers that know say where a request comes from; of the others, those that write say their origin.
fn is_foreign(only_reads: bool, headers: &HeaderMap) -> bool {
    if let Some(site) = text(headers, "sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(headers, header::ORIGIN.as_str()) else { return false };
    let origin_host = origin.split_once("://").map(|(_, host)| host);
    !only_reads && origin_host != text(headers, header::HOST.as_str())
}

/// Whether a `Host` names this machine's loopback. Its port may be a tunnel's.
fn names_loopback(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::AUTHORIZATION.as_str())?.strip_prefix("Bearer ").map(str::trim)
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = text(headers, header::COOKIE.as_str())?;
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789_abcdefghijklmnopqrstuvwxyz-ABCDE";
    const NOW: i64 = 1_000;

    fn guarded() -> Access {
        Access::Token(Token::new(TOKEN).unwrap())
    }

    fn judge(access: &Access, request: &str, headers: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let (method, path) = request.split_once(' ').unwrap();
        let headers = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        access.judge(&method.parse().unwrap(), path, &headers.collect(), NOW)
    }

    #[test]
    fn on_loopback_a_foreign_name_is_refused() {
        let on = |host| judge(&Access::Loopback, "GET /", &[("host", host)]);
        for ours in
            ["localhost", "LOCALHOST:4280", "127.0.0.1:4280", "127.8.9.1", "[::1]:9", "[::ffff:127.0.0.1]"]
        {
            assert_eq!(on(ours), Ok(()), "{ours}");
        }
        for foreign in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:1", "10.0.0.1", "", "[::1"]
        {
            assert_eq!(on(foreign), Err(Refusal::Host), "{foreign}");
        }
        assert_eq!(judge(&Access::Loopback, "GET /", &[]), Err(Refusal::Host), "no name at all");
    }

    #[test]
    fn other_origins_neither_read_nor_write() {
        let host = ("host", "localhost:4280");
        let on = |request, headers: &[(&'static str, &str)]| {
            judge(&Access::Loopback, request, &[&[host], headers].concat())
        };
        for site in ["cross-site", "same-site"] {
            for request in ["GET /api/events", "GET /page.js", "POST /api/lanes/cloud/pause"] {
                let headers = [("sec-fetch-site", site), (MARK, "1")];
                assert_eq!(on(request, &headers), Err(Refusal::Foreign), "{request}");
            }
            assert_eq!(on("GET /", &[("sec-fetch-site", site)]), Ok(()), "a link may lead here");
        }
        let write = "POST /api/lanes/cloud/pause";
        assert_eq!(on(write, &[("sec-fetch-site", "same-origin"), (MARK, "1")]), Ok(()));
        assert_eq!(on(write, &[("sec-fetch-site", "same-origin")]), Err(Refusal::Unmarked));
        assert_eq!(on(write, &[]), Err(Refusal::Unmarked));
        assert_eq!(on(write, &[("origin", "http://localhost:4280"), (MARK, "1")]), Ok(()));
        for origin in ["http://localhost:80", "https://evil.example", "null"] {
            assert_eq!(on(write, &[("origin", origin), (MARK, "1")]), Err(Refusal::Foreign), "{origin}");
        }
    }

    #[test]
    fn elsewhere_nothing_is_shown_without_a_token_or_a_session() {
        let session = Token::new(TOKEN).unwrap().session(NOW);
        let cookie = format!("other=1; {COOKIE}={session}");
        for request in ["GET /", "GET /page.js", "GET /api/fleet", "GET /api/events", "GET /api/tasks/a/t"] {
            assert_eq!(judge(&guarded(), request, &[]), Err(Refusal::NoToken), "{request}");
            let wrong = [("authorization", "Bearer wrong")];
            assert_eq!(judge(&guarded(), request, &wrong), Err(Refusal::WrongToken), "{request}");
            let bearer = format!("Bearer {TOKEN}");
            assert_eq!(judge(&guarded(), request, &[("authorization", &bearer)]), Ok(()), "{request}");
            assert_eq!(judge(&guarded(), request, &[("cookie", &cookie)]), Ok(()), "{request}");
            let forged = format!("{COOKIE}={session}0");
            assert_eq!(
                judge(&guarded(), request, &[("cookie", &forged)]),
                Err(Refusal::NoToken),
                "{request}"
            );
        }
        for open in ["POST /login", "GET /page.css", "GET /icon.svg"] {
            assert_eq!(judge(&guarded(), open, &[]), Ok(()), "{open}");
        }
    }

    #[test]
    fn a_session_alone_changes_nothing_and_a_token_does() {
        let write = "POST /api/lanes/cloud/pause";
        let cookie = format!("{COOKIE}={}", Token::new(TOKEN).unwrap().session(NOW));
        assert_eq!(judge(&guarded(), write, &[("cookie", &cookie)]), Err(Refusal::Unmarked));
        assert_eq!(judge(&guarded(), write, &[("cookie", &cookie), (MARK, "1")]), Ok(()));
        assert_eq!(judge(&guarded(), write, &[(MARK, "1")]), Err(Refusal::NoToken));
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(judge(&guarded(), write, &[("authorization", &bearer)]), Ok(()));
    }
}
