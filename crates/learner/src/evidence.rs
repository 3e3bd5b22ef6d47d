//! What a result, a verdict or a shadow says of how good an answer was. Pure.

use jiff::Timestamp;
use trilane_protocol::decision::{Decision, Reason, ScoreSource, Sensitivity};
use trilane_protocol::learning::{EarlierAnswer, Feedback, Outcome, OutcomeSource, ShadowAnswer, Signs};
use trilane_protocol::{LaneName, Status, TaskResult, Zone};

/// Share of an answer that may say again what it has said before, 0 to 1; beyond it the model went round in circles. Lists
/// and code repeat themselves too, up to some third.
const MAX_REPETITION: f64 = 0.5;

/// What an outcome counts by its source, as a share of a person's verdict.
const FEEDBACK_WEIGHT: f64 = 1.0;

/// A failed demand makes an answer bad for certain; a satisfied one does not yet make it good.
const VALIDATORS_WEIGHT: f64 = 0.8;

/// A judge compares with another model's answer, which may be wrong itself.
const SHADOW_WEIGHT: f64 = 0.5;

/// Signs are guesses from the form of an answer.
const SIGNS_WEIGHT: f64 = 0.25;

/// Most times that an answer of a drawn lane counts for those that were not drawn: without a bound, one bad sign on a lane
/// that is tried once in a hundred would outweigh twenty people. At 3 a sign (0.25) stays below one person's verdict.
const MAX_INVERSE_PROPENSITY: f64 = 3.0;

/// One judged answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// What is published of it.
    pub(crate) outcome: Outcome,
    /// The decision whose candidates its lane was drawn among; none where it was not drawn: then it teaches, but policies
    /// are not judged by it.
    pub(crate) drawn: Option<Decision>,
}

impl Judged {
    /// What a head learns it with: 1 divided by the propensity, within a bound, so that lanes which are rarely tried count
    /// for the times they were not; then the share that its source counts.
    pub(crate) fn weight(&self) -> f64 {
        let is_drawn = self.drawn.is_some() && self.outcome.propensity > 0.0;
        let times = if is_drawn { self.outcome.propensity.recip().min(MAX_INVERSE_PROPENSITY) } else { 1.0 };
        weight_of(self.outcome.source) * times
    }
}

fn weight_of(source: OutcomeSource) -> f64 {
    match source {
        OutcomeSource::Feedback => FEEDBACK_WEIGHT,
        OutcomeSource::Validators => VALIDATORS_WEIGHT,
        OutcomeSource::Shadow => SHADOW_WEIGHT,
        OutcomeSource::Signs => SIGNS_WEIGHT,
    }
}

/// What a result says by itself: of the answer before it, if there was one, and of its own. A plain `done` says nothing,
/// and what ended without an answer says nothing of any lane's answers.
///
/// `is_kept_short` says whether the producer has bounded the answer: then it is no fault that it was cut.
pub(crate) fn of_result(
    result: &TaskResult,
    is_kept_short: bool,
    zone_of: impl Fn(&LaneName) -> Option<Zone>,
    at: Timestamp,
) -> Vec<Judged> {
    let Some(decision) = answered(result) else { return Vec::new() };
    let mut judged = Vec::new();
    if let Some(earlier) = &result.earlier
        && let Some(zone) = zone_of(&earlier.lane)
    {
        judged.push(of_earlier(result, earlier, decision, zone, at));
    }
    let verdict = result.signs.as_ref().and_then(|signs| by_itself(signs, is_kept_short));
    if let Some((quality, source)) = verdict {
        judged.extend(own(result, decision, quality, source, at));
    }
    judged
}

/// Whether a result says anything by itself, before anything is looked up for it.
pub(crate) fn may_say_something(result: &TaskResult) -> bool {
    let says = |signs: &Signs| by_itself(signs, false).is_some();
    answered(result).is_some() && (result.earlier.is_some() || result.signs.as_ref().is_some_and(says))
}

/// What a verdict says of a result. None where there is no answer to it, or the number is none.
pub(crate) fn of_feedback(result: &TaskResult, feedback: Feedback, at: Timestamp) -> Option<Judged> {
    own(result, answered(result)?, feedback.quality()?, OutcomeSource::Feedback, at)
}

/// What a judge says of a shadow. `result` is the cloud's.
pub(crate) fn of_shadow(
    result: &TaskResult,
    shadow: &ShadowAnswer,
    is_good: bool,
    at: Timestamp,
) -> Option<Judged> {
    let decision = answered(result)?;
    let outcome = Outcome {
        task_id: result.task_id.clone(),
        agent: result.agent.clone(),
        task_seq: shadow.task_seq,
        lane: shadow.lane.clone(),
        zone: Zone::Local,
        model: shadow.model.clone(),
        quality: f64::from(u8::from(is_good)),
        source: OutcomeSource::Shadow,
        cost_usd: 0.0,
        propensity: 1.0,
        chance: chance(decision, &shadow.lane),
        policy_version: decision.policy_version.clone(),
        at,
    };
    Some(Judged { outcome, drawn: None })
}

/// Whether the task's answer was cut short, refused, or goes round in circles.
pub(crate) fn has_bad_signs(signs: &Signs, is_kept_short: bool) -> bool {
    signs.refused || signs.truncated && !is_kept_short || signs.repetition > MAX_REPETITION
}

/// The decision that led to the answer. Where an earlier one stands after an attempt that has failed, the last decision is
/// another lane's and says nothing of it.
fn answered(result: &TaskResult) -> Option<&Decision> {
    let is_its_own = |decision: &&Decision| result.lane.as_ref() == Some(&decision.lane);
    result.decision.as_ref().filter(|_| result.status == Status::Done).filter(is_its_own)
}

fn by_itself(signs: &Signs, is_kept_short: bool) -> Option<(f64, OutcomeSource)> {
    match (signs.failed.is_empty(), signs.passed) {
        (false, _) => Some((0.0, OutcomeSource::Validators)),
        (true, 0) => has_bad_signs(signs, is_kept_short).then_some((0.0, OutcomeSource::Signs)),
        (true, _) => Some((1.0, OutcomeSource::Validators)),
    }
}

/// The answer before was not good enough, or it would stand: by its validators, or by its worker's word.
fn of_earlier(
    result: &TaskResult,
    earlier: &EarlierAnswer,
    decision: &Decision,
    zone: Zone,
    at: Timestamp,
) -> Judged {
    let has_failed = !earlier.signs.failed.is_empty();
    let source = if has_failed { OutcomeSource::Validators } else { OutcomeSource::Signs };
    let outcome = Outcome {
        task_id: result.task_id.clone(),
        agent: result.agent.clone(),
        task_seq: result.task_seq.unwrap_or_default(),
        lane: earlier.lane.clone(),
        zone,
        model: earlier.model.clone(),
        quality: 0.0,
        source,
        cost_usd: earlier.cost_usd,
        propensity: earlier.propensity,
        chance: chance(decision, &earlier.lane),
        policy_version: earlier.policy_version.clone(),
        at,
    };
    let is_drawn = earlier.propensity > 0.0 && earlier.propensity < 1.0;
    Judged { outcome, drawn: is_drawn.then(|| decision.clone()) }
}

fn own(
    result: &TaskResult,
    decision: &Decision,
    quality: f64,
    source: OutcomeSource,
    at: Timestamp,
) -> Option<Judged> {
    let lane = result.lane.clone()?;
    let earlier_usd = result.earlier.as_ref().map_or(0.0, |earlier| earlier.cost_usd);
    let drawn = is_drawn(decision).then(|| decision.clone());
    let outcome = Outcome {
        task_id: result.task_id.clone(),
        agent: result.agent.clone(),
        task_seq: result.task_seq?,
        chance: chance(decision, &lane),
        lane,
        zone: decision.zone,
        model: result.model.clone().unwrap_or_else(|| decision.model.clone()),
        quality,
        source,
        cost_usd: (result.cost_usd - earlier_usd).max(0.0),
        propensity: if drawn.is_some() { decision.propensity } else { 1.0 },
        policy_version: decision.policy_version.clone(),
        at,
    };
    Some(Judged { outcome, drawn })
}

/// Whether the lane of a decision was drawn: the propensity is that of the lane where the task was put, adjustments and all.
/// What was pinned, scored by its producer or given back by a worker could not have gone elsewhere.
fn is_drawn(decision: &Decision) -> bool {
    let by_policy = !matches!(
        decision.reason,
        Reason::Pinned | Reason::PrivatePin | Reason::Degraded | Reason::Escalated | Reason::Shadowed
    );
    let is_chance = decision.propensity > 0.0 && decision.propensity < 1.0;
    by_policy && is_chance && decision.score.source != ScoreSource::Producer
}

/// Whether the cloud has answered a task that may be shown to it, by a choice of the policy.
pub(crate) fn is_public_cloud(result: &TaskResult) -> bool {
    answered(result).is_some_and(|decision| {
        decision.zone == Zone::Cloud && decision.screen.sensitivity == Sensitivity::Public
    })
}

fn chance(decision: &Decision, lane: &LaneName) -> f64 {
    let candidate = decision.candidates.iter().find(|candidate| candidate.lane == *lane);
    candidate.map_or(0.0, |candidate| candidate.chance)
}

#[cfg(test)]
pub(crate) mod tests;
