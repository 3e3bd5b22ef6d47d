//! Learns from tasks, measures on others, and takes the time of a decision.

use std::time::{Duration, Instant};

use serde::Serialize;
use trilane_protocol::{Generation, LaneName, Message, Role};
use trilane_routing::evaluate::offline::{
    self, Judged, cross_judged, folds_of, in_parallel, ranked_in_folds,
};
use trilane_routing::evaluate::online::{Online, Run, Stretch, online};
use trilane_routing::evaluate::report::{Draw, FewLabels, Report, few_labels, report};
use trilane_routing::evaluate::{Case, NotMeasured, Pair};
use trilane_routing::features;

/// What is shown.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Measured {
    /// `folds`, `train` or `online`.
    pub(super) way: &'static str,
    pub(super) weak: LaneName,
    pub(super) strong: LaneName,
    /// Rows without outcomes of both lanes.
    pub(super) skipped_rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) folds: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) train_rows: Option<usize>,
    #[serde(flatten)]
    pub(super) report: Report,
    #[serde(flatten)]
    pub(super) few_labels: Option<FewLabels>,
    #[serde(flatten)]
    pub(super) online: Option<Orders>,
    #[serde(flatten)]
    pub(super) decision: Decision,
}

/// Several orders of tasks, learned from one by one.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Orders {
    pub(super) cloud_share: f64,
    /// Mean over the orders, as in [`Online`].
    pub(super) gap_recovered: f64,
    pub(super) gap_recovered_by_seed: Vec<f64>,
    /// Mean over the orders, percent.
    pub(super) strong_share: f64,
    /// Mean over the orders.
    pub(super) curve: Vec<Stretch>,
}

/// How long a decision takes: features of the prompt and the chances of both lanes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Decision {
    /// Mean, microseconds.
    pub(super) decision_us: f64,
    /// One in a hundred takes longer, microseconds.
    pub(super) decision_us_p99: f64,
}

/// How tasks are learned from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    Folds { folds: usize, labels: Option<usize>, seeds: usize },
    Trained { known: &'a [Case], labels: Option<usize>, seeds: usize },
    Online { cloud_share: f64, seeds: usize },
}

/// Most decisions whose time is taken, and most tasks that the weights for it are learned from.
pub(super) const TIMED: usize = 2_000;

impl Way<'_> {
    /// Most labels that can be learned from.
    pub(super) fn most_labels(&self, rows: usize) -> usize {
        match self {
            Self::Folds { folds, .. } => rows - rows.div_ceil(*folds),
            Self::Trained { known, .. } => known.len(),
            Self::Online { .. } => rows,
        }
    }

    /// Learns and measures. All but `cases` and `pair` is only passed on.
    pub(super) fn measure(
        self,
        cases: &[Case],
        pair: &Pair,
        skipped_rows: usize,
        decision: Decision,
    ) -> Result<Measured, NotMeasured> {
        let all: Vec<&Case> = cases.iter().collect();
        let drawn =
            |draw: &(dyn Fn(u64) -> Draw + Sync), labels, seeds| drawn(&all, pair, labels, seeds, draw);
        let (way, found) = match &self {
            Self::Folds { folds, labels, seeds } => {
                let draw = |seed| {
                    let fold_of = folds_of(cases.len(), *folds, seed);
                    let judged = cross_judged(cases, pair, &fold_of, *labels, seed);
                    let scores = ranked_in_folds(&judged, &fold_of);
                    Draw { judged, scores }
                };
                ("folds", drawn(&draw, *labels, *seeds)?)
            }
            Self::Trained { known, labels, seeds } => {
                let known: Vec<&Case> = known.iter().collect();
                let draw = |seed| Draw::by_gain(offline::judged(&known, &all, pair, *labels, seed));
                ("train", drawn(&draw, *labels, *seeds)?)
            }
            Self::Online { cloud_share, seeds } => ("online", one_by_one(cases, pair, *cloud_share, *seeds)?),
        };
        Ok(Measured {
            way,
            weak: pair.weak.clone(),
            strong: pair.strong.clone(),
            skipped_rows,
            folds: if let Self::Folds { folds, .. } = self { Some(folds) } else { None },
            train_rows: if let Self::Trained { known, .. } = self { Some(known.len()) } else { None },
            report: found.report,
            few_labels: found.few_labels,
            online: found.online,
            decision,
        })
    }
}

struct Found {
    report: Report,
    few_labels: Option<FewLabels>,
    online: Option<Orders>,
}

/// Figures of one draw, or where labels are few, their means over several.
fn drawn(
    cases: &[&Case],
    pair: &Pair,
    labels: Option<usize>,
    seeds: usize,
    draw: &(dyn Fn(u64) -> Draw + Sync),
) -> Result<Found, NotMeasured> {
    let draws = in_parallel(if labels.is_some() { seeds } else { 1 }, |seed| draw(seed as u64));
    let mut report = report(cases, &draws[0], pair)?;
    let mut spread = None;
    if let Some(labels) = labels {
        let (figures, found) = few_labels(cases, &draws, labels)?;
        report.figures = figures;
        spread = Some(found);
    }
    Ok(Found { report, few_labels: spread, online: None })
}

fn one_by_one(cases: &[Case], pair: &Pair, cloud_share: f64, seeds: usize) -> Result<Found, NotMeasured> {
    let runs = in_parallel(seeds, |seed| online(cases, pair, cloud_share, seed as u64));
    let runs: Vec<Run<'_>> = runs.into_iter().collect::<Result<_, _>>()?;
    let mean = |number: fn(&Online) -> f64| {
        runs.iter().map(|run| number(&run.online)).sum::<f64>() / runs.len() as f64
    };
    let orders = Orders {
        cloud_share,
        gap_recovered: mean(|online| online.gap_recovered),
        gap_recovered_by_seed: runs.iter().map(|run| run.online.gap_recovered).collect(),
        strong_share: mean(|online| online.strong_share),
        curve: mean_curve(&runs),
    };
    let (last, judged): (Vec<&Case>, Vec<Judged>) = runs[0].judged.iter().copied().unzip();
    Ok(Found { report: report(&last, &Draw::by_gain(judged), pair)?, few_labels: None, online: Some(orders) })
}

/// The mean of all curves, stretch by stretch.
fn mean_curve(runs: &[Run<'_>]) -> Vec<Stretch> {
    let stretches = runs.iter().map(|run| run.online.curve.len()).min().unwrap_or_default();
    let mean = |at: usize, number: fn(&Stretch) -> f64| {
        runs.iter().map(|run| number(&run.online.curve[at])).sum::<f64>() / runs.len() as f64
    };
    let stretch = |at: usize| Stretch {
        rows: runs[0].online.curve[at].rows,
        gap_recovered: mean(at, |stretch| stretch.gap_recovered),
        strong_share: mean(at, |stretch| stretch.strong_share),
    };
    (0..stretches).map(stretch).collect()
}

impl Decision {
    /// Decides on each of `prompts` by weights that `cases` have taught.
    pub(super) fn timed(prompts: &[String], cases: &[Case], pair: &Pair) -> Self {
        let weights = offline::learned(&cases.iter().take(TIMED).collect::<Vec<_>>());
        let decide = |prompt: &String| {
            let messages = [Message { role: Role::User, content: prompt.clone() }];
            let start = Instant::now();
            let features = features::extract(&messages, &Generation::default());
            std::hint::black_box(Judged::by(&weights, &features, pair));
            start.elapsed()
        };
        let mut times: Vec<Duration> = prompts.iter().take(TIMED).map(decide).collect();
        times.sort_unstable();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let mean = micros(times.iter().sum()) / times.len().max(1) as f64;
        let last = times.len().saturating_sub(1) * 99 / 100;
        Self { decision_us: mean, decision_us_p99: times.get(last).map_or(0.0, |time| micros(*time)) }
    }
}
