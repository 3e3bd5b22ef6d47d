//! Which lane another policy would have taken, among the lanes that a decision was made among: by the same rule as routing.

use trilane_protocol::Decision;
use trilane_protocol::decision::{Candidate, CandidateVerdict};

use super::trial::Offer;
use crate::complexity::CHANCE_SLOPE;
use crate::features::Features;
use crate::learn::Weights;
use crate::learned::blend;
use crate::policy::Policy;
use crate::prefer::{Bar, fits, prefer};
use crate::registry::{Lane, Registry};
use crate::score::{ColdStart, Scorer};

/// The lanes that could have taken the work of `decision`, the weakest first, with their chances by the weights of a
/// candidate and of the policy in force.
pub fn offers(
    decision: &Decision,
    features: &Features,
    candidate: &Weights,
    in_force: &Weights,
    registry: &Registry,
    policy: &Policy,
) -> Vec<Offer> {
    let hardness = ColdStart.score(features).complexity;
    let offer = |open: &Candidate| {
        let lane = registry.lanes.get(&open.lane)?;
        let hand_made = CHANCE_SLOPE * (lane.skill - hardness);
        let chance = |weights: &Weights| {
            blend(hand_made, weights.chance(features, &open.lane).as_ref(), policy.learned_after)
        };
        Some(Offer {
            lane: open.lane.clone(),
            zone: lane.zone,
            expected_cost_usd: open.expected_cost_usd,
            chance: chance(candidate),
            chance_in_force: chance(in_force),
        })
    };
    let open = decision.candidates.iter().filter(|open| fits(open));
    let mut offers: Vec<Offer> = open.filter_map(offer).collect();
    let skill = |offer: &Offer| registry.lanes.get(&offer.lane).map_or(0.0, |lane: &Lane| lane.skill);
    offers.sort_by(|a, b| skill(a).total_cmp(&skill(b)));
    offers
}

/// Which of `offers` a policy prefers that gives them these chances. Where a target steers, the bar is the one that the
/// task met: what another policy would have done to the bar itself is not reckoned.
pub fn choose(
    offers: &[Offer],
    decision: &Decision,
    registry: &Registry,
    policy: &Policy,
    chance: impl Fn(&Offer) -> f64,
) -> Option<usize> {
    let candidate = |offer: &Offer| {
        let chance = chance(offer);
        let is_enough = chance >= policy.good_enough;
        Candidate {
            lane: offer.lane.clone(),
            model: decision.model.clone(),
            chance,
            expected_cost_usd: offer.expected_cost_usd,
            verdict: if is_enough { CandidateVerdict::Eligible } else { CandidateVerdict::TooWeak },
        }
    };
    let candidates: Vec<Candidate> = offers.iter().map(candidate).collect();
    let bar = decision.bar.map(|gain| Bar { gain, tie: 0.0 });
    let preferred = prefer(&candidates, registry, policy, bar)?;
    offers.iter().position(|offer| offer.lane == preferred.candidate.lane)
}
