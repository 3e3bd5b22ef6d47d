//! Platt scaling: from the log-odds of weights to those of a chance, learned where the weights have not learned.

use crate::score::logistic;

/// A line through log-odds (Platt, 1999).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calibration {
    /// Above 0, so that the order of tasks stays.
    pub(super) slope: f64,
    /// Log-odds.
    pub(super) offset: f64,
}

/// Log-odds from weights that have not seen the outcome, the outcome's quality, and what it counts.
pub(super) type HeldOut = (f64, f64, f64);

/// Slopes beyond these come from too few outcomes.
const SLOPES: std::ops::RangeInclusive<f64> = 0.1..=20.0;

/// How firmly slope 1 and offset 0 are held, in outcomes: few outcomes change little.
const PRIOR: f64 = 1.0;

/// Steps of Newton's method; a line in two numbers has settled long before.
const STEPS: usize = 20;

impl Default for Calibration {
    fn default() -> Self {
        Self { slope: 1.0, offset: 0.0 }
    }
}

impl Calibration {
    pub(super) fn apply(self, log_odds: f64) -> f64 {
        self.slope * log_odds + self.offset
    }

    /// The line under which `held_out` is likeliest.
    pub(super) fn fit(held_out: &[HeldOut]) -> Self {
        let mut line = Self::default();
        for _ in 0..STEPS {
            let (mut down, mut down_offset) = (PRIOR * (line.slope - 1.0), PRIOR * line.offset);
            let (mut bend, mut both, mut bend_offset) = (PRIOR, 0.0, PRIOR);
            for (log_odds, quality, weight) in held_out {
                let chance = logistic(line.apply(*log_odds));
                let curvature = weight * chance * (1.0 - chance);
                let miss = weight * (chance - quality);
                down += miss * log_odds;
                down_offset += miss;
                bend += curvature * log_odds * log_odds;
                both += curvature * log_odds;
                bend_offset += curvature;
            }
            let determinant = bend * bend_offset - both * both;
            let slope = line.slope - (down * bend_offset - down_offset * both) / determinant;
            let offset = line.offset - (down_offset * bend - down * both) / determinant;
            if !slope.is_finite() || !offset.is_finite() {
                break;
            }
            line = Self { slope: slope.clamp(*SLOPES.start(), *SLOPES.end()), offset };
        }
        line
    }
}
