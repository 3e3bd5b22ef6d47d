//! Scoring with learned weights: the hand-made score, with what the head of each lane says beside it, and how the two
//! are weighed against each other.

use std::sync::Arc;

use trilane_protocol::decision::ScoreSource;

use crate::features::Features;
use crate::learn::{HeadChance, Weights};
use crate::score::{ColdStart, ScoreParts, Scorer, logistic};
use crate::snapshot::HAND_MADE;

/// The weights of the version in force. Cheap to clone; without heads it scores as [`ColdStart`] does.
#[derive(Debug, Clone)]
pub struct LearnedScorer {
    weights: Arc<Weights>,
    version: u64,
}

impl LearnedScorer {
    /// Scores with the weights of `version`.
    pub fn new(weights: Arc<Weights>, version: u64) -> Self {
        Self { weights, version }
    }

    /// Before anything was learned.
    pub fn hand_made() -> Self {
        Self { weights: Arc::default(), version: HAND_MADE }
    }
}

impl Scorer for LearnedScorer {
    fn score(&self, features: &Features) -> ScoreParts {
        let head = |lane| Some((Clone::clone(lane), self.weights.chance(features, lane)?));
        ScoreParts { heads: self.weights.lanes().filter_map(head).collect(), ..ColdStart.score(features) }
    }

    fn version(&self) -> u64 {
        self.version
    }
}

/// Who scored, where these heads count beside the hand-made score.
pub(crate) fn source_of<'a>(heads: impl IntoIterator<Item = &'a HeadChance>) -> ScoreSource {
    match heads.into_iter().any(counts) {
        true => ScoreSource::Learned,
        false => ScoreSource::ColdStart,
    }
}

/// Whether a head says anything.
fn counts(head: &HeadChance) -> bool {
    head.evidence > 0.0 && head.evidence.is_finite() && (0.0..=1.0).contains(&head.chance)
}

/// The largest log-odds that a head is heard with: one that is too sure of itself must still be outvoted.
const MAX_LOG_ODDS: f64 = 12.0;

/// The chance that hand-made log-odds and a head make together. The head counts for half at `learned_after` outcomes, and
/// for more the more there are; where it knows nothing it changes nothing.
pub(crate) fn blend(hand_made_log_odds: f64, head: Option<&HeadChance>, learned_after: f64) -> f64 {
    let Some(head) = head.filter(|head| counts(head)) else { return logistic(hand_made_log_odds) };
    let trust = head.evidence / (head.evidence + learned_after);
    let learned = (head.chance / (1.0 - head.chance)).ln().clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS);
    logistic((1.0 - trust) * hand_made_log_odds + trust * learned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trilane_protocol::{Generation, LaneName, Message, Role};

    use super::*;
    use crate::features::extract;

    #[test]
    fn a_head_counts_for_half_at_its_evidence_and_for_nothing_without() {
        let head = |chance, evidence| HeadChance { chance, evidence };
        let cold = logistic(1.0);
        assert!((blend(1.0, None, 50.0) - cold).abs() < 1e-12);
        assert!((blend(1.0, Some(&head(0.01, 0.0)), 50.0) - cold).abs() < 1e-12);
        assert!((blend(1.0, Some(&head(logistic(-3.0), 50.0)), 50.0) - logistic(-1.0)).abs() < 1e-9);
        let much = blend(1.0, Some(&head(logistic(-3.0), 1e9)), 50.0);
        assert!((much - logistic(-3.0)).abs() < 1e-6, "{much}");
    }

    #[test]
    fn the_hand_made_score_stays_and_the_heads_stand_beside_it() {
        let message = Message { role: Role::User, content: "Prove it; compare both.".into() };
        let features = extract(&[message], &Generation::default());
        let lane: LaneName = "cloud".parse().unwrap();
        let mut weights = Weights::default();
        weights.learn(&features, &lane, 1.0, 1.0).unwrap();
        let scorer = LearnedScorer::new(Arc::new(weights.clone()), 4);
        let (learned, cold) = (scorer.score(&features), ColdStart.score(&features));
        assert_eq!((scorer.version(), ColdStart.version()), (4, HAND_MADE));
        assert_eq!(learned.heads[&lane], weights.chance(&features, &lane).unwrap());
        assert_eq!(ScoreParts { heads: cold.heads.clone(), ..learned }, cold);
        assert_eq!(LearnedScorer::hand_made().score(&features), cold);
    }

    proptest! {
        #[test]
        fn whatever_a_head_says_the_chance_is_one(
            log_odds in -20.0..20.0_f64, chance in any::<f64>(), evidence in any::<f64>(), after in 0.001..1e6_f64,
        ) {
            let chance = blend(log_odds, Some(&HeadChance { chance, evidence }), after);
            prop_assert!((0.0..=1.0).contains(&chance), "{chance}");
        }
    }
}
