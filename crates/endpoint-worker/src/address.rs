//! Which addresses are private: on this host, or on a network that is the operator's own.
//!
//! Allowed are loopback, RFC 1918, link-local (RFC 3927, RFC 4291) and unique-local (RFC 4193) addresses, the
//! IPv4 ones also in their IPv6-mapped form. All else is refused, and with it:
//!
//! * 100.64.0.0/10 (RFC 6598): it is shared with the carrier, so it is not the operator's own. A mesh network
//!   that uses it (Tailscale) is reached by its unique-local IPv6 addresses, or through loopback.
//! * 0.0.0.0 and `::`: systems differ in what they connect to.
//! * 169.254.169.254: where clouds put their own service; no inference server is there.
//! * IPv4 addresses translated or wrapped into IPv6 (RFC 6052, RFC 3056): they leave through a gateway.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;
use trilane_providers::http::AddressRefused;

/// Where cloud machines find their metadata service.
const CLOUD_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Whether `address` is private.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private_v4(v4),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let is_own = address.is_loopback() || address.is_private() || address.is_link_local();
    is_own && address != CLOUD_METADATA
}

/// Checks the host of a URL where it is an address, in whatever notation: the URL parser has read decimal,
/// octal and hexadecimal ones. Names pass; they are checked each time that they are looked up.
///
/// # Errors
/// [`AddressRefused`] for an address that is not private.
pub fn check_literal(url: &Url) -> Result<(), AddressRefused> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) if !is_private(address) => Err(AddressRefused { host: host.to_owned(), address }),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn private_addresses_are_those_of_this_host_and_its_own_network() {
        let private = [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "fc00::1",
            "fdff::1",
            "::ffff:127.0.0.1",
            "::ffff:192.168.1.1",
        ];
        for address in private {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        let public = [
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "::",
            "2001:db8::1",
            "2606:4700::1111",
            "fec0::1",
            "ff02::1",
            "::ffff:8.8.8.8",
            "::ffff:100.64.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
        ];
        for address in public {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn every_notation_of_a_public_address_is_refused() {
        for host in [
            "8.8.8.8",
            "134744072",
            "0x08080808",
            "010.010.010.010",
            "0x8.8.2056",
            "8.8.8.8.",
            "[::ffff:8.8.8.8]",
            "[2001:4860:4860::8888]",
            "0.0.0.0",
            "0",
            "[::]",
            "%38.8.8.8",
            "８.8.8.8",
        ] {
            let url = Url::parse(&format!("http://{host}:11434/v1")).unwrap();
            assert!(check_literal(&url).is_err(), "{host} is {:?}", url.host_str());
        }
        for host in
            ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[fd00::1]", "192.168.1.7", "localhost", "ollama"]
        {
            let url = Url::parse(&format!("http://{host}:11434/v1")).unwrap();
            assert!(check_literal(&url).is_ok(), "{host} is {:?}", url.host_str());
        }
    }

    proptest! {
        /// The mapped form of an address is as private as the address.
        #[test]
        fn mapping_into_ipv6_changes_nothing(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(is_private(v4.into()), is_private(v4.to_ipv6_mapped().into()));
        }
    }
}
