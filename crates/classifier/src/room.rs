//! How many tasks of a lane may be in the hands of its workers: a bound that follows them, so that workers join and leave
//! without configuration. Pure.
//!
//! The server holds back what is beyond the bound. One that stayed as configured would starve the workers of a large
//! fleet; none at all would let a lane whose provider is down hand out its whole queue to be tried again later.

/// Tasks in flight for each slot: one that runs, and one that waits for another attempt.
const TASKS_PER_SLOT: u32 = 2;

/// No more than this, whatever workers say of themselves.
const MOST: u32 = 65_536;

/// The bound decreases only where it is so many times what is needed, so that a worker's restart changes nothing.
const SHRINK_FACTOR: i64 = 4;

/// The bound that a lane is to have, where that is another than `current`. Powers of two, so that it seldom changes.
pub(crate) fn wanted(configured: u32, slots: u32, current: i64) -> Option<i64> {
    let needed = slots.saturating_mul(TASKS_PER_SLOT).min(MOST).next_power_of_two();
    let wanted = i64::from(needed.max(configured));
    let is_too_small = wanted > current;
    let is_too_large = wanted <= current / SHRINK_FACTOR;
    (is_too_small || is_too_large).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_fleet_keeps_what_is_configured() {
        assert_eq!(wanted(1_024, 0, 1_024), None);
        assert_eq!(wanted(1_024, 512, 1_024), None);
    }

    #[test]
    fn a_large_one_gets_two_for_each_slot() {
        assert_eq!(wanted(1_024, 513, 1_024), Some(2_048));
        assert_eq!(wanted(1_024, 4_000, 2_048), Some(8_192));
        assert_eq!(wanted(4, 8, 4), Some(16));
    }

    #[test]
    fn workers_that_come_and_go_change_it_seldom() {
        assert_eq!(wanted(1_024, 2_000, 8_192), None, "half would do");
        assert_eq!(wanted(1_024, 1_000, 8_192), Some(2_048));
        assert_eq!(wanted(1_024, 0, 8_192), Some(1_024), "never below what is configured");
    }

    #[test]
    fn nobody_gets_more_by_saying_so() {
        assert_eq!(wanted(1_024, u32::MAX, 1_024), Some(i64::from(MOST)));
    }
}
