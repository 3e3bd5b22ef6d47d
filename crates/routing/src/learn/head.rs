//! One lane's weights, and what one outcome does to them.

use super::vector::{SLOTS, Vector};
use crate::score::logistic;

/// Step width of AdaGrad.
const STEP: f32 = 0.5;

/// What keeps the first step of a slot finite.
const FIRST_SQUARE: f32 = 1e-6;

/// A logistic function of the features.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    /// Log-odds for each unit of a slot.
    pub(super) weights: Vec<f32>,
    /// Sum of squared gradients of each slot.
    pub(super) squares: Vec<f32>,
    /// Sum of the weights of the outcomes.
    pub(super) evidence: f64,
}

impl Default for Head {
    fn default() -> Self {
        Self { weights: vec![0.0; SLOTS], squares: vec![0.0; SLOTS], evidence: 0.0 }
    }
}

impl Head {
    pub(super) fn learn(&mut self, vector: &Vector, quality: f64, weight: f64) {
        let slope = ((self.chance(vector) - quality) * weight) as f32;
        for (slot, value) in &vector.entries {
            let slot = *slot as usize;
            let gradient = slope * value;
            self.squares[slot] += gradient * gradient;
            self.weights[slot] -= STEP * gradient / (self.squares[slot] + FIRST_SQUARE).sqrt();
        }
        self.evidence += weight;
    }

    pub(super) fn log_odds(&self, vector: &Vector) -> f64 {
        vector.entries.iter().map(|(slot, value)| f64::from(self.weights[*slot as usize] * value)).sum()
    }

    pub(super) fn chance(&self, vector: &Vector) -> f64 {
        logistic(self.log_odds(vector))
    }

    pub(super) fn evidence(&self) -> f64 {
        self.evidence
    }
}
