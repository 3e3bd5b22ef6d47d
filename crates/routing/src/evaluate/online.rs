//! One task after another: only the chosen lane's outcome is seen, and a share of calls is held.

use std::collections::VecDeque;

use serde::Serialize;
use trilane_protocol::LaneName;

use super::offline::Judged;
use super::{Case, NotMeasured, Outcome, Pair, gap};
use crate::features::Features;
use crate::learn::{Sample, Weights};
use crate::seeded::Seeded;

/// What came of learning while routing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Online {
    /// Share of the gap between the lanes that was recovered over the second half: the share of strong calls is what
    /// chance would recover.
    pub gap_recovered: f64,
    /// Share of strong calls over the second half, percent.
    pub strong_share: f64,
    /// How it grew: the same two numbers for each [`STRETCHES`]th of the tasks.
    pub curve: Vec<Stretch>,
}

/// A stretch of the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stretch {
    /// Tasks up to its end.
    pub rows: usize,
    /// As in [`Online`], of this stretch.
    pub gap_recovered: f64,
    /// As in [`Online`], of this stretch.
    pub strong_share: f64,
}

/// Stretches of the learning curve.
pub const STRETCHES: usize = 10;

/// Share of tasks whose lane chance decides, so that both heads go on learning of all kinds of tasks.
const EXPLORED: f64 = 0.02;

/// All outcomes seen so far are learned from anew whenever they have grown by this factor, as a learner does that
/// keeps what it has seen; in between each outcome is learned from once.
const RELEARNED: f64 = 1.25;

/// First tasks, all of whose lanes chance decides.
const FIRST_EXPLORED: usize = 100;

/// What every outcome counts. Not 1 divided by its propensity: the choice depends on nothing but features that the head
/// sees, and few heavy outcomes cost more than they mend. Measured on MMLU: 0.473 of the gap, and 0.458 with weights up
/// to 3.
const WEIGHT: f64 = 1.0;

/// Last scores among which the threshold is found.
const REMEMBERED: usize = 500;

/// How much the threshold makes up for calls made too many or too few, in shares for each call of a remembered one.
const PACE: f64 = 1.0;

/// A run of the router over all tasks.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// What came of it.
    pub online: Online,
    /// The tasks of the second half in their order, with the chances that the router gave them before it saw an outcome.
    pub judged: Vec<(&'a Case, Judged)>,
}

/// Routes `cases` one by one in an order that `seed` decides, `strong_share` of them to the strong lane, and learns
/// from each chosen lane's outcome.
///
/// # Errors
/// Too few cases, no gap between the lanes over the second half.
pub fn online<'a>(
    cases: &'a [Case],
    pair: &Pair,
    strong_share: f64,
    seed: u64,
) -> Result<Run<'a>, NotMeasured> {
    let mut seeded = Seeded::new(seed);
    let mut order: Vec<&Case> = cases.iter().collect();
    seeded.shuffle(&mut order);
    gap(&order)?;
    let mut router = Router::new(pair, strong_share);
    let (judged, chosen): (Vec<Judged>, Vec<bool>) =
        order.iter().map(|case| router.serve(case, &mut seeded)).unzip();
    let of = |from: usize, to: usize| recovered(&order[from..to], &chosen[from..to]);
    let rows = order.len();
    let (gap_recovered, share) = of(rows / 2, rows)?;
    let stretch = |part: usize| {
        let (from, to) = (part * rows / STRETCHES, (part + 1) * rows / STRETCHES);
        of(from, to).ok().map(|(gap_recovered, strong_share)| Stretch {
            rows: to,
            gap_recovered,
            strong_share,
        })
    };
    let curve = (0..STRETCHES).filter_map(stretch).collect();
    let judged = order.into_iter().zip(judged).skip(rows / 2).collect();
    Ok(Run { online: Online { gap_recovered, strong_share: share, curve }, judged })
}

/// Share of the gap recovered, and percent of strong calls.
fn recovered(cases: &[&Case], chosen: &[bool]) -> Result<(f64, f64), NotMeasured> {
    let (weak, strong) = gap(cases)?;
    let count = cases.len() as f64;
    let quality =
        cases.iter().zip(chosen).map(|(case, strong)| case.outcome(*strong).quality).sum::<f64>() / count;
    let calls = chosen.iter().filter(|strong| **strong).count() as f64;
    Ok(((quality - weak) / (strong - weak), 100.0 * calls / count))
}

impl Case {
    fn outcome(&self, strong: bool) -> Outcome {
        if strong { self.strong } else { self.weak }
    }
}

struct Router<'a> {
    pair: &'a Pair,
    strong_share: f64,
    weights: Weights,
    scores: VecDeque<f64>,
    served: usize,
    strong: usize,
    seen: Vec<Seen<'a>>,
    relearn_at: usize,
}

/// What a router has seen of a task: the chosen lane's outcome.
struct Seen<'a> {
    features: &'a Features,
    outcome: [(LaneName, f64); 1],
}

impl<'a> Router<'a> {
    fn new(pair: &'a Pair, strong_share: f64) -> Self {
        Self {
            pair,
            strong_share,
            weights: Weights::default(),
            scores: VecDeque::with_capacity(REMEMBERED),
            served: 0,
            strong: 0,
            seen: Vec::new(),
            relearn_at: FIRST_EXPLORED,
        }
    }

    /// Chooses a lane, learns from its outcome, and gives the chances before and whether it was the strong lane.
    fn serve(&mut self, case: &'a Case, seeded: &mut Seeded) -> (Judged, bool) {
        let judged = Judged::by(&self.weights, &case.features, self.pair);
        let gain = judged.gain();
        let strong_chance = self.strong_chance(gain);
        let strong = seeded.share() < strong_chance;
        let lane = if strong { &self.pair.strong } else { &self.pair.weak };
        let quality = case.outcome(strong).quality;
        // Rows are checked when they are read; one that is refused all the same teaches nothing.
        let _ = self.weights.learn(&case.features, lane, quality, WEIGHT);
        self.seen.push(Seen { features: &case.features, outcome: [(lane.clone(), quality)] });
        self.remember(gain);
        self.served += 1;
        self.relearn();
        self.strong += usize::from(strong);
        (judged, strong)
    }

    fn relearn(&mut self) {
        if self.served < self.relearn_at {
            return;
        }
        self.relearn_at = (self.served as f64 * RELEARNED) as usize + 1;
        let samples = self.seen.iter().map(|seen| Sample {
            features: seen.features,
            outcomes: &seen.outcome,
            weight: WEIGHT,
        });
        self.weights = Weights::fit(&samples.collect::<Vec<_>>());
        // What the old weights said cannot be compared with what the new ones will say.
        let last = self.seen.iter().rev().take(REMEMBERED).rev();
        self.scores = last.map(|seen| Judged::by(&self.weights, seen.features, self.pair).gain()).collect();
    }

    /// The chance with which the strong lane is chosen: nearly 1 above the threshold and nearly 0 below.
    fn strong_chance(&self, gain: f64) -> f64 {
        if self.served < FIRST_EXPLORED {
            return self.strong_share;
        }
        let decided = f64::from(u8::from(gain >= self.threshold()));
        EXPLORED * self.strong_share + (1.0 - EXPLORED) * decided
    }

    /// The score above which as many of the remembered ones lie as strong calls may be made, and more or fewer where
    /// too few or too many were.
    fn threshold(&self) -> f64 {
        let owed = self.strong_share * self.served as f64 - self.strong as f64;
        let share = (self.strong_share + PACE * owed / REMEMBERED as f64).clamp(0.0, 1.0);
        let mut scores: Vec<f64> = self.scores.iter().copied().collect();
        let place = ((scores.len() as f64 * (1.0 - share)) as usize).min(scores.len().saturating_sub(1));
        if scores.is_empty() {
            return f64::INFINITY;
        }
        *scores.select_nth_unstable_by(place, f64::total_cmp).1
    }

    fn remember(&mut self, gain: f64) {
        if self.scores.len() == REMEMBERED {
            self.scores.pop_front();
        }
        self.scores.push_back(gain);
    }
}
