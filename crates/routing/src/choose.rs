//! Choosing a lane among those that the screen has left: every lane is weighed, and the one that the policy prefers is
//! taken; now and then one is drawn.

use jiff::Timestamp;
use trilane_protocol::decision::{Adjustment, Candidate, CandidateVerdict, Reason, ScreenReport};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::{Decision, LaneName, ModelName, Usage, Work, Zone};

use crate::complexity::Scored;
use crate::fleet::FleetState;
use crate::policy::{Policy, PrivatePin};
use crate::prefer::{Bar, fits, prefer};
use crate::registry::{Backend, Lane, Model, Registry};
use crate::snapshot::version_name;

/// The lanes that a piece of work may be put on.
#[derive(Debug)]
pub(crate) struct Lanes<'a> {
    registry: &'a Registry,
    fleet: &'a FleetState,
    lanes: Vec<(&'a LaneName, &'a Lane)>,
}

/// The lane chosen, and why.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) lane: LaneName,
    pub(crate) zone: Zone,
    pub(crate) model: ModelName,
    pub(crate) reason: Reason,
    pub(crate) explanation: String,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) adjustments: Vec<Adjustment>,
    /// Chance of a good answer that a lane had to reach.
    pub(crate) threshold: f64,
    /// What the cloud had to add, where a target steers; a tie that was broken is taken off it.
    pub(crate) bar: Option<f64>,
    /// Probability with which the lane was to be taken.
    pub(crate) propensity: f64,
}

impl Choice {
    /// The decision, with all that led to it.
    pub(crate) fn into_decision(
        self,
        screen: ScreenReport,
        scored: Scored,
        policy: &Policy,
        decided_at: Timestamp,
    ) -> Decision {
        Decision {
            lane: self.lane,
            zone: self.zone,
            model: self.model,
            reason: self.reason,
            explanation: self.explanation,
            screen,
            score: scored.score,
            threshold: self.threshold,
            bar: self.bar,
            candidates: self.candidates,
            adjustments: self.adjustments,
            propensity: self.propensity,
            policy_version: version_name(&policy.version, scored.version),
            decided_at,
        }
    }
}

impl<'a> Lanes<'a> {
    /// Every lane: for cleared work.
    pub(crate) fn all(registry: &'a Registry, fleet: &'a FleetState) -> Self {
        Self { registry, fleet, lanes: registry.lanes.iter().collect() }
    }

    /// The lanes of the local zone: for private work, and for what falls back.
    pub(crate) fn local(registry: &'a Registry, fleet: &'a FleetState) -> Self {
        let is_local = |(_, lane): &(&LaneName, &Lane)| lane.zone == Zone::Local;
        Self { registry, fleet, lanes: registry.lanes.iter().filter(is_local).collect() }
    }

    /// The lane that the policy prefers of those that can take the work.
    pub(crate) fn preferred(
        &self,
        work: &Work,
        score: &Scored,
        policy: &Policy,
        bar: Option<Bar>,
    ) -> Result<Choice, TaskError> {
        let candidates = self.candidates(work, score, policy);
        let preferred = prefer(&candidates, self.registry, policy, bar);
        let preferred = preferred.ok_or_else(|| self.nothing_fits(&candidates, work, score))?;
        let (chosen, reason, explanation) =
            (preferred.candidate.clone(), preferred.reason, preferred.explanation);
        let threshold = preferred.threshold;
        let bar = bar.map(|bar| bar.gain - bar.tie);
        Ok(Choice { threshold, bar, ..self.choice(&chosen, reason, explanation, policy, candidates) })
    }

    /// The same candidates, and the lane that was drawn.
    pub(crate) fn drawn(&self, lane: &LaneName, chosen: &Choice, policy: &Policy) -> Option<Choice> {
        let drawn = chosen.candidates.iter().find(|candidate| candidate.lane == *lane)?;
        let explanation = format!(
            "drawn among the lanes that may take it, as {:.1} % of tasks are; `{}` would have been chosen",
            100.0 * policy.explore,
            chosen.lane
        );
        let candidates = chosen.candidates.clone();
        let choice = self.choice(drawn, Reason::Explored, explanation, policy, candidates);
        Some(Choice { threshold: chosen.threshold, bar: chosen.bar, ..choice })
    }

    /// The lane of the pinned model. Where the screen has left only local lanes and the model is on
    /// another, the policy decides.
    pub(crate) fn pinned(
        &self,
        model: &ModelName,
        work: &Work,
        score: &Scored,
        policy: &Policy,
    ) -> Result<Choice, TaskError> {
        let Some((name, lane)) = self.lanes.iter().find(|(_, lane)| lane.models.contains(model)) else {
            let cause = format!("private work is not sent to the cloud model `{model}` that it names");
            return match policy.private_pin {
                PrivatePin::Deep => self.deepest_local(work, score, policy, Reason::PrivatePin, &cause),
                PrivatePin::Reject => {
                    Err(TaskError::new("private_pin", format!("{cause}; name a local model")))
                }
            };
        };
        let candidate = self.weigh(name, lane, model, work, score, policy);
        match candidate.verdict {
            CandidateVerdict::Eligible | CandidateVerdict::TooWeak => {
                let explanation = format!("the model `{model}` is named by the task or its agent");
                let candidates = vec![candidate.clone()];
                Ok(self.choice(&candidate, Reason::Pinned, explanation, policy, candidates))
            }
            CandidateVerdict::TooLong | CandidateVerdict::TooExpensive => {
                Err(self.nothing_fits(&[candidate], work, score))
            }
        }
    }

    /// The strongest local lane that can take the work.
    pub(crate) fn deepest_local(
        &self,
        work: &Work,
        score: &Scored,
        policy: &Policy,
        reason: Reason,
        cause: &str,
    ) -> Result<Choice, TaskError> {
        let local = Self::local(self.registry, self.fleet);
        local.strongest(
            work,
            score,
            policy,
            reason,
            &format!("{cause}; the deepest local lane takes it"),
            |_| true,
        )
    }

    /// The next stronger lane that can take the work.
    pub(crate) fn stronger_than(
        &self,
        from: &LaneName,
        work: &Work,
        score: &Scored,
        policy: &Policy,
        cause: &str,
    ) -> Result<Choice, TaskError> {
        let bar = self.skill(from);
        let candidates = self.candidates(work, score, policy);
        let is_stronger = |candidate: &Candidate| fits(candidate) && self.skill(&candidate.lane) > bar;
        let next =
            self.pick(&candidates, is_stronger, |a, b| self.skill(&a.lane).total_cmp(&self.skill(&b.lane)));
        let next = next.cloned().ok_or_else(|| {
            TaskError::new("no_stronger_lane", format!("{cause}; no stronger lane may take the task"))
        })?;
        let explanation = format!("{cause}; the next stronger lane takes it");
        Ok(self.choice(&next, Reason::Escalated, explanation, policy, candidates))
    }

    /// The strongest of the lanes that `allowed` names and that can take the work.
    pub(crate) fn strongest(
        &self,
        work: &Work,
        score: &Scored,
        policy: &Policy,
        reason: Reason,
        explanation: &str,
        allowed: impl Fn(&LaneName) -> bool,
    ) -> Result<Choice, TaskError> {
        let candidates = self.candidates(work, score, policy);
        let may_take = |candidate: &Candidate| fits(candidate) && allowed(&candidate.lane);
        let strongest =
            self.pick(&candidates, may_take, |a, b| self.skill(&b.lane).total_cmp(&self.skill(&a.lane)));
        let strongest = strongest.cloned().ok_or_else(|| self.nothing_fits(&candidates, work, score))?;
        Ok(self.choice(&strongest, reason, explanation.to_owned(), policy, candidates))
    }

    fn pick<'c>(
        &self,
        candidates: &'c [Candidate],
        allowed: impl Fn(&Candidate) -> bool,
        order: impl Fn(&Candidate, &Candidate) -> std::cmp::Ordering,
    ) -> Option<&'c Candidate> {
        candidates.iter().filter(|candidate| allowed(candidate)).min_by(|a, b| order(a, b))
    }

    fn candidates(&self, work: &Work, score: &Scored, policy: &Policy) -> Vec<Candidate> {
        let weigh = |(name, lane): &(&'a LaneName, &'a Lane)| {
            self.weigh(name, lane, self.model_of(name, lane), work, score, policy)
        };
        self.lanes.iter().map(weigh).collect()
    }

    /// The first of the lane's models that a live worker serves; without any, the first.
    fn model_of(&self, name: &LaneName, lane: &'a Lane) -> &'a ModelName {
        let is_served = |model: &&ModelName| self.fleet.serves(name, model);
        lane.models.iter().find(is_served).unwrap_or(&lane.models[0])
    }

    fn weigh(
        &self,
        name: &LaneName,
        lane: &Lane,
        model_name: &ModelName,
        work: &Work,
        score: &Scored,
        policy: &Policy,
    ) -> Candidate {
        let model = &self.registry.models[model_name];
        let chance = score.chance(name, lane);
        let expected_cost_usd = model.cost_usd(expected_usage(work, score, policy));
        let left_usd = work.max_cost_usd.map(|ceiling| ceiling - work.spent.cost_usd);
        let verdict = if !fits_window(model, work, score, policy) {
            CandidateVerdict::TooLong
        } else if left_usd.is_some_and(|left| expected_cost_usd > left && expected_cost_usd > 0.0) {
            CandidateVerdict::TooExpensive
        } else if chance < policy.good_enough {
            CandidateVerdict::TooWeak
        } else {
            CandidateVerdict::Eligible
        };
        Candidate { lane: name.clone(), model: model_name.clone(), chance, expected_cost_usd, verdict }
    }

    fn choice(
        &self,
        chosen: &Candidate,
        reason: Reason,
        explanation: String,
        policy: &Policy,
        candidates: Vec<Candidate>,
    ) -> Choice {
        Choice {
            lane: chosen.lane.clone(),
            zone: self.registry.lanes[&chosen.lane].zone,
            model: chosen.model.clone(),
            reason,
            explanation,
            candidates,
            adjustments: Vec::new(),
            threshold: policy.good_enough,
            bar: None,
            propensity: 1.0,
        }
    }

    fn skill(&self, lane: &LaneName) -> f64 {
        self.registry.lanes.get(lane).map_or(0.0, |lane| lane.skill)
    }

    fn nothing_fits(&self, candidates: &[Candidate], work: &Work, score: &Scored) -> TaskError {
        let too_long = candidates.iter().all(|candidate| candidate.verdict == CandidateVerdict::TooLong);
        if !too_long {
            let message =
                "every lane that could take the task would cost more than its `max_cost_usd`; raise it";
            return TaskError::new("over_max_cost", message);
        }
        let largest = candidates
            .iter()
            .map(|candidate| self.registry.models[&candidate.model].context_tokens)
            .max()
            .unwrap_or_default();
        let answer = work
            .generation
            .max_tokens
            .map_or(String::new(), |count| format!(" and its {count} `max_tokens`"));
        let message = format!(
            "the prompt (about {} tokens){answer} do not fit the largest context window that the task may use \
             ({largest} tokens); shorten it, or give a lane a model with a larger `context_tokens`",
            score.score.prompt_tokens
        );
        TaskError::new("prompt_too_long", message)
    }
}

/// Prompt and answer must fit. An answer without `max_tokens` takes what the window leaves, but needs room
/// for an ordinary one.
fn fits_window(model: &Model, work: &Work, score: &Scored, policy: &Policy) -> bool {
    let answer =
        work.generation.max_tokens.unwrap_or(policy.expected_answer_tokens.min(policy.default_max_tokens));
    let longest_answer = match &model.backend {
        Backend::CloudApi(cloud) => cloud.max_output_tokens,
        Backend::LlamaCpp(_) | Backend::LocalServer(_) => u32::MAX,
    };
    answer <= longest_answer && score.score.prompt_tokens.saturating_add(answer) <= model.context_tokens
}

fn expected_usage(work: &Work, score: &Scored, policy: &Policy) -> Usage {
    let most = work.generation.max_tokens.unwrap_or(policy.default_max_tokens);
    Usage {
        prompt_tokens: score.score.prompt_tokens.into(),
        completion_tokens: most.min(policy.expected_answer_tokens).into(),
        cached_tokens: 0,
    }
}
