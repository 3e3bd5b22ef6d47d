//! What of the trials can be reckoned with: lanes that enough of them took. Of any other lane there is nothing but a guess.

use std::collections::{BTreeMap, BTreeSet};

use trilane_protocol::LaneName;

use super::trial::Trial;

/// Trials that must have taken a lane. Of a lane without workers there are none, and with fewer than this the spread of its
/// answers is not known either, so that a guess would pass for certainty.
const MIN_TAKEN: usize = 5;

/// The trials that are left, and what was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Supported {
    /// Trials among lanes that enough of them took.
    pub trials: Vec<Trial>,
    /// Lanes that were offered, and that nearly no trial took: neither the candidate nor a control is reckoned on them.
    pub left_out: Vec<LaneName>,
}

/// Leaves out lanes that fewer than five trials took, as a fleet without workers there has them: they are offers on paper.
///
/// What a policy would have put on such a lane is reckoned as the policy in force would have fared: nobody gains by sending
/// tasks where no one is. The few trials that took such a lane are left out, and those to which one lane is left.
pub fn supported(trials: &[Trial]) -> Supported {
    let valid = || trials.iter().filter(|trial| trial.check().is_ok());
    let mut taken: BTreeMap<&LaneName, usize> = BTreeMap::new();
    for trial in valid() {
        *taken.entry(&trial.offers[trial.chosen].lane).or_default() += 1;
    }
    let is_taken = |lane: &LaneName| taken.get(lane).is_some_and(|count| *count >= MIN_TAKEN);
    let offered: BTreeSet<&LaneName> =
        valid().flat_map(|trial| trial.offers.iter().map(|o| &o.lane)).collect();
    Supported {
        trials: valid().filter_map(|trial| among(trial, is_taken)).collect(),
        left_out: offered.into_iter().filter(|lane| !is_taken(lane)).cloned().collect(),
    }
}

/// The trial with those of its offers that hold; none where it took another, or had no choice among them.
fn among(trial: &Trial, is_taken: impl Fn(&LaneName) -> bool) -> Option<Trial> {
    let offers: Vec<_> = trial.offers.iter().filter(|offer| is_taken(&offer.lane)).cloned().collect();
    let place = |old: usize| offers.iter().position(|offer| offer.lane == trial.offers[old].lane);
    let kept = Trial { chosen: place(trial.chosen)?, ..trial.clone() };
    let (in_force, candidate) = (place(trial.in_force), place(trial.candidate));
    let mut kept = Trial { offers, ..kept };
    kept.in_force = in_force.unwrap_or_else(|| kept.deepest_local());
    kept.candidate = candidate.unwrap_or(kept.in_force);
    kept.check().is_ok().then_some(kept)
}
