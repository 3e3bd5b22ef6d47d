//! How long until the next attempt: exponential growth with jitter.
//!
//! The only use of the `backoff` crate. It is no longer maintained (RUSTSEC-2025-0012), so it stays behind
//! this one function, where it can be replaced without anybody noticing.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use trilane_service::config;

/// The delay after attempt number `attempt` (from 1): the policy's, or the backend's own wish where that is
/// longer.
pub fn delay(policy: &config::Worker, attempt: u32, retry_after: Option<Duration>) -> Duration {
    let initial = Duration::from_millis(policy.retry_initial_ms);
    let most = Duration::from_millis(policy.retry_max_ms);
    let growth = policy.retry_factor.powi(attempt.saturating_sub(1).min(64) as i32);
    let grown = Duration::try_from_secs_f64(initial.as_secs_f64() * growth).unwrap_or(most).min(most);
    let mut backoff = ExponentialBackoff {
        current_interval: grown,
        initial_interval: grown,
        randomization_factor: policy.retry_jitter,
        multiplier: policy.retry_factor,
        max_interval: most,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let drawn = backoff.next_backoff().unwrap_or(grown);
    drawn.max(retry_after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> config::Worker {
        config::load_from(None, []).unwrap().worker
    }

    proptest! {
        #[test]
        fn a_delay_grows_within_its_bounds(attempt in 1_u32..1000) {
            let policy = policy();
            let drawn = delay(&policy, attempt, None).as_secs_f64() * 1000.0;
            let exact = (policy.retry_initial_ms as f64 * policy.retry_factor.powi(attempt as i32 - 1))
                .min(policy.retry_max_ms as f64);
            prop_assert!(drawn >= exact * (1.0 - policy.retry_jitter) - 1.0);
            prop_assert!(drawn <= exact * (1.0 + policy.retry_jitter) + 1.0);
        }
    }

    #[test]
    fn the_backend_may_ask_for_more_but_not_for_less() {
        let policy = policy();
        assert_eq!(delay(&policy, 1, Some(Duration::from_secs(600))), Duration::from_secs(600));
        assert!(delay(&policy, 1, Some(Duration::ZERO)) > Duration::ZERO);
    }
}
