//! One lane's weights, and what one outcome does to them.

use super::calibrate::Calibration;
use super::vector::{BIAS, SLOTS, Vector};
use crate::score::logistic;

/// How firmly a weight is held at 0 before anything is learned: as firmly as by so many outcomes of curvature 1.
/// From cross-validation: 2 to 5 do equally well on 1,500 to 7,000 labels.
pub(super) const PRIOR_PRECISION: f32 = 3.0;

/// The same for the bias, which is nearly free.
pub(super) const BIAS_PRECISION: f32 = 0.1;

/// The most firmly that a weight is held, as if by some 10,000 outcomes: what came before fades, and a head follows
/// a lane whose model was changed.
const MAX_PRECISION: f32 = 2_500.0;

/// The least curvature of an outcome, so that one that was wholly expected still counts.
pub(super) const LEAST_CURVATURE: f64 = 0.01;

/// A logistic function of the features, with how firmly each weight is known: a Gaussian belief with a diagonal
/// precision, as in Graepel and others, "Web-Scale Bayesian Click-Through Rate Prediction", 2010.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    /// Log-odds for each unit of a slot, before calibration.
    pub(super) weights: Vec<f32>,
    /// How firmly each weight is known, one over its variance.
    pub(super) precisions: Vec<f32>,
    /// From the log-odds of the weights to those of a chance.
    pub(super) calibration: Calibration,
    /// Sum of the weights of the outcomes.
    pub(super) evidence: f64,
}

impl Default for Head {
    fn default() -> Self {
        let mut precisions = vec![PRIOR_PRECISION; SLOTS];
        precisions[BIAS as usize] = BIAS_PRECISION;
        Self { weights: vec![0.0; SLOTS], precisions, calibration: Calibration::default(), evidence: 0.0 }
    }
}

impl Head {
    /// One step towards `quality`, larger where the weights are less known, and never beyond what the outcome says.
    pub(super) fn learn(&mut self, vector: &Vector, quality: f64, weight: f64) {
        let chance = logistic(vector.dot(&self.weights));
        let curvature = weight * (chance * (1.0 - chance)).max(LEAST_CURVATURE);
        let doubt: f64 = vector
            .entries
            .iter()
            .map(|(slot, value)| f64::from(value * value / self.precisions[*slot as usize]))
            .sum();
        let step = weight * (quality - chance) / (1.0 + curvature * doubt);
        for (slot, value) in &vector.entries {
            let slot = *slot as usize;
            self.weights[slot] += (step * f64::from(*value)) as f32 / self.precisions[slot];
            let known = self.precisions[slot] + curvature as f32 * value * value;
            self.precisions[slot] = known.min(MAX_PRECISION);
        }
        self.evidence += weight;
    }

    /// Calibrated log-odds of a good answer.
    pub(super) fn log_odds(&self, vector: &Vector) -> f64 {
        self.calibration.apply(vector.dot(&self.weights))
    }
}
