//! Names are looked up here, and only private addresses come out.
//!
//! The connection is made to the very addresses that were checked: nobody looks the name up again between
//! check and connect, so a name that changes its answer (DNS rebinding) gains nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use trilane_providers::http::AddressRefused;

use crate::address::is_private;

/// What a look-up will give.
pub type LookedUp = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `host`.
    fn look_up(&self, host: String) -> LookedUp;
}

/// The system's look-up (hosts file, DNS).
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn look_up(&self, host: String) -> LookedUp {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// Passes on what a [`Lookup`] finds, if all of it is private.
pub struct PrivateResolver(Arc<dyn Lookup>);

impl PrivateResolver {
    /// A resolver on top of `lookup`.
    pub fn new(lookup: impl Lookup) -> Self {
        Self(Arc::new(lookup))
    }
}

impl Resolve for PrivateResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let looking_up = self.0.look_up(host.clone());
        Box::pin(async move {
            let addresses = check(&host, looking_up.await?)?;
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// One public address among several refuses them all: which of them is tried first is not ours to say.
fn check(host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, AddressRefused> {
    match addresses.iter().find(|address| !is_private(**address)) {
        Some(address) => Err(AddressRefused { host: host.to_owned(), address: *address }),
        None => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_public_address_refuses_a_name() {
        let addresses = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        assert!(check("x", addresses(&["127.0.0.1", "fd00::1"])).is_ok());
        let error = check("x", addresses(&["127.0.0.1", "8.8.8.8"])).unwrap_err();
        assert_eq!(error.to_string(), "`x` leads to 8.8.8.8, which is not a private address");
    }
}
