//! A head learned from many outcomes at once: the likeliest weights under the prior, by Newton's method with conjugate
//! gradients, and calibrated on folds that they have not seen.

use super::calibrate::{Calibration, HeldOut};
use super::head::{BIAS_PRECISION, Head, LEAST_CURVATURE, PRIOR_PRECISION};
use super::vector::{BIAS, SLOTS, Vector};
use crate::features::BUCKETS;
use crate::score::logistic;
use crate::seeded::Seeded;

/// An outcome as the solver sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lesson<'a> {
    pub(super) vector: &'a Vector,
    pub(super) quality: f64,
    pub(super) weight: f64,
}

/// Folds of the calibration.
const FOLDS: usize = 3;

/// Fewer outcomes than this calibrate nothing.
const LEAST_TO_CALIBRATE: usize = 60;

/// Decides which outcome is in which fold.
const FOLD_SEED: u64 = 0x7472_696c;

/// Newton steps: passes with new curvatures.
const STEPS: usize = 5;

/// Conjugate gradients of each step: passes over all lessons.
const GRADIENTS: usize = 25;

/// Gradients end when the squared residual has shrunk to this share.
const SETTLED: f64 = 1e-5;

/// The head for `lessons`, calibrated.
pub(super) fn fit(lessons: &[Lesson<'_>]) -> Head {
    let mut head = solve(lessons);
    if lessons.len() >= LEAST_TO_CALIBRATE {
        head.calibration = Calibration::fit(&held_out(lessons));
    }
    head
}

/// Log-odds of each lesson from weights learned on the other folds.
fn held_out(lessons: &[Lesson<'_>]) -> Vec<HeldOut> {
    let mut seeded = Seeded::new(FOLD_SEED);
    let folds: Vec<usize> = lessons.iter().map(|_| seeded.below(FOLDS)).collect();
    let mut held_out = Vec::with_capacity(lessons.len());
    for fold in 0..FOLDS {
        let of = |inside: bool| {
            lessons
                .iter()
                .zip(&folds)
                .filter(move |(_, of)| (**of == fold) == inside)
                .map(|(lesson, _)| *lesson)
        };
        let head = solve(&of(false).collect::<Vec<_>>());
        held_out
            .extend(of(true).map(|lesson| (lesson.vector.dot(&head.weights), lesson.quality, lesson.weight)));
    }
    held_out
}

fn solve(lessons: &[Lesson<'_>]) -> Head {
    let priors = priors(lessons);
    let mut weights = vec![0.0; SLOTS];
    weights[BIAS as usize] = start(lessons) as f32;
    for _ in 0..STEPS {
        let step: Vec<Pull> = lessons.iter().map(|lesson| Pull::of(lesson, &weights)).collect();
        descend(lessons, &step, &priors, &mut weights);
    }
    let mut precisions = priors;
    for lesson in lessons {
        let curvature = Pull::of(lesson, &weights).curvature as f32;
        for (slot, value) in &lesson.vector.entries {
            precisions[*slot as usize] += curvature * value * value;
        }
    }
    let evidence = lessons.iter().map(|lesson| lesson.weight).sum();
    Head { weights, precisions, calibration: Calibration::default(), evidence }
}

/// Log-odds of the mean quality.
fn start(lessons: &[Lesson<'_>]) -> f64 {
    let weight: f64 = lessons.iter().map(|lesson| lesson.weight).sum();
    let good: f64 = lessons.iter().map(|lesson| lesson.weight * lesson.quality).sum();
    ((good + 0.5) / (weight - good + 0.5)).ln()
}

/// How firmly each weight is held at 0. What nearly every text has says little and is held more firmly.
fn priors(lessons: &[Lesson<'_>]) -> Vec<f32> {
    let mut texts = vec![0_u32; SLOTS];
    for (slot, _) in lessons.iter().flat_map(|lesson| &lesson.vector.entries) {
        texts[*slot as usize] += 1;
    }
    let all = 1.0 + lessons.len() as f32;
    let prior = |(slot, texts): (usize, u32)| match slot {
        slot if slot == BIAS as usize => BIAS_PRECISION,
        slot if slot < BUCKETS as usize => {
            let rarity = (all / (1.0 + texts as f32)).ln().max(LEAST_RARITY);
            PRIOR_PRECISION * (USUAL_RARITY / rarity).powf(RARITY_POWER)
        }
        _ => PRIOR_PRECISION,
    };
    texts.into_iter().enumerate().map(prior).collect()
}

/// The rarity of what every text has, in the logarithm of texts for each one that has it: it is never held more
/// firmly than this makes it.
const LEAST_RARITY: f32 = 0.05;

/// The rarity that is held as firmly as [`PRIOR_PRECISION`] says: one text of 400.
const USUAL_RARITY: f32 = 6.0;

/// How much rarity matters. As a scale of features it is the fourth root of the inverse document frequency, which
/// cross-validation prefers to none and to all of it.
const RARITY_POWER: f32 = 0.5;

/// What an outcome asks of the weights in one Newton step.
#[derive(Debug, Clone, Copy)]
struct Pull {
    curvature: f64,
    /// Quality less chance, times the outcome's weight.
    miss: f64,
}

impl Pull {
    fn of(lesson: &Lesson<'_>, weights: &[f32]) -> Self {
        let chance = logistic(lesson.vector.dot(weights));
        let curvature = lesson.weight * (chance * (1.0 - chance)).max(LEAST_CURVATURE);
        Self { curvature, miss: lesson.weight * (lesson.quality - chance) }
    }
}

/// One Newton step: solves (X'CX + P) step = X'miss - P weights by conjugate gradients, and takes it.
fn descend(lessons: &[Lesson<'_>], pulls: &[Pull], priors: &[f32], weights: &mut [f32]) {
    let mut residual: Vec<f32> =
        priors.iter().zip(&*weights).map(|(prior, weight)| -prior * weight).collect();
    for (lesson, pull) in lessons.iter().zip(pulls) {
        add(&mut residual, lesson.vector, pull.miss);
    }
    let mut direction = residual.clone();
    let first = square(&residual);
    let mut left = first;
    for _ in 0..GRADIENTS {
        if left <= SETTLED * first || left <= f64::MIN_POSITIVE {
            break;
        }
        let mut bent: Vec<f32> = priors.iter().zip(&direction).map(|(prior, along)| prior * along).collect();
        for (lesson, pull) in lessons.iter().zip(pulls) {
            add(&mut bent, lesson.vector, pull.curvature * lesson.vector.dot(&direction));
        }
        let bend: f64 = direction.iter().zip(&bent).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let length = (left / bend) as f32;
        for slot in 0..SLOTS {
            weights[slot] += length * direction[slot];
            residual[slot] -= length * bent[slot];
        }
        let now = square(&residual);
        let keep = (now / left) as f32;
        direction.iter_mut().zip(&residual).for_each(|(along, rest)| *along = rest + keep * *along);
        left = now;
    }
}

fn add(sum: &mut [f32], vector: &Vector, times: f64) {
    for (slot, value) in &vector.entries {
        sum[*slot as usize] += times as f32 * value;
    }
}

fn square(numbers: &[f32]) -> f64 {
    numbers.iter().map(|number| f64::from(*number) * f64::from(*number)).sum()
}
