//! A task with all that is needed to judge by it policies that were not followed.

use serde::{Deserialize, Serialize};
use trilane_protocol::{LaneName, Zone};

/// One task whose lane was drawn with a known probability, and whose answer was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The lanes that the task could have been put on, the weakest first.
    pub offers: Vec<Offer>,
    /// Which of them it was put on.
    pub chosen: usize,
    /// Probability with which it was put there, above 0 and below 1.
    pub propensity: f64,
    /// How good the answer was, 0 to 1.
    pub quality: f64,
    /// Dollars that it has cost.
    pub cost_usd: f64,
    /// Estimated tokens of the prompt.
    pub prompt_tokens: u32,
    /// Which offer the candidate would have taken, before it learned from this task.
    pub candidate: usize,
    /// Which offer the policy in force takes.
    pub in_force: usize,
}

/// A lane that a task could have been put on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The lane.
    pub lane: LaneName,
    /// Its zone.
    pub zone: Zone,
    /// Dollars that its answer was expected to cost.
    pub expected_cost_usd: f64,
    /// Chance of a good answer by the direct model, which is the candidate before it learned from this task.
    pub chance: f64,
    /// The same by the policy in force.
    pub chance_in_force: f64,
}

/// Why a task says nothing about policies that were not followed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InvalidTrial {
    /// It could not have been put anywhere else.
    #[error("the task had one lane open; a trial needs two or more")]
    OneOffer,
    /// One of its indices names no offer.
    #[error("a choice names none of the lanes that were open")]
    NoSuchOffer,
    /// Its lane was not drawn, so that nothing is known of what the others would have done.
    #[error("the propensity {0} is not above 0 and below 1: the lane was not drawn")]
    NotDrawn(f64),
    /// A quality, chance or cost is out of its range.
    #[error("a quality, chance or cost is out of its range")]
    Range,
}

impl Trial {
    /// Whether the trial can be reckoned with.
    ///
    /// # Errors
    /// [`InvalidTrial`] says what is wrong with it.
    pub fn check(&self) -> Result<(), InvalidTrial> {
        if self.offers.len() < 2 {
            return Err(InvalidTrial::OneOffer);
        }
        if [self.chosen, self.candidate, self.in_force].iter().any(|index| *index >= self.offers.len()) {
            return Err(InvalidTrial::NoSuchOffer);
        }
        if !(self.propensity > 0.0 && self.propensity < 1.0) {
            return Err(InvalidTrial::NotDrawn(self.propensity));
        }
        let is_share = |number: f64| (0.0..=1.0).contains(&number);
        let is_cost = |usd: f64| usd.is_finite() && usd >= 0.0;
        let holds = |offer: &Offer| {
            is_share(offer.chance) && is_share(offer.chance_in_force) && is_cost(offer.expected_cost_usd)
        };
        match is_share(self.quality) && is_cost(self.cost_usd) && self.offers.iter().all(holds) {
            true => Ok(()),
            false => Err(InvalidTrial::Range),
        }
    }

    /// What the answer was worth, dollars: its quality at `answer_worth_usd`, less its cost.
    pub(super) fn value(&self, answer_worth_usd: f64) -> f64 {
        self.quality * answer_worth_usd - self.cost_usd
    }

    /// Which offer is the strongest local lane; where none is local, the weakest of all.
    pub(super) fn deepest_local(&self) -> usize {
        self.offers.iter().rposition(|offer| offer.zone == Zone::Local).unwrap_or(0)
    }

    /// Which offer is the strongest cloud lane.
    pub(super) fn cloud(&self) -> Option<usize> {
        self.offers.iter().rposition(|offer| offer.zone == Zone::Cloud)
    }
}

impl Offer {
    /// What the direct model expects of the lane, dollars.
    pub(super) fn expected_value(&self, answer_worth_usd: f64) -> f64 {
        self.chance * answer_worth_usd - self.expected_cost_usd
    }
}
