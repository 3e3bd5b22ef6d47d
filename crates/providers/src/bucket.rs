//! The arithmetic of a rate limit: a bucket that refills steadily and may be in debt.
//!
//! A reservation is never refused: it goes through at once, into debt if it must, and says when it may be
//! used. So callers are served in the order in which they came, and none has to ask again.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// A limit of so many units a minute. A full bucket lets one minute's units go at once, as the providers'
/// own buckets do; over any span of `t` minutes it lets at most `(1 + t)` minutes' units go.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_minute: f64,
    level: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket. A limit of 0 counts as 1, so that nothing waits for ever.
    pub fn new(per_minute: u64, now: Instant) -> Self {
        let per_minute = per_minute.max(1) as f64;
        Self { per_minute, level: per_minute, at: now }
    }

    /// How long a reservation of `units` made at `now` would have to wait. One that is larger than the
    /// bucket waits until the bucket has grown by what is over.
    pub fn wait(&self, units: u64, now: Instant) -> Duration {
        let missing = units as f64 - self.level_at(now);
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(missing * MINUTE.as_secs_f64() / self.per_minute).unwrap_or(Duration::MAX)
    }

    /// Takes `units` at `now`; they may be used after the returned time.
    pub fn reserve(&mut self, units: u64, now: Instant) -> Duration {
        let wait = self.wait(units, now);
        self.level = self.level_at(now) - units as f64;
        self.at = self.at.max(now);
        wait
    }

    /// Replaces an earlier reservation by what was used: gives the rest back, or takes what was over.
    pub fn settle(&mut self, reserved: u64, used: u64, now: Instant) {
        let level = self.level_at(now) + reserved as f64 - used as f64;
        self.level = level.min(self.per_minute);
        self.at = self.at.max(now);
    }

    fn level_at(&self, now: Instant) -> f64 {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() / MINUTE.as_secs_f64();
        (self.level + grown * self.per_minute).min(self.per_minute)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_over_waits_for_the_refill_and_a_refund_shortens_the_wait() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(60, start);
        assert_eq!(bucket.reserve(50, start), Duration::ZERO);
        assert_eq!(bucket.reserve(20, start), Duration::from_secs(10));
        assert_eq!(bucket.reserve(1, start), Duration::from_secs(11), "in the order in which they came");
        bucket.settle(50, 10, start);
        assert_eq!(bucket.reserve(1, start), Duration::ZERO);
        assert_eq!(bucket.wait(60, start + MINUTE * 5), Duration::ZERO, "never more than full");
        assert_eq!(bucket.wait(61, start + MINUTE * 5), Duration::from_secs(1));
    }

    proptest! {
        /// Whatever is asked for and when: no span lets more go than a full bucket and its refill.
        #[test]
        fn no_span_lets_more_go_than_the_limit(
            per_minute in 1u64..1000,
            asks in proptest::collection::vec((0u64..30_000, 1u64..200), 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(per_minute, start);
            let mut now = start;
            let mut grants: Vec<(Duration, u64)> = Vec::new();
            for (gap_ms, units) in asks {
                now += Duration::from_millis(gap_ms);
                let units = units.min(per_minute);
                let wait = bucket.reserve(units, now);
                grants.push((now + wait - start, units));
            }
            prop_assert!(grants.is_sorted_by_key(|(at, _)| *at), "first come, first served");
            for (from, (start_of_span, _)) in grants.iter().enumerate() {
                let mut sum = 0.0;
                for (at, units) in &grants[from..] {
                    sum += *units as f64;
                    let minutes = (*at - *start_of_span).as_secs_f64() / 60.0;
                    prop_assert!(sum <= per_minute as f64 * (1.0 + minutes) + 1e-3, "{sum} in {minutes} min");
                }
            }
        }

        /// Settling to what was used leaves the bucket as if only that had been reserved.
        #[test]
        fn a_settled_reservation_costs_what_was_used(
            per_minute in 100u64..1000, reserved in 0u64..100, used in 0u64..300,
        ) {
            let now = Instant::now();
            let (mut settled, mut exact) = (TokenBucket::new(per_minute, now), TokenBucket::new(per_minute, now));
            settled.reserve(reserved, now);
            settled.settle(reserved, used, now);
            exact.reserve(used, now);
            prop_assert_eq!(settled.wait(per_minute, now), exact.wait(per_minute, now));
        }
    }
}
