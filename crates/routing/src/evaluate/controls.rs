//! Routers that have learned nothing, and the one that knows everything.

use std::collections::BTreeMap;

use serde::Serialize;

use super::metric::{Figures, Ranking};
use super::{Case, NotMeasured, gap};
use crate::score::{ColdStart, Scorer};
use crate::seeded::Seeded;

/// A router to compare with. Those that send all tasks to one lane have no curve: their `apgr` is the share of the gap
/// that they recover at their only point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Control {
    /// As in [`Figures`].
    pub apgr: f64,
    /// Share of strong calls that it is bound to, percent; absent where it can be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strong_share: Option<f64>,
    /// The other figures; absent where there is only one point.
    #[serde(flatten)]
    pub figures: Option<Rest>,
}

/// What [`Figures`] has besides `apgr`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rest {
    /// As in [`Figures`].
    pub cpt20: f64,
    /// As in [`Figures`].
    pub cpt50: f64,
    /// As in [`Figures`].
    pub cpt80: f64,
    /// As in [`Figures`].
    pub saved_at_95: f64,
    /// As in [`Figures`].
    pub saved_at_99: f64,
}

/// Random rankings of which the means are taken.
const RANDOM_RANKINGS: u64 = 100;

/// All controls by name.
///
/// # Errors
/// Too few cases, or no gap between the lanes.
pub(super) fn controls(cases: &[&Case]) -> Result<BTreeMap<&'static str, Control>, NotMeasured> {
    gap(cases)?;
    let by = |score: fn(&Case) -> f64| {
        Ranking::of(cases, &cases.iter().map(|case| score(case)).collect::<Vec<_>>()).figures()
    };
    let constant = |apgr, strong_share| Control { apgr, strong_share: Some(strong_share), figures: None };
    Ok(BTreeMap::from([
        ("random", Control::of(random(cases)?)),
        ("length", Control::of(by(length)?)),
        ("hand_made", Control::of(by(|case| ColdStart.score(&case.features).complexity)?)),
        ("oracle", Control::of(by(|case| case.strong.quality - case.weak.quality)?)),
        ("always_weak", constant(0.0, 0.0)),
        ("always_strong", constant(1.0, 100.0)),
    ]))
}

/// The longest prompt first.
pub(super) fn length(case: &Case) -> f64 {
    case.features.bytes as f64
}

fn random(cases: &[&Case]) -> Result<Figures, NotMeasured> {
    let mut all = Vec::with_capacity(RANDOM_RANKINGS as usize);
    for seed in 0..RANDOM_RANKINGS {
        let mut seeded = Seeded::new(seed);
        let scores: Vec<f64> = cases.iter().map(|_| seeded.share()).collect();
        all.push(Ranking::of(cases, &scores).figures()?);
    }
    Ok(Figures::mean(&all))
}

impl Control {
    fn of(figures: Figures) -> Self {
        let Figures { apgr, cpt20, cpt50, cpt80, saved_at_95, saved_at_99 } = figures;
        let rest = Rest { cpt20, cpt50, cpt80, saved_at_95, saved_at_99 };
        Self { apgr, strong_share: None, figures: Some(rest) }
    }
}

impl Figures {
    /// The mean of each figure.
    pub(super) fn mean(all: &[Self]) -> Self {
        let mean = |figure: fn(&Self) -> f64| all.iter().map(figure).sum::<f64>() / all.len().max(1) as f64;
        Self {
            apgr: mean(|figures| figures.apgr),
            cpt20: mean(|figures| figures.cpt20),
            cpt50: mean(|figures| figures.cpt50),
            cpt80: mean(|figures| figures.cpt80),
            saved_at_95: mean(|figures| figures.saved_at_95),
            saved_at_99: mean(|figures| figures.saved_at_99),
        }
    }
}
