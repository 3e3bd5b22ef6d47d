//! Which lane is preferred of those that could take the work: price, gain, floor and target, in one place.

use std::cmp::Ordering;

use trilane_protocol::decision::{Candidate, CandidateVerdict, Reason};
use trilane_protocol::{LaneName, Zone};

use crate::policy::Policy;
use crate::registry::Registry;

/// The candidate preferred, and by which rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preferred<'c> {
    pub(crate) candidate: &'c Candidate,
    pub(crate) reason: Reason,
    pub(crate) explanation: String,
    /// Chance of a good answer that a lane had to reach.
    pub(crate) threshold: f64,
}

/// The bar for the cloud where a target steers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    /// What the chance on a cloud lane must be above the best local one.
    pub(crate) gain: f64,
    /// What this task's gain is raised by, so that of tasks that look alike some go and some stay.
    pub(crate) tie: f64,
}

/// What the cloud would add for one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gain<'c> {
    /// The local lane that is taken where the task stays.
    pub(crate) local: &'c Candidate,
    /// The cloud lane that is taken where it goes.
    pub(crate) cloud: &'c Candidate,
    /// The best chance of any local lane.
    pub(crate) best_local: f64,
}

impl Gain<'_> {
    /// By how much the chance is better in the cloud, -1 to 1.
    pub(crate) fn value(&self) -> f64 {
        self.cloud.chance - self.best_local
    }
}

/// Prefers one of `candidates`, if any of them fits. A floor wins over a target, and a target over the numbers.
pub(crate) fn prefer<'c>(
    candidates: &'c [Candidate],
    registry: &Registry,
    policy: &Policy,
    bar: Option<Bar>,
) -> Option<Preferred<'c>> {
    let Some(gain) = gain(candidates, registry) else { return by_numbers(candidates, registry, policy) };
    below_the_floor(&gain, policy)
        .or_else(|| bar.map(|bar| by_target(&gain, bar)))
        .or_else(|| by_numbers(candidates, registry, policy))
}

/// What the cloud would add, where both zones could take the work.
pub(crate) fn gain<'c>(candidates: &'c [Candidate], registry: &Registry) -> Option<Gain<'c>> {
    let is_in = |zone, candidate: &Candidate| {
        fits(candidate) && registry.lanes.get(&candidate.lane).is_some_and(|lane| lane.zone == zone)
    };
    let of = |zone| candidates.iter().filter(move |candidate| is_in(zone, candidate));
    let best_local = of(Zone::Local).map(|candidate| candidate.chance).max_by(f64::total_cmp)?;
    let local = cheapest_or_best(of(Zone::Local), registry)?.0;
    let cloud = cheapest_or_best(of(Zone::Cloud), registry)?.0;
    Some(Gain { local, cloud, best_local })
}

/// Whether the lane could take the work at all.
pub(crate) fn fits(candidate: &Candidate) -> bool {
    matches!(candidate.verdict, CandidateVerdict::Eligible | CandidateVerdict::TooWeak)
}

/// Whether quality forbids to stay, whatever is saved.
pub(crate) fn is_below_the_floor(gain: &Gain<'_>, policy: &Policy) -> bool {
    gain.best_local < policy.quality_floor && gain.value() > 0.0
}

fn below_the_floor<'c>(gain: &Gain<'c>, policy: &Policy) -> Option<Preferred<'c>> {
    is_below_the_floor(gain, policy).then(|| Preferred {
        candidate: gain.cloud,
        reason: reason_of(gain.cloud),
        explanation: format!(
            "no local lane reaches the quality floor of {:.2} (the best has {:.2}); the cloud is better ({:.2})",
            policy.quality_floor, gain.best_local, gain.cloud.chance
        ),
        threshold: policy.quality_floor,
    })
}

fn by_target<'c>(gain: &Gain<'c>, bar: Bar) -> Preferred<'c> {
    let value = gain.value();
    let goes = value > 0.0 && value + bar.tie >= bar.gain;
    let candidate = if goes { gain.cloud } else { gain.local };
    let reaches = if goes { "reaches" } else { "does not reach" };
    Preferred {
        candidate,
        reason: reason_of(candidate),
        explanation: format!(
            "what `{}` adds to the best local chance ({value:.2}) {reaches} the bar that the target sets ({:.2})",
            gain.cloud.lane, bar.gain
        ),
        threshold: (gain.best_local + bar.gain).clamp(0.0, 1.0),
    }
}

/// The cheapest that is good enough, else the best; but a dearer lane has to earn its price.
fn by_numbers<'c>(
    candidates: &'c [Candidate],
    registry: &Registry,
    policy: &Policy,
) -> Option<Preferred<'c>> {
    let fitting = || candidates.iter().filter(|candidate| fits(candidate));
    let (chosen, reason) = cheapest_or_best(fitting(), registry)?;
    let threshold = policy.good_enough;
    let is_as_good = |other: &&Candidate| {
        other.expected_cost_usd < chosen.expected_cost_usd && chosen.chance - other.chance < policy.min_gain
    };
    if let Some(cheaper) = fitting().filter(is_as_good).max_by(|a, b| a.chance.total_cmp(&b.chance)) {
        let explanation = format!(
            "`{}` would be dearer and better by {:.2} only; a dearer lane has to earn its price ({:.2})",
            chosen.lane,
            chosen.chance - cheaper.chance,
            policy.min_gain
        );
        return Some(Preferred { candidate: cheaper, reason: Reason::GoodEnough, explanation, threshold });
    }
    let explanation = match reason {
        Reason::GoodEnough => format!(
            "the cheapest lane whose chance of a good answer ({:.2}) reaches {threshold:.2}",
            chosen.chance
        ),
        _ => format!(
            "no lane that can take it reaches a chance of {threshold:.2}; this is the strongest ({:.2})",
            chosen.chance
        ),
    };
    Some(Preferred { candidate: chosen, reason, explanation, threshold })
}

fn cheapest_or_best<'c>(
    candidates: impl Iterator<Item = &'c Candidate> + Clone,
    registry: &Registry,
) -> Option<(&'c Candidate, Reason)> {
    let skill = |lane: &LaneName| registry.lanes.get(lane).map_or(0.0, |lane| lane.skill);
    let cheapest = |a: &&Candidate, b: &&Candidate| -> Ordering {
        let by_cost = a.expected_cost_usd.total_cmp(&b.expected_cost_usd);
        by_cost.then_with(|| skill(&a.lane).total_cmp(&skill(&b.lane)))
    };
    let best = |a: &&Candidate, b: &&Candidate| -> Ordering {
        let by_chance = b.chance.total_cmp(&a.chance);
        by_chance.then_with(|| skill(&b.lane).total_cmp(&skill(&a.lane)))
    };
    let is_eligible = |candidate: &&Candidate| candidate.verdict == CandidateVerdict::Eligible;
    let chosen = candidates.clone().filter(is_eligible).min_by(cheapest).or(candidates.min_by(best))?;
    Some((chosen, reason_of(chosen)))
}

fn reason_of(candidate: &Candidate) -> Reason {
    match candidate.verdict {
        CandidateVerdict::Eligible => Reason::GoodEnough,
        _ => Reason::Strongest,
    }
}
