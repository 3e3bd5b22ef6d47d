//! Everything that is known of a score.

use std::collections::BTreeMap;

use serde::Serialize;
use trilane_protocol::LaneName;

use super::calibration::calibration_error;
use super::controls::{Control, controls};
use super::metric::{Figures, Ranking};
use super::offline::Judged;
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
    pub points: Vec<(f64, f64)>,
    /// What it saves, where the rows have dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars: Option<Dollars>,
}

/// How figures spread where few labels are known, over several draws of these labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FewLabels {
    /// Labels of each draw.
    pub labels: usize,
    /// APGR of each draw.
    pub apgr_by_seed: Vec<f64>,
    /// Standard deviation of APGR over the draws.
    pub apgr_deviation: f64,
}

/// Chances, and the scores by which they rank tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// For the calibration.
    pub judged: Vec<Judged>,
    /// The largest goes to the strong lane first.
    pub scores: Vec<f64>,
}

impl Draw {
    /// Chances of one set of weights, ranked by what the strong lane is likely to add.
    pub fn by_gain(judged: Vec<Judged>) -> Self {
        let scores = judged.iter().map(|judged| judged.gain()).collect();
        Self { judged, scores }
    }
}

/// What `draw` is worth as a score of `cases`.
///
/// # Errors
/// Too few cases, or no gap between the lanes.
pub fn report(cases: &[&Case], draw: &Draw, pair: &Pair) -> Result<Report, NotMeasured> {
    let Draw { judged, scores } = draw;
    let ranking = Ranking::of(cases, scores);
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
        points: ranking.curve().into_iter().map(|(share, quality)| (100.0 * share, quality)).collect(),
        dollars: spread::dollars(cases, scores),
    })
}

/// What several draws of few labels are worth: each of `draws` has the chances of `cases`, learned from other labels.
///
/// # Errors
/// Too few cases or draws, or no gap between the lanes.
pub fn few_labels(
    cases: &[&Case],
    draws: &[Draw],
    labels: usize,
) -> Result<(Figures, FewLabels), NotMeasured> {
    if draws.is_empty() {
        return Err(NotMeasured::TooFew { found: 0, least: 1 });
    }
    let figures = |draw: &Draw| Ranking::of(cases, &draw.scores).figures();
    let figures: Vec<Figures> = draws.iter().map(figures).collect::<Result<_, _>>()?;
    let mean = Figures::mean(&figures);
    let apgr_by_seed: Vec<f64> = figures.iter().map(|figures| figures.apgr).collect();
    let squares: f64 = apgr_by_seed.iter().map(|apgr| (apgr - mean.apgr).powi(2)).sum();
    let apgr_deviation = (squares / (draws.len().max(2) - 1) as f64).sqrt();
    Ok((mean, FewLabels { labels, apgr_by_seed, apgr_deviation }))
}
