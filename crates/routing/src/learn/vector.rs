//! From features to the sparse vector that a head multiplies with its weights.

use crate::features::{BUCKETS, DENSE, Features};

/// Slots of a head: the buckets, the dense features, and the bias.
pub(super) const SLOTS: usize = BIAS as usize + 1;

/// The slot that is always 1.
pub(super) const BIAS: u32 = BUCKETS + DENSE as u32;

/// Slots with their values, ascending, each once. The buckets together have the length 1, so that a long text says
/// no more than a short one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vector {
    pub(super) entries: Vec<(u32, f32)>,
}

impl Vector {
    /// The vector of `features`. What only a broken store has, buckets out of range or out of order, is left out.
    pub(super) fn of(features: &Features) -> Self {
        let mut entries = Vec::with_capacity(features.hashed.len() + DENSE + 1);
        let value = 1.0 / (features.hashed.len().max(1) as f32).sqrt();
        let mut next = 0;
        for bucket in &features.hashed {
            if (next..BUCKETS).contains(bucket) {
                entries.push((*bucket, value));
                next = bucket + 1;
            }
        }
        let dense = features.dense().zip(BUCKETS..).filter(|((_, number), _)| number.is_finite());
        entries.extend(dense.map(|((_, number), slot)| (slot, number as f32)));
        entries.push((BIAS, 1.0));
        Self { entries }
    }

    /// The product with `weights`, one for each slot.
    pub(super) fn dot(&self, weights: &[f32]) -> f64 {
        self.entries.iter().map(|(slot, value)| f64::from(weights[*slot as usize]) * f64::from(*value)).sum()
    }
}
