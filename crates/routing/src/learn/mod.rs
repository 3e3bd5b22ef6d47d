//! The chance that a lane's answer is good enough, learned from outcomes: one logistic head a lane.
//!
//! A head is linear in the features, so that a score can be explained exactly.
//!
//! * `vector`: from [`Features`] to numbers
//! * `head`: one lane's weights, and what one outcome does to them
//! * `fit`, `calibrate`: the same from many outcomes at once, as honest chances
//! * `format`: a head as bytes
//! * `explain`: which words and features a chance is made of

mod calibrate;
mod explain;
mod fit;
mod format;
mod head;
mod vector;

use std::collections::BTreeMap;

use trilane_protocol::{Generation, LaneName, Message};

pub use crate::features::FEATURES_VERSION;
use crate::features::Features;
use crate::score::logistic;
pub use explain::{Explanation, Part};
use fit::Lesson;
pub use format::{BadHead, MAX_HEAD_BYTES};
use head::Head;
use vector::Vector;

/// The most that one outcome counts, as a multiple of one seen with certainty. A rarely tried lane would otherwise
/// move its head by leaps.
pub const MAX_WEIGHT: f64 = 10.0;

/// What has been learned: one head for each lane that outcomes were seen of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    heads: BTreeMap<LaneName, Head>,
}

/// A task whose outcome is known on some lanes.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The task.
    pub features: &'a Features,
    /// Lanes, and how good their answers were, 0 to 1.
    pub outcomes: &'a [(LaneName, f64)],
    /// What this sample counts, see [`Weights::learn`].
    pub weight: f64,
}

/// How likely a lane's answer is good enough, and how much that rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadChance {
    /// Chance, 0 to 1, calibrated.
    pub chance: f64,
    /// Sum of the weights of the outcomes that the head has learned from.
    pub evidence: f64,
}

/// Why an outcome was not learned from.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NotLearned {
    /// The quality is not a number from 0 to 1.
    #[error("the quality {0} is not from 0 to 1; give the share of the answer that was right")]
    Quality(f64),
    /// The weight is not a positive finite number.
    #[error("the weight {0} is not a positive number; give 1 divided by the propensity of the choice")]
    Weight(f64),
}

impl Weights {
    /// Learns from one outcome of the chosen lane.
    ///
    /// `quality` is how good its answer was, 0 to 1. `weight` is what the outcome counts: 1 divided by the propensity
    /// of the choice, cut at [`MAX_WEIGHT`].
    ///
    /// # Errors
    /// A quality or weight that is none; nothing has changed then.
    pub fn learn(
        &mut self,
        features: &Features,
        lane: &LaneName,
        quality: f64,
        weight: f64,
    ) -> Result<(), NotLearned> {
        check(quality, weight)?;
        if !self.heads.contains_key(lane) {
            self.heads.insert(lane.clone(), Head::default());
        }
        if let Some(head) = self.heads.get_mut(lane) {
            head.learn(&Vector::of(features), quality, weight.min(MAX_WEIGHT));
        }
        Ok(())
    }

    /// Learns from all `samples` at once, whatever their order: for each lane the likeliest weights, calibrated on
    /// folds that they have not seen. What [`Weights::learn`] would refuse is left out.
    pub fn fit(samples: &[Sample<'_>]) -> Self {
        let vectors: Vec<Vector> = samples.iter().map(|sample| Vector::of(sample.features)).collect();
        let mut lessons: BTreeMap<&LaneName, Vec<Lesson<'_>>> = BTreeMap::new();
        for (sample, vector) in samples.iter().zip(&vectors) {
            for (lane, quality) in sample.outcomes {
                if check(*quality, sample.weight).is_ok() {
                    let weight = sample.weight.min(MAX_WEIGHT);
                    lessons.entry(lane).or_default().push(Lesson { vector, quality: *quality, weight });
                }
            }
        }
        Self {
            heads: lessons.into_iter().map(|(lane, lessons)| (lane.clone(), fit::fit(&lessons))).collect(),
        }
    }

    /// How likely `lane` answers well enough; `None` where nothing was learned of it.
    pub fn chance(&self, features: &Features, lane: &LaneName) -> Option<HeadChance> {
        let head = self.heads.get(lane)?;
        Some(HeadChance { chance: logistic(head.log_odds(&Vector::of(features))), evidence: head.evidence })
    }

    /// The lanes that outcomes were seen of.
    pub fn lanes(&self) -> impl Iterator<Item = &LaneName> {
        self.heads.keys()
    }

    /// The head of `lane` with all that it needs to learn on; at most [`MAX_HEAD_BYTES`].
    pub fn head_to_bytes(&self, lane: &LaneName) -> Option<Vec<u8>> {
        self.heads.get(lane).map(format::to_bytes)
    }

    /// Puts a head that [`Weights::head_to_bytes`] wrote in the place of the lane's own.
    ///
    /// # Errors
    /// Bytes that are no head of this version; nothing has changed then.
    pub fn insert_head(&mut self, lane: LaneName, bytes: &[u8]) -> Result<(), BadHead> {
        self.heads.insert(lane, format::from_bytes(bytes)?);
        Ok(())
    }

    /// What the chance of `lane` is made of, exactly. The explanation repeats words of the task: show it to those
    /// who may read the task, and keep it nowhere.
    pub fn explain(
        &self,
        messages: &[Message],
        generation: &Generation,
        lane: &LaneName,
    ) -> Option<Explanation> {
        Some(explain::explain(self.heads.get(lane)?, messages, generation))
    }
}

fn check(quality: f64, weight: f64) -> Result<(), NotLearned> {
    if !(0.0..=1.0).contains(&quality) {
        return Err(NotLearned::Quality(quality));
    }
    if !(weight.is_finite() && weight > 0.0) {
        return Err(NotLearned::Weight(weight));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
