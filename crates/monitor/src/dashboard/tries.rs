//! How often an address may name a wrong token.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens that an address may name before it has to wait.
const MAX_WRONG: u32 = 10;

/// How long it has to wait.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered; the one that began first is forgotten for another.
const MAX_ADDRESSES: usize = 256;

/// Bits of an IPv6 address that are one customer's.
const CUSTOMER_BITS: u32 = 64;

/// Counts wrong tokens by address.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<BTreeMap<IpAddr, Wrong>>);

#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: u32,
    since: Instant,
}

impl Tries {
    /// Whether this address may try now.
    pub(super) fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let mut wrong = self.lock();
        wrong.retain(|_, wrong| now.duration_since(wrong.since) < WINDOW);
        wrong.get(&customer(address)).is_none_or(|wrong| wrong.count < MAX_WRONG)
    }

    /// It has named a wrong one.
    pub(super) fn count_wrong(&self, address: IpAddr, now: Instant) {
        let mut wrong = self.lock();
        let address = customer(address);
        if wrong.len() >= MAX_ADDRESSES && !wrong.contains_key(&address) {
            let first = wrong.iter().min_by_key(|(_, wrong)| wrong.since).map(|(address, _)| *address);
            first.map(|first| wrong.remove(&first));
        }
        wrong.entry(address).or_insert(Wrong { count: 0, since: now }).count += 1;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Wrong>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has one IPv6 address has very many.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let kept = u128::MAX << (u128::BITS - CUSTOMER_BITS);
            Ipv6Addr::from_bits(address.to_bits() & kept).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_after_too_many_and_another_does_not() {
        let (tries, now) = (Tries::default(), Instant::now());
        let [address, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        for _ in 0..MAX_WRONG {
            assert!(tries.may_try(address, now));
            tries.count_wrong(address, now);
        }
        assert!(!tries.may_try(address, now) && tries.may_try(other, now));
        assert!(!tries.may_try(address, now + WINDOW - Duration::from_millis(1)));
        assert!(tries.may_try(address, now + WINDOW));
    }

    #[test]
    fn addresses_of_one_customer_count_together_and_their_number_is_bounded() {
        let (tries, now) = (Tries::default(), Instant::now());
        for index in 0..MAX_WRONG {
            tries.count_wrong(format!("2001:db8::{index:x}").parse().unwrap(), now);
        }
        assert!(!tries.may_try("2001:db8::ffff".parse().unwrap(), now));
        assert!(tries.may_try("2001:db8:0:1::1".parse().unwrap(), now));
        for index in 0..=MAX_ADDRESSES as u32 {
            tries.count_wrong(std::net::Ipv4Addr::from_bits(index).into(), now);
        }
        assert_eq!(tries.lock().len(), MAX_ADDRESSES);
    }
}
