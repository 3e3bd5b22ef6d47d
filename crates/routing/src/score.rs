//! How hard a task looks: the seam that learned weights plug into, and the score until there are any.

use std::collections::BTreeMap;

use trilane_protocol::LaneName;
use trilane_protocol::decision::{Contribution, ScoreSource};

use crate::features::Features;
use crate::learn::HeadChance;
use crate::snapshot::HAND_MADE;

/// Scores a task by its features.
pub trait Scorer: std::fmt::Debug + Send + Sync {
    /// The score and what led to it. Never fails, and is finite for any features.
    fn score(&self, features: &Features) -> ScoreParts;

    /// The version of the weights that it scores with.
    fn version(&self) -> u64 {
        HAND_MADE
    }
}

/// A score with its largest parts.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreParts {
    /// Chance, 0 to 1, that the local answer would not be good enough.
    pub complexity: f64,
    /// The parts of the largest weight, in log-odds, largest first; at most [`MAX_CONTRIBUTIONS`].
    pub contributions: Vec<Contribution>,
    /// Who scored.
    pub source: ScoreSource,
    /// What the learned head of each lane says, where there is one; empty before anything was learned.
    pub heads: BTreeMap<LaneName, HeadChance>,
}

/// Most parts of a score that a decision shows.
pub const MAX_CONTRIBUTIONS: usize = 5;

/// The score before anything was learned: a logistic function of the features with weights set by hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct ColdStart;

/// Log-odds of a short plain request.
const BASE: f64 = -1.3;

/// Log-odds for each unit of a feature, less the value that an ordinary short request has.
const WEIGHTS: &[(&str, f64, f64)] = &[
    ("log_tokens", 0.45, 3.0),
    ("turns", 0.08, 1.0),
    ("code_fences", 0.5, 0.0),
    ("code_share", 2.0, 0.0),
    ("math_symbols", 0.1, 0.0),
    ("mean_word_bytes", 0.1, 4.5),
    ("reasoning_words", 1.2, 0.0),
    ("routine_words", -0.7, 0.0),
    ("constraint_words", 0.15, 0.0),
    ("list_items", 0.05, 0.0),
    ("log_answer_tokens", 0.05, 0.0),
    ("json_schema", 0.2, 0.0),
];

impl Scorer for ColdStart {
    fn score(&self, features: &Features) -> ScoreParts {
        let mut parts: Vec<_> =
            features.iter().filter_map(part).filter(|(_, log_odds)| *log_odds != 0.0).collect();
        let log_odds = BASE + parts.iter().map(|(_, log_odds)| log_odds).sum::<f64>();
        parts.sort_by(|(_, left), (_, right)| right.abs().total_cmp(&left.abs()));
        let named = |(feature, log_odds): (&str, f64)| Contribution { feature: feature.to_owned(), log_odds };
        ScoreParts {
            complexity: logistic(log_odds),
            contributions: parts.into_iter().take(MAX_CONTRIBUTIONS).map(named).collect(),
            source: ScoreSource::ColdStart,
            heads: BTreeMap::new(),
        }
    }
}

/// What one feature adds, log-odds.
fn part((name, value): (&'static str, f64)) -> Option<(&'static str, f64)> {
    let (_, weight, usual) = WEIGHTS.iter().find(|(weighted, ..)| *weighted == name)?;
    Some((name, (weight * (value - usual)).clamp(-MAX_PART, MAX_PART)))
}

/// The most that one feature may say, log-odds: no single count decides alone.
const MAX_PART: f64 = 2.5;

/// The chance that log-odds stand for.
pub fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trilane_protocol::{Generation, Message, Role};

    use super::*;
    use crate::features::extract;

    fn complexity(text: &str) -> f64 {
        let message = Message { role: Role::User, content: text.to_owned() };
        ColdStart.score(&extract(&[message], &Generation::default())).complexity
    }

    #[test]
    fn routine_requests_stay_low() {
        for text in [
            "Translate 'good morning' to French",
            "Rewrite this in capitals",
            "Fix the spelling: teh cat",
            "Classify this e-mail as spam or not spam",
            "What is the capital of Norway?",
        ] {
            assert!(complexity(text) < 0.35, "{text}: {}", complexity(text));
        }
    }

    #[test]
    fn long_routine_requests_stay_in_the_middle() {
        let paragraph = "The harbour was quiet that morning and the boats lay close together. ".repeat(25);
        let text = format!("Summarise this paragraph in two sentences: {paragraph}");
        assert!(complexity(&text) < 0.6, "{}", complexity(&text));
    }

    #[test]
    fn requests_for_thought_score_high() {
        for text in [
            "Prove that there are infinitely many primes of form 4k+3 and compare two proof strategies",
            "Design a fault-tolerant distributed lock service; analyse failure modes",
            "Derive the closed form, justify each step and evaluate the consequences for the asymptotic complexity",
        ] {
            assert!(complexity(text) > 0.6, "{text}: {}", complexity(text));
        }
    }

    #[test]
    fn contributions_are_the_largest_first_and_few() {
        let message =
            Message { role: Role::User, content: "Prove that x = y + 1 must hold; compare both.".to_owned() };
        let parts = ColdStart.score(&extract(&[message], &Generation::default())).contributions;
        assert!(!parts.is_empty() && parts.len() <= MAX_CONTRIBUTIONS);
        assert!(parts.is_sorted_by(|left, right| left.log_odds.abs() >= right.log_odds.abs()));
        assert_eq!(parts[0].feature, "reasoning_words");
    }

    proptest! {
        #[test]
        fn any_text_scores_between_0_and_1(text in any::<String>(), turns in 0_usize..4, max_tokens in any::<Option<u32>>()) {
            let messages = vec![Message { role: Role::User, content: text }; turns];
            let generation = Generation { max_tokens, ..Generation::default() };
            let score = ColdStart.score(&extract(&messages, &generation));
            prop_assert!(score.complexity.is_finite() && (0.0..=1.0).contains(&score.complexity));
            prop_assert!(score.contributions.iter().all(|part| part.log_odds.is_finite()));
        }
    }
}
