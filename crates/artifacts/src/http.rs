//! The HTTP client: which certificates it trusts, which URLs it opens, and what a failed request means.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::pip::PipSettings;

/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two pieces of a body; a server silent for longer counts as gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Redirects followed for one request; publishers' download hosts use one or two.
const MAX_REDIRECTS: usize = 8;

/// Why there is no client. Nothing is fetched without one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of certificates that the user names cannot be read.
    #[error("cannot read the certificates in {}, which {named_by} names: {reason}", path.display())]
    Certificates {
        /// The variable or setting.
        named_by: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system trusts nobody.
    #[error(
        "no certificate authorities found: install `ca-certificates`, or name a PEM file in SSL_CERT_FILE"
    )]
    NoCertificates,
    /// The TLS or HTTP library refuses the setup.
    #[error("cannot set up HTTPS: {0}")]
    Setup(String),
}

/// Why a request failed. URLs are shown without credentials and query.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A plain `http://` URL of another machine, or another scheme.
    #[error("{url} is not fetched: only https:// is (and http:// from this machine)")]
    Insecure {
        /// The URL.
        url: String,
    },
    /// The server answered with an error.
    #[error("{url} answered {status}{}", remedy(*status))]
    Status {
        /// The URL.
        url: String,
        /// Its answer.
        status: StatusCode,
        /// When the server wishes to be asked again.
        retry_after: Option<Duration>,
    },
    /// The connection failed or was cut.
    #[error("{url}: {reason}; check the network, and HTTPS_PROXY if a proxy is needed")]
    Network {
        /// The URL.
        url: String,
        /// What the network says.
        reason: String,
    },
}

fn remedy(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => ": check the credentials of the package index or proxy",
        404 | 410 => ": it is not there; check the name, or set PIP_INDEX_URL to an index that has it",
        407 => ": put the proxy's credentials into HTTPS_PROXY",
        _ => "",
    }
}

impl HttpError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Insecure { .. } => false,
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 416 | 425 | 429)
            }
            Self::Network { .. } => true,
        }
    }

    /// The server's own wish for the delay.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A failure of the connection or of the body.
    pub(crate) fn network(url: &Url, error: reqwest::Error) -> Self {
        if error.is_redirect() {
            return Self::Insecure { url: format!("a redirect of {}", shown(url)) };
        }
        Self::Network { url: shown(url), reason: causes(&error.without_url()) }
    }
}

/// An error with all its causes; the outermost of reqwest's says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A URL as it may be printed: without credentials, query and fragment.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// A client for files of any size.
#[derive(Debug, Clone)]
pub(crate) struct Http(Client);

impl Http {
    /// A client that trusts the system's certificates and the user's.
    pub(crate) fn new(pip: &PipSettings) -> Result<Self, ClientError> {
        Self::build(Client::builder().tls_backend_preconfigured(tls(pip)?))
    }

    fn build(builder: reqwest::ClientBuilder) -> Result<Self, ClientError> {
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            if attempt.previous().len() > MAX_REDIRECTS || !is_allowed(attempt.url()) {
                return attempt.error("a redirect that is not followed");
            }
            attempt.follow()
        });
        let mut headers = HeaderMap::new();
        // A compressed transfer would make byte ranges mean something else.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        builder
            .user_agent(concat!("trilane/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(redirects)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map(Self)
            .map_err(|error| ClientError::Setup(causes(&error)))
    }

    /// A client that ignores the proxies of the machine that runs the tests.
    #[cfg(test)]
    pub(crate) fn direct() -> Self {
        let pip = PipSettings { index_url: String::new(), certificates: Vec::new() };
        let tls = tls(&pip).expect("the test machine has certificates");
        Self::build(Client::builder().no_proxy().tls_backend_preconfigured(tls)).expect("a client")
    }

    /// Asks for `url`; the answer has a status of success.
    pub(crate) async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Response, HttpError> {
        if !is_allowed(url) {
            return Err(HttpError::Insecure { url: shown(url) });
        }
        let sent = self.0.get(url.clone()).headers(headers).send().await;
        let response = sent.map_err(|error| HttpError::network(url, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(HttpError::Status { url: shown(url), status, retry_after: retry_after(response.headers()) })
    }
}

/// Whether what comes from `url` cannot be changed on its way: https, or this machine.
fn is_allowed(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Seconds only: the date form is rare, and the retry's own delay serves as well.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn tls(pip: &PipSettings) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for (named_by, path) in &pip.certificates {
        let unreadable = |reason: String| ClientError::Certificates {
            named_by: named_by.clone(),
            path: path.clone(),
            reason,
        };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unreadable("it holds no certificate".into()));
        }
        roots.add_parsable_certificates(certificates);
    }
    if roots.is_empty() {
        return Err(ClientError::NoCertificates);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Setup(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(url: &str) -> bool {
        is_allowed(&Url::parse(url).unwrap())
    }

    #[test]
    fn only_https_and_this_machine_are_fetched_from() {
        assert!(allowed("https://pypi.org/simple/"));
        assert!(
            allowed("http://127.0.0.1:8080/x") && allowed("http://[::1]/x") && allowed("http://localhost/x")
        );
        assert!(
            !allowed("http://pypi.org/simple/")
                && !allowed("http://10.0.0.1/x")
                && !allowed("ftp://127.0.0.1/x")
        );
    }

    #[test]
    fn credentials_and_signatures_are_not_shown() {
        let url = Url::parse("https://user:secret@index.example/simple/x?signature=secret#sha256=0").unwrap();
        assert_eq!(shown(&url), "https://index.example/simple/x");
    }

    #[test]
    fn a_missing_file_of_certificates_is_named_with_its_variable() {
        let certificates = vec![("PIP_CERT".to_owned(), PathBuf::from("/nowhere.pem"))];
        let error =
            Http::new(&PipSettings { index_url: String::new(), certificates }).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read the certificates in /nowhere.pem, which PIP_CERT names"),
            "{error}"
        );
    }

    #[test]
    fn overload_is_worth_a_retry_and_a_missing_file_is_not() {
        let error = |status: StatusCode| HttpError::Status { url: String::new(), status, retry_after: None };
        assert!(error(StatusCode::SERVICE_UNAVAILABLE).is_retryable());
        assert!(error(StatusCode::TOO_MANY_REQUESTS).is_retryable());
        assert!(!error(StatusCode::NOT_FOUND).is_retryable());
        assert!(!error(StatusCode::FORBIDDEN).is_retryable());
    }
}
