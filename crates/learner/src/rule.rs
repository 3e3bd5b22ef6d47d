//! Which lane a policy takes for a task, and how sure it is of each. Pure.

use trilane_protocol::decision::{Candidate, CandidateVerdict, Decision};
use trilane_routing::features::Features;
use trilane_routing::learn::Weights;
use trilane_routing::off_policy::Offer;
use trilane_routing::score::{ColdStart, Scorer, logistic};
use trilane_service::Config;

const CHANCE_SLOPE: f64 = 10.0;
const LEARNED_AFTER: f64 = 50.0;

/// The lanes that a decision was made among, the weakest first, each with its chance under two policies.
pub(crate) fn offers(
    config: &Config,
    decision: &Decision,
    features: &Features,
    candidate: &Weights,
    in_force: &Weights,
) -> Vec<Offer> {
    let lanes = &config.registry.lanes;
    let complexity = ColdStart.score(features).complexity;
    let offer = |open: &Candidate| {
        let lane = lanes.get(&open.lane)?;
        let cold = logistic(CHANCE_SLOPE * (lane.skill - complexity));
        let chance = |weights: &Weights| match weights.chance(features, &open.lane) {
            Some(head) => {
                let share = head.evidence / (head.evidence + LEARNED_AFTER);
                logistic((1.0 - share) * log_odds(cold) + share * log_odds(head.chance))
            }
            None => cold,
        };
        Some(Offer {
            lane: open.lane.clone(),
            zone: lane.zone,
            expected_cost_usd: open.expected_cost_usd,
            chance: chance(candidate),
            chance_in_force: chance(in_force),
        })
    };
    let is_open =
        |open: &&Candidate| matches!(open.verdict, CandidateVerdict::Eligible | CandidateVerdict::TooWeak);
    let mut offers: Vec<Offer> = decision.candidates.iter().filter(is_open).filter_map(offer).collect();
    offers.sort_by(|a, b| lanes[&a.lane].skill.total_cmp(&lanes[&b.lane].skill));
    offers
}

/// Which offer a policy takes: the cheapest whose chance reaches the bar, the weakest of several; else the strongest.
pub(crate) fn choose(offers: &[Offer], bar: f64, chance: impl Fn(&Offer) -> f64) -> Option<usize> {
    let good = (0..offers.len()).filter(|index| chance(&offers[*index]) >= bar);
    let cheapest = good.min_by(|a, b| offers[*a].expected_cost_usd.total_cmp(&offers[*b].expected_cost_usd));
    cheapest.or(offers.len().checked_sub(1))
}

fn log_odds(chance: f64) -> f64 {
    let chance = chance.clamp(1e-6, 1.0 - 1e-6);
    (chance / (1.0 - chance)).ln()
}
