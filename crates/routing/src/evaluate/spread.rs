//! How sure figures are: intervals from rows drawn again and again (Efron's bootstrap).

use serde::Serialize;

use super::metric::Ranking;
use super::{Case, controls};
use crate::seeded::Seeded;

/// The middle 95 % of what drawn rows give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// On the rows themselves.
    pub mean: f64,
    /// 2.5 % are below.
    pub low: f64,
    /// 2.5 % are above.
    pub high: f64,
}

/// What routing spends and saves at 95 % of the strong lane's quality, US dollars for each 1,000 tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Dollars {
    /// Every task on the strong lane.
    pub always_strong_usd: f64,
    /// The learned router.
    pub routed_usd: f64,
    /// What a random choice of as good a mean quality costs more.
    pub gain_over_random_usd: Interval,
    /// What routing by length to as good a mean quality costs more.
    pub gain_over_length_usd: Interval,
}

/// Times that rows are drawn.
const DRAWS: usize = 200;

const DRAW_SEED: u64 = 0x6472_6177;

/// Share of the strong lane's quality at which dollars are compared.
const QUALITY: f64 = 0.95;

/// The interval of APGR.
pub(super) fn apgr(ranking: &Ranking<'_>) -> Option<Interval> {
    let of = |ranking: &Ranking<'_>| ranking.figures().ok().map(|figures| figures.apgr);
    let mut seeded = Seeded::new(DRAW_SEED);
    let drawn = (0..DRAWS).filter_map(|_| of(&ranking.drawn(&counts(ranking.cases().len(), &mut seeded))));
    interval(of(ranking)?, drawn.collect())
}

/// What routing gains, where every row has dollars. `scores` are those of the learned router.
pub(super) fn dollars(cases: &[&Case], scores: &[f64]) -> Option<Dollars> {
    let lengths: Vec<f64> = cases.iter().map(|case| controls::length(case)).collect();
    let now = spent(cases, scores, &lengths)?;
    let mut seeded = Seeded::new(DRAW_SEED);
    let drawn: Vec<Spent> = (0..DRAWS)
        .filter_map(|_| {
            let rows: Vec<usize> = (0..cases.len()).map(|_| seeded.below(cases.len())).collect();
            let pick = |numbers: &[f64]| rows.iter().map(|row| numbers[*row]).collect::<Vec<_>>();
            let cases: Vec<&Case> = rows.iter().map(|row| cases[*row]).collect();
            spent(&cases, &pick(scores), &pick(&lengths))
        })
        .collect();
    let gain = |over: fn(&Spent) -> f64| {
        interval(over(&now) - now.routed, drawn.iter().map(|spent| over(spent) - spent.routed).collect())
    };
    Some(Dollars {
        always_strong_usd: now.always_strong,
        routed_usd: now.routed,
        gain_over_random_usd: gain(|spent| spent.random)?,
        gain_over_length_usd: gain(|spent| spent.length)?,
    })
}

/// Dollars for each 1,000 tasks, at [`QUALITY`].
#[derive(Debug, Clone, Copy)]
struct Spent {
    always_strong: f64,
    routed: f64,
    random: f64,
    length: f64,
}

fn spent(cases: &[&Case], scores: &[f64], lengths: &[f64]) -> Option<Spent> {
    let routed = Ranking::of(cases, scores);
    let (quality, dollars) = (routed.quality(), routed.dollars()?);
    let (weak, strong) = (quality[0], quality[cases.len()]);
    let thousands = cases.len() as f64 / 1000.0;
    let (weak_usd, strong_usd) = (dollars[0] / thousands, dollars[cases.len()] / thousands);
    let at = |ranking: &Ranking<'_>| strong_usd * (1.0 - ranking.saved_at(QUALITY * strong) / 100.0);
    // A random choice reaches every mixture of the two lanes, at its price.
    let share =
        if strong > weak { ((QUALITY * strong - weak) / (strong - weak)).clamp(0.0, 1.0) } else { 0.0 };
    Some(Spent {
        always_strong: strong_usd,
        routed: at(&routed),
        random: weak_usd + share * (strong_usd - weak_usd),
        length: at(&Ranking::of(cases, lengths)),
    })
}

/// How often each of `rows` is drawn when as many are drawn.
fn counts(rows: usize, seeded: &mut Seeded) -> Vec<usize> {
    let mut counts = vec![0; rows];
    for _ in 0..rows {
        counts[seeded.below(rows)] += 1;
    }
    counts
}

fn interval(mean: f64, mut drawn: Vec<f64>) -> Option<Interval> {
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| drawn.get(((drawn.len() as f64 - 1.0) * share).round() as usize).copied();
    Some(Interval { mean, low: at(0.025)?, high: at(0.975)? })
}

impl Ranking<'_> {
    /// The same order with each task as often as `counts` says.
    fn drawn(&self, counts: &[usize]) -> Self {
        let cases = self.cases().iter().zip(counts);
        Self::ordered(cases.flat_map(|(case, count)| std::iter::repeat_n(*case, *count)).collect())
    }
}
