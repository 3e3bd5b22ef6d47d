//! Everything that is known of a score.

use std::collections::BTreeMap;

use serde::Serialize;
use trilane_protocol::LaneName;

use super::calibration::calibration_error;
use super::controls::{Control, controls};
use super::metric::{Figures, Ranking};
use super::offline::{Judged, cross_judged, folds_of, in_parallel};
use super::spread::{self, Dollars, Interval};
use super::{Case, NotMeasured, Pair};

/// The figures of a score on tasks that it has not seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The learned score's figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Tasks measured.
    pub rows: usize,
    /// Mean quality of the weak lane's answers.
    pub weak_quality: f64,
    /// Mean quality of the strong lane's answers.
    pub strong_quality: f64,
    /// APGR between which 95 % of such sets of tasks lie.
    pub apgr_interval: Option<Interval>,
    /// How far chances are from what happens, 0 to 1: the mean of both heads.
    pub calibration_error: f64,
    /// The same of each head.
    pub calibration_error_by_lane: BTreeMap<LaneName, f64>,
    /// What else one could have done.
    pub controls: BTreeMap<&'static str, Control>,
    /// The curve behind the figures: share of strong calls, percent, and mean quality.
    pub curve: Vec<(f64, f64)>,
    /// What it saves, where the rows have dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars: Option<Dollars>,
}

/// The figures where few labels are known, over several draws of these labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FewLabels {
    /// Mean of each figure.
    #[serde(flatten)]
    pub figures: Figures,
    /// Labels of each draw.
    pub labels: usize,
    /// APGR of each draw.
    pub apgr_by_seed: Vec<f64>,
    /// Standard deviation of APGR over the draws.
    pub apgr_deviation: f64,
}

/// What the chances in `judged` are worth as a score of `cases`.
///
/// # Errors
/// Too few cases, or no gap between the lanes.
pub fn report(cases: &[&Case], judged: &[Judged], pair: &Pair) -> Result<Report, NotMeasured> {
    let scores: Vec<f64> = judged.iter().map(|judged| judged.gain()).collect();
    let ranking = Ranking::of(cases, &scores);
    let (weak_quality, strong_quality) = super::gap(cases)?;
    let error = |strong: bool| {
        let chance = |judged: &Judged| if strong { judged.strong } else { judged.weak };
        let pairs = cases
            .iter()
            .zip(judged)
            .map(|(case, judged)| (chance(judged), case.learned[usize::from(strong)].1));
        calibration_error(&pairs.collect::<Vec<_>>())
    };
    let (weak_error, strong_error) = (error(false), error(true));
    Ok(Report {
        figures: ranking.figures()?,
        rows: cases.len(),
        weak_quality,
        strong_quality,
        apgr_interval: spread::apgr(&ranking),
        calibration_error: f64::midpoint(weak_error, strong_error),
        calibration_error_by_lane: BTreeMap::from([
            (pair.weak.clone(), weak_error),
            (pair.strong.clone(), strong_error),
        ]),
        controls: controls(cases)?,
        curve: ranking.curve().into_iter().map(|(share, quality)| (100.0 * share, quality)).collect(),
        dollars: spread::dollars(cases, &scores),
    })
}

/// Learns from `labels` of the cases outside of a fold and measures on the fold, with `seeds` draws of folds and
/// labels. Also gives the chances of the first draw.
///
/// # Errors
/// Too few cases, or no gap between the lanes.
pub fn few_labels(
    cases: &[Case],
    pair: &Pair,
    folds: usize,
    labels: usize,
    seeds: usize,
) -> Result<(FewLabels, Vec<Judged>), NotMeasured> {
    let all: Vec<&Case> = cases.iter().collect();
    let mut draws = in_parallel(seeds, |seed| {
        let seed = seed as u64;
        cross_judged(cases, pair, &folds_of(cases.len(), folds, seed), Some(labels), seed)
    });
    let figures = draws.iter().map(|judged| {
        Ranking::of(&all, &judged.iter().map(|judged| judged.gain()).collect::<Vec<_>>()).figures()
    });
    let figures: Vec<Figures> = figures.collect::<Result<_, _>>()?;
    let mean = Figures::mean(&figures);
    let apgr_by_seed: Vec<f64> = figures.iter().map(|figures| figures.apgr).collect();
    let squares: f64 = apgr_by_seed.iter().map(|apgr| (apgr - mean.apgr).powi(2)).sum();
    let apgr_deviation = (squares / (seeds.max(2) - 1) as f64).sqrt();
    Ok((FewLabels { figures: mean, labels, apgr_by_seed, apgr_deviation }, draws.swap_remove(0)))
}
