//! What has been learned until now, one judged answer at a time. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use trilane_protocol::LaneName;
use trilane_protocol::decision::Decision;
use trilane_protocol::learning::{Outcome, OutcomeSource};
use trilane_routing::features::Features;
use trilane_routing::learn::Weights;
use trilane_routing::off_policy::{Offer, Trial, rule};
use trilane_routing::snapshot::version_name;
use trilane_service::Config;

use crate::evidence::Judged;
use crate::trials::Trials;
use crate::windows::Windows;

/// All that a learner knows.
#[derive(Debug, Default)]
pub(crate) struct Student {
    /// The weights that learn.
    pub(crate) candidate: Weights,
    /// The policy that classifiers follow.
    pub(crate) in_force: Followed,
    /// What the two are held against each other by.
    pub(crate) trials: Trials,
    /// What of late the one in force has done.
    pub(crate) windows: Windows,
    /// Outcomes that were learned from.
    pub(crate) outcomes: u64,
    /// When the newest thing that was seen was stored, by the server's clock.
    pub(crate) seen_at: Timestamp,
    /// Lanes whose heads have changed since they were last saved.
    pub(crate) changed: BTreeSet<LaneName>,
    /// Whether trials or windows have.
    pub(crate) has_new_notes: bool,
}

/// A version that classifiers follow.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// Its number.
    pub(crate) number: u64,
    /// Its weights.
    pub(crate) weights: Weights,
}

impl Followed {
    /// The version as decisions name it.
    pub(crate) fn name(&self, config: &Config) -> String {
        version_name(&config.policy.version, self.number)
    }
}

impl Student {
    /// Takes note of where a task went.
    pub(crate) fn saw(&mut self, decision: &Decision, config: &Config) {
        self.windows.decided(decision, &self.in_force.name(config));
        self.has_new_notes = true;
    }

    /// Learns one judged answer: first it is noted what each policy would have chosen, then the candidate learns.
    ///
    /// `was_weaker` says whether the same answer was judged before by a weaker source. The candidate has seen the task then, so
    /// that it makes no new trial; the one that it made is settled.
    pub(crate) fn learn(&mut self, judged: &Judged, features: &Features, was_weaker: bool, config: &Config) {
        let Judged { outcome, drawn } = judged;
        // Good signs are never seen, so that bad ones speak against every lane: they count once somebody has judged who
        // would have judged a good answer too.
        let counts = outcome.source >= OutcomeSource::Validators;
        let is_known = self.trials.settle(outcome, counts);
        if let Some(decision) = drawn
            && !is_known
            && !was_weaker
            && let Some(trial) = self.trial(decision, outcome, features, config)
        {
            self.trials.note(outcome, trial, counts);
        }
        if let Err(error) = self.candidate.learn(features, &outcome.lane, outcome.quality, judged.weight()) {
            tracing::warn!(%error, task = %outcome.task_id, "an outcome was not learned");
            return;
        }
        self.windows.judged(outcome, &self.in_force.name(config));
        self.outcomes += 1;
        self.changed.insert(outcome.lane.clone());
        self.has_new_notes = true;
    }

    /// Follows another version: what was noted under the one before says nothing of it.
    pub(crate) fn follow(&mut self, followed: Followed) {
        if followed.number != self.in_force.number {
            self.trials.clear();
            self.windows.clear();
            self.has_new_notes = true;
        }
        self.in_force = followed;
    }

    fn trial(
        &self,
        decision: &Decision,
        outcome: &Outcome,
        features: &Features,
        config: &Config,
    ) -> Option<Trial> {
        let Config { registry, policy, .. } = config;
        let (candidate, in_force) = (&self.candidate, &self.in_force.weights);
        let offers = rule::offers(decision, features, candidate, in_force, registry, policy);
        let choose = |chance: fn(&Offer) -> f64| rule::choose(&offers, decision, registry, policy, chance);
        let trial = Trial {
            chosen: offers.iter().position(|offer| offer.lane == outcome.lane)?,
            candidate: choose(|offer| offer.chance)?,
            in_force: choose(|offer| offer.chance_in_force)?,
            offers,
            propensity: outcome.propensity,
            quality: outcome.quality,
            cost_usd: outcome.cost_usd,
            prompt_tokens: features.prompt_tokens(),
        };
        trial.check().is_ok().then_some(trial)
    }
}

#[cfg(test)]
mod tests;
