//! When a process that ended is started again: a pure rule.

use std::time::Duration;

use trilane_service::config::EXIT_BAD_CONFIG;

/// Delay before the first restart; doubled with each quick end in a row.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Longest delay.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// A process that ran for this long has worked: what it meets is new, and counting starts again.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// Quick ends in a row that make a crash loop.
const LOOP_ENDS: u32 = 5;

/// What is to be done with a process that ended without having been asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start it again.
    Restart {
        /// After this.
        delay: Duration,
        /// Quick ends in a row, this one included.
        quick_ends: u32,
        /// Whether the crash loop is to be reported; said once.
        is_loop: bool,
    },
    /// Its configuration does not hold: another start would end the same way.
    Refused,
}

/// The verdict on a process that ended with `code` (absent: by a signal) after `ran`, with so many quick ends in
/// a row before.
pub(super) fn verdict(code: Option<i32>, ran: Duration, quick_ends_before: u32) -> Verdict {
    if code == Some(i32::from(EXIT_BAD_CONFIG)) {
        return Verdict::Refused;
    }
    let before = if ran >= LONG_ENOUGH { 0 } else { quick_ends_before };
    let quick_ends = before.saturating_add(1);
    let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(before)).min(MAX_DELAY);
    Verdict::Restart { delay, quick_ends, is_loop: quick_ends == LOOP_ENDS }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_secs(1);

    #[test]
    fn the_delay_grows_to_a_bound_and_the_loop_is_reported_once() {
        let mut ends = 0;
        let mut delays = Vec::new();
        let mut reports = Vec::new();
        for round in 1..=40 {
            let Verdict::Restart { delay, quick_ends, is_loop } = verdict(Some(1), QUICK, ends) else {
                panic!("an ordinary end is never refused")
            };
            ends = quick_ends;
            delays.push(delay.as_millis());
            reports.extend(is_loop.then_some(round));
        }
        assert_eq!(delays[..8], [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(delays[39], 30_000);
        assert_eq!(reports, [LOOP_ENDS]);
    }

    #[test]
    fn a_long_run_starts_the_count_again() {
        let expected = Verdict::Restart { delay: FIRST_DELAY, quick_ends: 1, is_loop: false };
        assert_eq!(verdict(None, LONG_ENOUGH, 17), expected);
    }

    #[test]
    fn a_refused_configuration_is_not_tried_again_and_everything_else_is() {
        assert_eq!(verdict(Some(64), QUICK, 0), Verdict::Refused);
        for code in [None, Some(0), Some(1), Some(101), Some(137)] {
            assert!(matches!(verdict(code, QUICK, 0), Verdict::Restart { .. }), "{code:?}");
        }
    }
}
