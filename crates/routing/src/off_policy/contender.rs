//! The policies that are held against each other: the candidate, the one in force, and controls that know nothing of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use trilane_protocol::{LaneName, Zone};

use super::trial::Trial;

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contender {
    /// What the learner has learned until now.
    Candidate,
    /// What classifiers follow.
    InForce,
    /// Always the same lane; where a task may not take it, the strongest local one.
    Always(LaneName),
    /// The cloud by lot, as often as costs what the candidate costs; else the strongest local lane.
    Random,
    /// The cloud for the longest prompts, as many as the candidate sends there; else the strongest local lane.
    PromptLength,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Candidate => f.write_str("the candidate"),
            Self::InForce => f.write_str("the policy in force"),
            Self::Always(lane) => write!(f, "always `{lane}`"),
            Self::Random => f.write_str("chance at the candidate's cost"),
            Self::PromptLength => f.write_str("prompt length at the candidate's cloud share"),
        }
    }
}

/// The probability, 0 to 1, with which a contender takes each offer of each trial.
pub(super) type Shares = Vec<Vec<f64>>;

impl Contender {
    /// All that meet on these trials: one that is always the same for each lane that any of them could take.
    pub fn all(trials: &[Trial]) -> Vec<Self> {
        let offers = trials.iter().flat_map(|trial| &trial.offers);
        let lanes: BTreeSet<&LaneName> = offers.map(|offer| &offer.lane).collect();
        let always = lanes.into_iter().cloned().map(Self::Always);
        [Self::Candidate, Self::InForce]
            .into_iter()
            .chain(always)
            .chain([Self::Random, Self::PromptLength])
            .collect()
    }

    pub(super) fn shares(&self, trials: &[Trial]) -> Shares {
        match self {
            Self::Candidate => each(trials, |trial| trial.candidate),
            Self::InForce => each(trials, |trial| trial.in_force),
            Self::Always(lane) => each(trials, |trial| {
                let offered = trial.offers.iter().position(|offer| offer.lane == *lane);
                offered.unwrap_or_else(|| trial.deepest_local())
            }),
            Self::Random => random(trials),
            Self::PromptLength => prompt_length(trials),
        }
    }
}

fn each(trials: &[Trial], pick: impl Fn(&Trial) -> usize) -> Shares {
    let one = |trial: &Trial| {
        let mut shares = vec![0.0; trial.offers.len()];
        shares[pick(trial)] = 1.0;
        shares
    };
    trials.iter().map(one).collect()
}

/// The probability of the cloud is what makes the expected cost the candidate's.
fn random(trials: &[Trial]) -> Shares {
    let cost = |trial: &Trial, offer: usize| trial.offers[offer].expected_cost_usd;
    let spent: f64 = trials.iter().map(|trial| cost(trial, trial.candidate)).sum();
    let base: f64 = trials.iter().map(|trial| cost(trial, trial.deepest_local())).sum();
    let most: f64 =
        trials.iter().map(|trial| cost(trial, trial.cloud().unwrap_or(trial.deepest_local()))).sum();
    let share = if most > base { ((spent - base) / (most - base)).clamp(0.0, 1.0) } else { 0.0 };
    let one = |trial: &Trial| {
        let mut shares = vec![0.0; trial.offers.len()];
        let local = trial.deepest_local();
        match trial.cloud() {
            Some(cloud) if cloud != local => (shares[cloud], shares[local]) = (share, 1.0 - share),
            _ => shares[local] = 1.0,
        }
        shares
    };
    trials.iter().map(one).collect()
}

fn prompt_length(trials: &[Trial]) -> Shares {
    let is_cloud = |trial: &Trial| trial.offers[trial.candidate].zone == Zone::Cloud;
    let most = trials.iter().filter(|trial| is_cloud(trial)).count();
    let mut longest: Vec<usize> =
        (0..trials.len()).filter(|index| trials[*index].cloud().is_some()).collect();
    longest.sort_by_key(|index| std::cmp::Reverse(trials[*index].prompt_tokens));
    let sent: BTreeSet<usize> = longest.into_iter().take(most).collect();
    let pick = |(index, trial): (usize, &Trial)| {
        let mut shares = vec![0.0; trial.offers.len()];
        let cloud = trial.cloud().filter(|_| sent.contains(&index));
        shares[cloud.unwrap_or_else(|| trial.deepest_local())] = 1.0;
        shares
    };
    trials.iter().enumerate().map(pick).collect()
}
