//! From features to the sparse vector that a head multiplies with its weights.

use crate::features::{BUCKETS, Features};

/// Slots of a head: the buckets and the bias.
pub(super) const SLOTS: usize = BUCKETS as usize + 1;

/// The slot that is always 1.
pub(super) const BIAS: u32 = BUCKETS;

/// Slots with their values, each slot once, ascending.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vector {
    pub(super) entries: Vec<(u32, f32)>,
}

impl Vector {
    /// The vector of `features`. Buckets out of range, which only a broken store has, are left out.
    pub(super) fn of(features: &Features) -> Self {
        let mut buckets: Vec<u32> =
            features.hashed.iter().copied().filter(|bucket| *bucket < BUCKETS).collect();
        buckets.sort_unstable();
        buckets.dedup();
        let value = 1.0 / (buckets.len().max(1) as f32).sqrt();
        let mut entries: Vec<_> = buckets.into_iter().map(|bucket| (bucket, value)).collect();
        entries.push((BIAS, 1.0));
        Self { entries }
    }
}
