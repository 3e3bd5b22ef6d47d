//! Whether the candidate has earned to be put in force.

use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::report::Report;

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
        "the candidate is not shown to be better than {contender}: ${gain_usd:.5} a task, and with 95 % certainty no more \
         than that it is above ${low_usd:.5}"
    )]
    NotBetter {
        /// Than whom.
        contender: Contender,
        /// By how much it seems to be better, dollars a task.
        gain_usd: f64,
        /// Lower end of the interval.
        low_usd: f64,
    },
}

/// Whether the candidate of `report` may be put in force: it must be better than the policy in force and than each control,
/// each at its own cost, with 95 % certainty.
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
    let is_better = |low_usd: f64| low_usd > 0.0;
    if let Some(rival) = report.comparisons.iter().find(|rival| !is_better(rival.low_usd)) {
        let (gain_usd, low_usd) = (rival.gain_usd, rival.low_usd);
        return Err(Why::NotBetter { contender: rival.contender.clone(), gain_usd, low_usd });
    }
    let over = report.comparisons.iter().find(|rival| rival.contender == Contender::InForce);
    over.map(|over| Promotion { gain_usd: over.gain_usd, low_usd: over.low_usd, high_usd: over.high_usd })
        .ok_or(Why::TooFewTrials { found: 0, wanted: bounds.min_trials })
}
