//! The HTTP clients, and what they refuse to do: no redirect is followed (it would carry a prompt to a host
//! that nobody configured), nothing is repeated by itself (it would be billed twice), nothing is unpacked.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::{Client, ClientBuilder, redirect};

/// Longest wait for a connection, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept. Servers close theirs after a minute or more; a shorter time here
/// keeps calls off connections that are about to go away.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: {0}; install the system's root certificates (Debian: ca-certificates)")]
pub struct HttpError(#[source] reqwest::Error);

/// Raised by a resolver that refuses an address; a call that meets it fails as `address_refused`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` leads to {address}, which is not a private address")]
pub struct AddressRefused {
    /// The name.
    pub host: String,
    /// The address that the rule does not allow.
    pub address: IpAddr,
}

/// The refusal that a failed request rests on, if it does.
pub fn refused_address(error: &reqwest::Error) -> Option<&AddressRefused> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
            return Some(refused);
        }
        cause = inner.source();
    }
    None
}

/// A client for cloud APIs. It goes through the proxy that the environment names (`HTTPS_PROXY`), as
/// company networks need it. Without `tls` no root certificates are looked for.
///
/// # Errors
/// [`HttpError`] when `tls` is wanted and the system has no root certificates.
pub fn cloud_client(tls: bool) -> Result<Client, HttpError> {
    guarded(tls).build().map_err(HttpError)
}

/// A client that connects to where `resolver` says, and through no proxy whatever the environment names.
/// IP addresses in a URL never reach a resolver: who calls this checks them first.
///
/// # Errors
/// As [`cloud_client`].
pub fn direct_client(tls: bool, resolver: Arc<dyn Resolve>) -> Result<Client, HttpError> {
    guarded(tls).no_proxy().dns_resolver(resolver).build().map_err(HttpError)
}

fn guarded(tls: bool) -> ClientBuilder {
    // Fails only where another part of the process has chosen a provider before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION)
        .user_agent(concat!("trilane/", env!("CARGO_PKG_VERSION")));
    if tls { builder } else { builder.tls_certs_only([]) }
}
