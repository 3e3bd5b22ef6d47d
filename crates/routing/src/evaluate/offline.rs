//! Learned on some tasks, measured on others.

use std::num::NonZeroUsize;

use super::{Case, Pair};
use crate::features::Features;
use crate::learn::{Sample, Weights};
use crate::seeded::Seeded;

/// A task's chances on both lanes, from weights that have not seen it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Chance that the weak lane's answer is good enough.
    pub weak: f64,
    /// Chance that the strong lane's answer is good enough.
    pub strong: f64,
}

/// Most threads that learn at once; each holds some megabytes.
const MAX_THREADS: usize = 8;

/// Decides which task is in which fold.
const FOLD_SEED: u64 = 0x666f_6c64;

/// Decides which labels are known.
const LABEL_SEED: u64 = 0x6c61_6265;

impl Judged {
    /// What weights say of `features`. A lane that nothing was learned of is as likely good as not.
    pub fn by(weights: &Weights, features: &Features, pair: &Pair) -> Self {
        let chance = |lane| weights.chance(features, lane).map_or(0.5, |head| head.chance);
        Self { weak: chance(&pair.weak), strong: chance(&pair.strong) }
    }

    /// What the strong lane is likely to add, by which tasks are ranked.
    pub fn gain(self) -> f64 {
        self.strong - self.weak
    }
}

/// Learns from `cases` the heads of both lanes.
pub fn learned(cases: &[&Case]) -> Weights {
    let samples: Vec<Sample<'_>> = cases
        .iter()
        .map(|case| Sample { features: &case.features, outcomes: &case.learned, weight: 1.0 })
        .collect();
    Weights::fit(&samples)
}

/// The chances of each of `tested`, learned from `cases`; where `labels` says so, from so many of them that `seed`
/// draws.
pub fn judged(
    cases: &[&Case],
    tested: &[&Case],
    pair: &Pair,
    labels: Option<usize>,
    seed: u64,
) -> Vec<Judged> {
    let mut known = cases.to_vec();
    if let Some(labels) = labels {
        Seeded::new(LABEL_SEED ^ seed).shuffle(&mut known);
        known.truncate(labels);
    }
    let weights = learned(&known);
    tested.iter().map(|case| Judged::by(&weights, &case.features, pair)).collect()
}

/// The fold of each of `count` tasks, below `folds`: as many in each, give or take one.
pub fn folds_of(count: usize, folds: usize, seed: u64) -> Vec<usize> {
    let mut fold_of: Vec<usize> = (0..count).map(|row| row % folds.max(1)).collect();
    Seeded::new(FOLD_SEED ^ seed).shuffle(&mut fold_of);
    fold_of
}

/// The chances of each case, learned from the other folds; where `labels` says so, from so many of them only.
pub fn cross_judged(
    cases: &[Case],
    pair: &Pair,
    fold_of: &[usize],
    labels: Option<usize>,
    seed: u64,
) -> Vec<Judged> {
    let folds = fold_of.iter().max().map_or(0, |last| last + 1);
    let parts = in_parallel(folds, |fold| {
        let (mut known, mut tested) = (Vec::new(), Vec::new());
        for (case, of) in cases.iter().zip(fold_of) {
            if *of == fold { tested.push(case) } else { known.push(case) }
        }
        judged(&known, &tested, pair, labels, seed)
    });
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    fold_of.iter().filter_map(|fold| parts[*fold].next()).collect()
}

/// The gains as scores that may be compared beyond their fold: the share of the fold's tasks with a smaller gain. So
/// each fold's weights send the same share of tasks to the strong lane, as a threshold does that is set for a share.
pub fn ranked_in_folds(judged: &[Judged], fold_of: &[usize]) -> Vec<f64> {
    let mut scores = vec![0.0; judged.len()];
    for fold in 0..fold_of.iter().max().map_or(0, |last| last + 1) {
        let mut inside: Vec<usize> = (0..judged.len()).filter(|row| fold_of[*row] == fold).collect();
        inside.sort_by(|left, right| judged[*left].gain().total_cmp(&judged[*right].gain()));
        for (below, row) in inside.iter().enumerate() {
            scores[*row] = (below as f64 + 0.5) / inside.len() as f64;
        }
    }
    scores
}

/// `work` of 0, 1, 2, … below `count`, on as many threads as the machine has cores.
pub fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = cores.min(count).clamp(1, MAX_THREADS);
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let work = &work;
        let hands: Vec<_> = (0..threads)
            .map(|first| {
                let mine = (first..count).step_by(threads);
                scope.spawn(move || mine.map(|item| (item, work(item))).collect::<Vec<_>>())
            })
            .collect();
        hands
            .into_iter()
            .flat_map(|hand| hand.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(item, _)| *item);
    done.into_iter().map(|(_, result)| result).collect()
}
