//! What of late says that something is wrong with the policy in force: it no longer tells tasks apart, or promises what
//! does not come true. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use trilane_protocol::decision::{Decision, Reason, ScoreSource, Sensitivity};
use trilane_protocol::learning::{Outcome, OutcomeSource};
use trilane_protocol::{LaneName, Zone};
use trilane_routing::policy::Target;

/// Decisions that are looked at: with fewer, a run of like tasks would be taken for a router that is constant.
const DECISIONS: usize = 300;

/// Share of them on one lane from which on the router counts as constant.
const CONSTANT_SHARE: f64 = 0.98;

/// Judged answers of a lane that are looked at: ten bins of twenty each.
const ANSWERS: usize = 200;

/// Bins of the calibration error.
const BINS: usize = 10;

/// The last decisions and judged answers under the policy in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Windows {
    decisions: VecDeque<LaneName>,
    answers: BTreeMap<LaneName, VecDeque<Answer>>,
}

/// What was promised of an answer, and how good it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Answer {
    chance: f64,
    quality: f64,
}

impl Windows {
    /// Notes a decision of the version in force. Only what learned weights have chosen counts: what was pinned, drawn to
    /// explore, or moved because a lane was not to be had says nothing of them.
    pub(crate) fn decided(&mut self, decision: &Decision, version: &str) {
        let is_choice = matches!(decision.reason, Reason::GoodEnough | Reason::Strongest)
            && decision.adjustments.is_empty();
        let is_public = decision.screen.sensitivity == Sensitivity::Public;
        let could_leave = decision.candidates.len() > 1;
        let is_learned = decision.score.source == ScoreSource::Learned && decision.policy_version == version;
        if is_choice && is_public && could_leave && is_learned {
            push(&mut self.decisions, decision.lane.clone(), DECISIONS);
        }
    }

    /// Notes a judged answer under the version in force. Bad signs are not counted: good ones are never seen.
    pub(crate) fn judged(&mut self, outcome: &Outcome, version: &str) {
        if outcome.policy_version == version && outcome.source >= OutcomeSource::Validators {
            let answers = self.answers.entry(outcome.lane.clone()).or_default();
            push(answers, Answer { chance: outcome.chance, quality: outcome.quality }, ANSWERS);
        }
    }

    /// The lane that nearly all decisions took, with their share; none while too few were seen.
    pub(crate) fn constant(&self) -> Option<(&LaneName, f64)> {
        if self.decisions.len() < DECISIONS {
            return None;
        }
        let mut counts = BTreeMap::<&LaneName, usize>::new();
        for lane in &self.decisions {
            *counts.entry(lane).or_default() += 1;
        }
        let (lane, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let share = count as f64 / DECISIONS as f64;
        (share >= CONSTANT_SHARE).then_some((lane, share))
    }

    /// Lanes whose answers are not as good as promised, or better: with the mean difference, 0 to 1.
    pub(crate) fn drifted(&self, bound: f64) -> Vec<(&LaneName, f64)> {
        let full = self.answers.iter().filter(|(_, answers)| answers.len() == ANSWERS);
        full.map(|(lane, answers)| (lane, calibration_error(answers))).filter(|(_, e)| *e > bound).collect()
    }

    /// Begins anew, because another policy is in force.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Whether a target leaves no choice: a share of the cloud at which a constant router is what was asked for.
pub(crate) fn is_wanted(zone: Zone, target: Option<Target>) -> bool {
    match (target, zone) {
        (Some(Target::CloudShare(share)), Zone::Cloud) => share >= CONSTANT_SHARE,
        (Some(Target::CloudShare(share)), Zone::Local) => share <= 1.0 - CONSTANT_SHARE,
        (Some(Target::UsdWeek(usd)), Zone::Local) => usd <= 0.0,
        (Some(Target::UsdWeek(_)), Zone::Cloud) | (None, _) => false,
    }
}

/// The expected calibration error: by ten bins of the promised chance, the mean difference from what was seen.
fn calibration_error(answers: &VecDeque<Answer>) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    for Answer { chance, quality } in answers {
        let bin = ((chance * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += chance;
        bins[bin].1 += quality;
    }
    bins.iter().map(|(promised, seen)| (promised - seen).abs()).sum::<f64>() / answers.len() as f64
}

fn push<T>(window: &mut VecDeque<T>, item: T, most: usize) {
    window.push_back(item);
    while window.len() > most {
        window.pop_front();
    }
}

#[cfg(test)]
mod tests;
