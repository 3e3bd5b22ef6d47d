//! Quality against cost: what another bar would have made of the same decisions.

use serde::Serialize;

use super::calibration::Correction;
use super::facts::{Choice, Weighed};
use crate::registry::Registry;

/// Bars that are tried, both ends included.
const POINTS: usize = 51;

/// What to expect at each bar, of the tasks of this time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// Decisions that it rests on.
    pub tasks: u64,
    /// From everything local, at bar 0, to everything in the cloud; private tasks are local on all of it.
    pub points: Vec<Point>,
    /// What the decisions that were made come to, in the same measure; its bar is that of the last of them.
    pub today: Option<Point>,
    /// Lanes whose chances were corrected by their outcomes; those of the others are the router's word.
    pub corrected_lanes: Vec<String>,
}

/// What one bar comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The bar, 0 to 1: chance that a lane must reach. At 1 nothing reaches it, and the strongest lane takes all.
    pub threshold: f64,
    /// Mean chance of a good answer, 0 to 1.
    pub quality: f64,
    /// Expected dollars of all tasks together.
    pub cost_usd: f64,
    /// Share of the tasks that go to the cloud, 0 to 1.
    pub cloud_share: f64,
}

pub(super) fn curve(choices: &[&Choice], registry: &Registry, correction: &Correction, one_in: u64) -> Curve {
    let sweep = Sweep { choices, registry, correction, one_in };
    let last = POINTS - 1;
    let points = (0..POINTS).filter_map(|index| {
        let threshold = index as f64 / last as f64;
        let bar = if index == last { f64::INFINITY } else { threshold };
        sweep.point(threshold, |choice| sweep.chosen(choice, bar))
    });
    let last_choice = choices.iter().max_by_key(|choice| choice.decided_at);
    let bar = last_choice.map_or(0.0, |choice| choice.threshold);
    let taken =
        |choice: &Choice| choice.candidates.iter().position(|candidate| candidate.lane == choice.lane);
    Curve {
        tasks: (choices.len() as u64).saturating_mul(one_in),
        points: points.collect(),
        today: sweep.point(bar, taken),
        corrected_lanes: correction.lanes(),
    }
}

struct Sweep<'a> {
    choices: &'a [&'a Choice],
    registry: &'a Registry,
    correction: &'a Correction,
    one_in: u64,
}

impl Sweep<'_> {
    fn point(&self, threshold: f64, chosen: impl Fn(&Choice) -> Option<usize>) -> Option<Point> {
        let (mut quality, mut cost_usd, mut in_cloud, mut tasks) = (0.0, 0.0, 0_u64, 0_u64);
        for choice in self.choices {
            let Some(candidate) = chosen(choice).map(|index| &choice.candidates[index]) else { continue };
            quality += self.correction.chance(&candidate.lane, candidate.chance);
            cost_usd += candidate.cost_usd;
            in_cloud += u64::from(candidate.zone == trilane_protocol::Zone::Cloud);
            tasks += 1;
        }
        let count = tasks as f64;
        (tasks > 0).then(|| Point {
            threshold,
            quality: quality / count,
            cost_usd: cost_usd * self.one_in as f64,
            cloud_share: in_cloud as f64 / count,
        })
    }

    /// As the router chooses: the cheapest that reaches the bar, else the strongest.
    fn chosen(&self, choice: &Choice, bar: f64) -> Option<usize> {
        let fits = || choice.candidates.iter().enumerate().filter(|(_, candidate)| candidate.fits);
        let reaches = fits().filter(|(_, candidate)| candidate.chance >= bar);
        let cheapest = reaches.min_by(|(_, left), (_, right)| {
            let by_cost = left.cost_usd.total_cmp(&right.cost_usd);
            by_cost.then_with(|| self.skill(left).total_cmp(&self.skill(right)))
        });
        let strongest =
            || fits().max_by(|(_, left), (_, right)| self.skill(left).total_cmp(&self.skill(right)));
        cheapest.or_else(strongest).map(|(index, _)| index)
    }

    /// A lane that is gone from the configuration is as strong as it was thought to be for the task.
    fn skill(&self, candidate: &Weighed) -> f64 {
        self.registry.lanes.get(&*candidate.lane).map_or(candidate.chance, |lane| lane.skill)
    }
}

impl Curve {
    /// What to expect at the tried bar that lies nearest to `threshold`.
    pub fn at(&self, threshold: f64) -> Option<&Point> {
        let distance = |point: &&Point| (point.threshold - threshold).abs();
        self.points.iter().min_by(|left, right| distance(left).total_cmp(&distance(right)))
    }
}
