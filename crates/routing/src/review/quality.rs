//! How good answers were, as far as anybody knows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::facts::Evidence;
use super::interval::wilson;

/// How good some answers were: each counts once, by the weightiest source that speaks of it (feedback before validators,
/// before a judge of shadows, before the worker's signs).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Answers that something is known of.
    pub outcomes: u64,
    /// Mean, 0 to 1; absent without evidence.
    pub mean: Option<f64>,
    /// Lower end of its 95 % interval (Wilson).
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Answers by who speaks of them.
    pub by_source: BTreeMap<&'static str, u64>,
}

impl Quality {
    pub(super) fn of(evidence: impl IntoIterator<Item = Evidence>) -> Self {
        let (mut sum, mut outcomes, mut by_source) = (0.0, 0, BTreeMap::new());
        for one in evidence {
            sum += one.quality;
            outcomes += 1;
            *by_source.entry(one.source.as_str()).or_default() += 1;
        }
        if outcomes == 0 {
            return Self::default();
        }
        let mean = sum / outcomes as f64;
        let interval = wilson(mean, outcomes);
        Self { outcomes, mean: Some(mean), low: Some(interval.low), high: Some(interval.high), by_source }
    }
}
