//! How well a score tells which tasks need the strong lane, measured on tasks whose outcomes are known on both lanes.
//!
//! * [`Row`], [`Pair`], [`Case`]: the tasks, and the two lanes between which a router chooses
//! * [`metric`]: RouteLLM's figures of one ranking of tasks
//! * `controls`: the same figures of routers that have learned nothing
//! * [`offline`]: learned on some tasks, measured on others; [`online`]: one task after another, by the outcome of the
//!   chosen lane alone
//! * `calibration`, [`spread`]: whether chances are true, and how sure the figures are
//! * [`report`]: all of it

mod calibration;
mod controls;
pub mod metric;
pub mod offline;
pub mod online;
pub mod report;
pub mod spread;

use std::collections::BTreeMap;

use trilane_protocol::{Generation, LaneName, Message, Role};

use crate::features::{self, Features};

/// A task whose outcomes are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name, unique among the rows.
    pub id: String,
    /// What was asked.
    pub prompt: String,
    /// What it is about; for reports, never a feature.
    pub topic: Option<String>,
    /// What became of it on each lane.
    pub outcomes: BTreeMap<LaneName, Outcome>,
}

/// What became of a task on a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// How good the answer was, 0 to 1.
    pub quality: f64,
    /// What it cost, US dollars, where that is known.
    pub cost_usd: Option<f64>,
}

/// The two lanes between which the router chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The lane that is cheap.
    pub weak: LaneName,
    /// The lane that is good.
    pub strong: LaneName,
}

/// A row as a router sees it, with what it does not see.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    features: Features,
    weak: Outcome,
    strong: Outcome,
    learned: [(LaneName, f64); 2],
}

/// Why rows cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NotMeasured {
    /// Too few of them.
    #[error("there are {found} rows to measure and at least {least} are needed; give more")]
    TooFew {
        /// Rows given.
        found: usize,
        /// Rows needed.
        least: usize,
    },
    /// The strong lane is not better, so there is nothing to recover.
    #[error(
        "the strong lane's mean quality {strong} is not above the weak lane's {weak}, so there is no gap to recover; \
         name the better lane with --strong, or give rows on which the lanes differ"
    )]
    NoGap {
        /// Mean quality of the weak lane.
        weak: f64,
        /// Mean quality of the strong lane.
        strong: f64,
    },
}

/// Fewest rows that deciles can be taken of.
pub const LEAST_ROWS: usize = 20;

impl Case {
    /// The case that `row` makes between the lanes of `pair`; `None` where an outcome is missing.
    pub fn of(row: &Row, pair: &Pair) -> Option<Self> {
        let weak = *row.outcomes.get(&pair.weak)?;
        let strong = *row.outcomes.get(&pair.strong)?;
        let message = Message { role: Role::User, content: row.prompt.clone() };
        let learned = [(pair.weak.clone(), weak.quality), (pair.strong.clone(), strong.quality)];
        let features = features::extract(&[message], &Generation::default());
        Some(Self { features, weak, strong, learned })
    }

    /// What is known before the task is run.
    pub fn features(&self) -> &Features {
        &self.features
    }

    fn cost_usd(&self) -> Option<(f64, f64)> {
        Some((self.weak.cost_usd?, self.strong.cost_usd?))
    }
}

/// Means of both lanes' quality.
///
/// # Errors
/// Too few cases, or no gap between the lanes.
fn gap(cases: &[&Case]) -> Result<(f64, f64), NotMeasured> {
    if cases.len() < LEAST_ROWS {
        return Err(NotMeasured::TooFew { found: cases.len(), least: LEAST_ROWS });
    }
    let mean =
        |quality: fn(&Case) -> f64| cases.iter().map(|case| quality(case)).sum::<f64>() / cases.len() as f64;
    let (weak, strong) = (mean(|case| case.weak.quality), mean(|case| case.strong.quality));
    if strong > weak { Ok((weak, strong)) } else { Err(NotMeasured::NoGap { weak, strong }) }
}

#[cfg(test)]
mod tests;
