//! Whether the candidate has earned to be put in force.

use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::report::{Comparison, Report};

/// Standard errors that a gain must be above 0. The same trials are looked at again and again as they grow, and each look is
/// a chance to be taken in by luck: at the 1.96 of a single look one candidate in eight of no merit got through. By one look
/// at 3 one in 700 does; a window of trials is looked at some 15 times until it is full, since looks stand a quarter of its
/// growth apart ([`is_next_look`]), which keeps all of them together below 1 in 20.
pub(super) const PROMOTION_STANDARD_ERRORS: f64 = 3.0;

/// What a candidate has to show before it may be put in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Trials that its report must rest on.
    pub min_trials: usize,
    /// Effective trials, see [`super::Estimate::effective_trials`].
    pub min_effective_trials: f64,
}

/// A candidate that may be put in force: by how much it is better than the policy there is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Dollars a task.
    pub gain_usd: f64,
    /// Lower end of its 95 % interval; above 0.
    pub low_usd: f64,
    /// Upper end.
    pub high_usd: f64,
}

/// Why a candidate is not put in force.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Why {
    /// It was not seen often enough.
    #[error("{found} trials of {wanted} wanted; more judged tasks are needed (feedback, validators)")]
    TooFewTrials {
        /// Trials so far.
        found: usize,
        /// Trials wanted.
        wanted: usize,
    },
    /// Too few of the trials took the lanes that it would take.
    #[error(
        "the trials say as much of the candidate as {found:.0} equal ones, {wanted:.0} are wanted; more exploration \
         (policy.explore) or more judged tasks are needed"
    )]
    TooUncertain {
        /// Effective trials so far.
        found: f64,
        /// Effective trials wanted.
        wanted: f64,
    },
    /// Another contender may be as good.
    #[error(
        "the candidate is not shown to be better than {contender}: ${gain_usd:.5} a task, and of so many looks no more is \
         certain than that it is above ${low_usd:.5}"
    )]
    NotBetter {
        /// Than whom.
        contender: Contender,
        /// By how much it seems to be better, dollars a task.
        gain_usd: f64,
        /// Lower end of the interval that repeated looks leave.
        low_usd: f64,
    },
}

/// Whether trials that are looked at again and again are due for another look: they have grown by a quarter since the last
/// one, or all of the `window` that is kept are new. `seen` and `last_look` count all trials there ever were, now and then.
pub fn is_next_look(seen: u64, last_look: u64, window: u64) -> bool {
    seen >= last_look.saturating_add((last_look / 4).clamp(1, window.max(1)))
}

/// Whether the candidate of `report` may be put in force: it must be better than the policy in force and than each control,
/// each at its own cost, by so much that it holds however often one looks at [`is_next_look`].
///
/// # Errors
/// [`Why`] not, the first reason there is.
pub fn promotes(report: &Report, bounds: Bounds) -> Result<Promotion, Why> {
    if report.trials < bounds.min_trials {
        return Err(Why::TooFewTrials { found: report.trials, wanted: bounds.min_trials });
    }
    let effective = report.estimate(&Contender::Candidate).map_or(0.0, |own| own.effective_trials);
    if effective < bounds.min_effective_trials {
        return Err(Why::TooUncertain { found: effective, wanted: bounds.min_effective_trials });
    }
    let low_usd = |rival: &Comparison| rival.low_usd_at(PROMOTION_STANDARD_ERRORS);
    let is_better = |rival: &Comparison| low_usd(rival) > 0.0;
    if let Some(rival) = report.comparisons.iter().find(|rival| !is_better(rival)) {
        let (gain_usd, low_usd) = (rival.gain_usd, low_usd(rival));
        return Err(Why::NotBetter { contender: rival.contender.clone(), gain_usd, low_usd });
    }
    let over = report.comparisons.iter().find(|rival| rival.contender == Contender::InForce);
    over.map(|over| Promotion { gain_usd: over.gain_usd, low_usd: over.low_usd, high_usd: over.high_usd })
        .ok_or(Why::TooFewTrials { found: 0, wanted: bounds.min_trials })
}
