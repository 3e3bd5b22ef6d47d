//! Whether chances keep their word: predicted against observed quality, and what corrects them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::facts::{Evidence, Name, share};
use crate::score::logistic;

/// Outcomes of a lane from which on its chances are corrected by them.
const ENOUGH: usize = 30;

/// The largest correction, log-odds.
const MAX_OFFSET: f64 = 5.0;

/// Halvings of the interval in which the correction is looked for: it is then known to a billionth.
const STEPS: usize = 33;

/// Bins of chances.
const BINS: usize = 10;

/// Outcomes whose chance lay in the same tenth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// Mean chance that was given, 0 to 1.
    pub predicted: f64,
    /// Mean quality that came of it, 0 to 1.
    pub observed: f64,
    /// Outcomes.
    pub outcomes: u64,
}

/// How far each lane's chances are off, as log-odds that are added to all of them. One number a lane keeps their order
/// and needs few outcomes.
#[derive(Debug, Default)]
pub(super) struct Correction(BTreeMap<Name, f64>);

impl Correction {
    pub(super) fn fit(evidence: &[Evidence]) -> Self {
        let mut lanes: BTreeMap<Name, Vec<(f64, f64)>> = BTreeMap::new();
        for known in evidence {
            lanes.entry(known.lane.clone()).or_default().push((log_odds(known.chance), known.quality));
        }
        let enough = lanes.into_iter().filter(|(_, pairs)| pairs.len() >= ENOUGH);
        Self(enough.map(|(lane, pairs)| (lane, offset(&pairs))).collect())
    }

    /// The chance of a lane, corrected where there is enough to go by.
    pub(super) fn chance(&self, lane: &str, chance: f64) -> f64 {
        self.0.get(lane).map_or(chance, |offset| logistic(log_odds(chance) + offset))
    }

    pub(super) fn lanes(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }
}

/// The outcomes by tenths of their chance; those without any are left out.
pub(super) fn bins<'a>(evidence: impl Iterator<Item = &'a Evidence>) -> Vec<Bin> {
    let mut sums = [(0.0, 0.0, 0_u64); BINS];
    for known in evidence {
        let (predicted, observed, outcomes) =
            &mut sums[((known.chance * BINS as f64) as usize).min(BINS - 1)];
        *predicted += known.chance;
        *observed += known.quality;
        *outcomes += 1;
    }
    let filled = sums.into_iter().filter(|(_, _, outcomes)| *outcomes > 0);
    filled
        .map(|(predicted, observed, outcomes)| {
            let count = outcomes as f64;
            Bin { predicted: predicted / count, observed: observed / count, outcomes }
        })
        .collect()
}

/// Expected calibration error, 0 to 1: the mean distance of the bins from what they predict, weighed by their
/// outcomes (Naeini, Cooper, Hauskrecht 2015). Absent without outcomes.
pub(super) fn error(bins: &[Bin]) -> Option<f64> {
    let outcomes: u64 = bins.iter().map(|bin| bin.outcomes).sum();
    let off = bins.iter().map(|bin| (bin.predicted - bin.observed).abs() * bin.outcomes as f64);
    (outcomes > 0).then(|| off.sum::<f64>() / outcomes as f64)
}

/// What makes the mean chance the mean quality.
fn offset(pairs: &[(f64, f64)]) -> f64 {
    let observed: f64 = pairs.iter().map(|(_, quality)| quality).sum();
    let predicted = |offset: f64| pairs.iter().map(|(odds, _)| logistic(odds + offset)).sum::<f64>();
    let (mut low, mut high) = (-MAX_OFFSET, MAX_OFFSET);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if predicted(middle) < observed { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Certainty is cut, since no number of outcomes could correct it.
fn log_odds(chance: f64) -> f64 {
    let chance = share(chance).clamp(1e-3, 1.0 - 1e-3);
    (chance / (1.0 - chance)).ln()
}

#[cfg(test)]
mod tests {
    use trilane_protocol::learning::OutcomeSource;

    use super::*;

    fn known(chance: f64, quality: f64) -> Evidence {
        Evidence {
            lane: "local-fast".into(),
            model: "small".into(),
            quality,
            source: OutcomeSource::Feedback,
            chance,
        }
    }

    /// 40 outcomes of chance 0.8, of which half are good.
    fn too_sure() -> Vec<Evidence> {
        (0..40).map(|index| known(0.8, f64::from(index % 2))).collect()
    }

    #[test]
    fn a_lane_that_is_too_sure_is_corrected_to_what_was_seen() {
        let correction = Correction::fit(&too_sure());
        assert!((correction.chance("local-fast", 0.8) - 0.5).abs() < 1e-6);
        assert!(correction.chance("local-fast", 0.9) > 0.5, "the order stays");
        assert_eq!(correction.chance("cloud", 0.8), 0.8);
    }

    #[test]
    fn too_few_outcomes_correct_nothing() {
        assert_eq!(Correction::fit(&too_sure()[..ENOUGH - 1]).chance("local-fast", 0.8), 0.8);
    }

    #[test]
    fn the_error_is_the_mean_distance() {
        let mut evidence = too_sure();
        evidence.extend((0..40).map(|_| known(0.15, 0.15)));
        let bins = bins(evidence.iter());
        assert_eq!((bins.len(), bins[1].outcomes), (2, 40));
        assert!((error(&bins).unwrap() - 0.15).abs() < 1e-9);
        assert_eq!(error(&[]), None);
    }
}
