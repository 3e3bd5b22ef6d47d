//! RouteLLM's figures (Ong and others, "RouteLLM: Learning to Route LLMs with Preference Data", 2024) of one ranking.

use serde::Serialize;

use super::{Case, NotMeasured, gap};
use crate::seeded::Seeded;

/// What one ranking of tasks is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Average share of the gap between the lanes that is recovered, over all shares of strong calls: 0.5 for chance.
    pub apgr: f64,
    /// Share of calls that the strong lane needs to recover a fifth of the gap, percent.
    pub cpt20: f64,
    /// The same for half of the gap.
    pub cpt50: f64,
    /// The same for four fifths of the gap.
    pub cpt80: f64,
    /// What need not go to the strong lane at 95 % of its quality, percent; see [`Ranking::saved_at`].
    pub saved_at_95: f64,
    /// The same at 99 %.
    pub saved_at_99: f64,
}

/// Tasks in the order in which they would be given to the strong lane.
#[derive(Debug, Clone)]
pub struct Ranking<'a> {
    cases: Vec<&'a Case>,
}

/// Thresholds at which the curve is measured: the deciles of the scores, the least and the largest among them.
const DECILES: usize = 10;

/// Decides between tasks of one score.
const JITTER_SEED: u64 = 0x6a69_7474;

impl<'a> Ranking<'a> {
    /// `cases` by `scores`, the largest first; ties in an order that a seed decides.
    pub fn of(cases: &[&'a Case], scores: &[f64]) -> Self {
        let mut seeded = Seeded::new(JITTER_SEED);
        let mut order: Vec<(f64, u64, &Case)> =
            cases.iter().zip(scores).map(|(case, score)| (*score, seeded.next(), *case)).collect();
        order.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        Self { cases: order.into_iter().map(|(_, _, case)| case).collect() }
    }

    /// Tasks that are in order already.
    pub(super) fn ordered(cases: Vec<&'a Case>) -> Self {
        Self { cases }
    }

    /// The tasks, those that go to the strong lane first in front.
    pub(super) fn cases(&self) -> &[&'a Case] {
        &self.cases
    }

    /// All figures.
    ///
    /// # Errors
    /// Too few cases, or no gap between the lanes.
    pub fn figures(&self) -> Result<Figures, NotMeasured> {
        let (weak, strong) = gap(&self.cases)?;
        let curve = self.curve();
        let at = |part: f64| cpt(&curve, weak + part * (strong - weak));
        Ok(Figures {
            apgr: (area(&curve) - weak) / (strong - weak),
            cpt20: at(0.2),
            cpt50: at(0.5),
            cpt80: at(0.8),
            saved_at_95: self.saved_at(0.95 * strong),
            saved_at_99: self.saved_at(0.99 * strong),
        })
    }

    /// Shares of strong calls with the mean quality there: none, then at each decile threshold the tasks at or above it.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let count = self.cases.len();
        let quality = self.quality();
        let point = |strong: usize| (strong as f64 / count as f64, quality[strong]);
        let thresholds = (0..=DECILES).rev().map(|decile| count - (decile * (count - 1)).div_ceil(DECILES));
        std::iter::once(0).chain(thresholds).map(point).collect()
    }

    /// The most that need not go to the strong lane so that the mean quality is still at least `quality`, percent.
    ///
    /// The first tasks of the ranking go to the strong lane, the others to the weak one; of all such splits that reach
    /// the quality, the cheapest counts. Without dollars it is the share of tasks on the weak lane. Where every task
    /// has dollars on both lanes, it is the share of the strong lane's dollars for all tasks that is not spent.
    pub fn saved_at(&self, quality: f64) -> f64 {
        let count = self.cases.len();
        let reached = self.quality().into_iter().enumerate();
        let reached = reached.filter(|(_, mean)| *mean >= quality - ROUNDING).map(|(strong, _)| strong);
        let spent = match self.dollars() {
            Some(dollars) => reached.map(|strong| dollars[strong] / dollars[count]).fold(1.0, f64::min),
            None => reached.map(|strong| strong as f64 / count as f64).fold(1.0, f64::min),
        };
        100.0 * (1.0 - spent)
    }

    /// Mean quality with the first 0, 1, 2, … tasks on the strong lane.
    pub(super) fn quality(&self) -> Vec<f64> {
        let count = self.cases.len() as f64;
        let weak = self.cases.iter().map(|case| case.weak.quality).sum::<f64>();
        let gains = self.cases.iter().map(|case| case.strong.quality - case.weak.quality);
        sums(weak, gains).into_iter().map(|sum| sum / count).collect()
    }

    /// Dollars of all tasks with the first 0, 1, 2, … on the strong lane; `None` where they are not known, or the
    /// strong lane costs nothing.
    pub(super) fn dollars(&self) -> Option<Vec<f64>> {
        let costs: Option<Vec<_>> = self.cases.iter().map(|case| case.cost_usd()).collect();
        let costs = costs?;
        let weak = costs.iter().map(|(weak, _)| weak).sum();
        let dollars = sums(weak, costs.iter().map(|(weak, strong)| strong - weak));
        dollars.last().is_some_and(|all| *all > 0.0).then_some(dollars)
    }
}

/// What sums of many numbers may miss.
const ROUNDING: f64 = 1e-9;

fn sums(start: f64, steps: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = start;
    let later = steps.map(|step| {
        sum += step;
        sum
    });
    std::iter::once(start).chain(later).collect()
}

/// Area under the curve, by trapezoids.
fn area(curve: &[(f64, f64)]) -> f64 {
    curve.windows(2).map(|ends| (ends[1].0 - ends[0].0) * f64::midpoint(ends[0].1, ends[1].1)).sum()
}

/// The least share of strong calls at which the curve reaches `quality`, percent.
fn cpt(curve: &[(f64, f64)], quality: f64) -> f64 {
    let reached = curve.windows(2).find(|ends| ends[1].1 >= quality - ROUNDING);
    reached.map_or(100.0, |ends| {
        let ((from, below), (to, above)) = (ends[0], ends[1]);
        let way = if above > below { ((quality - below) / (above - below)).clamp(0.0, 1.0) } else { 1.0 };
        100.0 * (from + way * (to - from))
    })
}
