//! How often and how late a failed request is repeated.

use std::time::Duration;

/// Bounds of repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Failures in a row, without a byte of progress between them, after which the fetch gives up.
    pub(crate) failures: u32,
    /// Delay after the first failure; it doubles from failure to failure.
    pub(crate) initial: Duration,
    /// Longest delay, also where the server wishes for a longer one.
    pub(crate) max: Duration,
}

impl Default for Retry {
    /// Six failures within about half a minute: outlasts a reconnecting Wi-Fi, not a broken setup.
    fn default() -> Self {
        Self { failures: 6, initial: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

impl Retry {
    /// Delay after failure number `failure` (from 1), or the server's own `wish` where it has one.
    pub(crate) fn delay(&self, failure: u32, wish: Option<Duration>) -> Duration {
        let doubled = self.initial.saturating_mul(1 << failure.saturating_sub(1).min(16));
        wish.unwrap_or(doubled).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_bound_and_a_wish_is_bounded_too() {
        let retry = Retry::default();
        let delays: Vec<u64> =
            [1, 2, 3, 10, u32::MAX].map(|n| retry.delay(n, None).as_millis() as u64).into();
        assert_eq!(delays, [500, 1_000, 2_000, 30_000, 30_000]);
        assert_eq!(retry.delay(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(retry.delay(1, Some(Duration::from_secs(7_000))), Duration::from_secs(30));
    }
}
