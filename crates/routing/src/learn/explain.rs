//! Which words and features a chance is made of.

use trilane_protocol::{Generation, Message};

use super::head::Head;
use super::vector::{BIAS, Vector};
use crate::features;
use crate::score::logistic;

/// What a chance is made of: `bias` and all `parts` add up to `log_odds`.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Log-odds of a task of which nothing is known.
    pub bias: f64,
    /// Parts, the largest first.
    pub parts: Vec<Part>,
    /// Log-odds of a good answer.
    pub log_odds: f64,
    /// The chance that the log-odds stand for.
    pub chance: f64,
}

/// What one word, pair of words or feature adds. Words are the task's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The word, the pair, or the feature; several where they share a bucket.
    pub name: String,
    /// What it adds, log-odds.
    pub log_odds: f64,
}

pub(super) fn explain(head: &Head, messages: &[Message], generation: &Generation) -> Explanation {
    let vector = Vector::of(&features::extract(messages, generation));
    let (mut bias, mut parts) = (0.0, Vec::new());
    for (slot, value) in &vector.entries {
        let log_odds = f64::from(head.weights[*slot as usize] * value);
        if *slot == BIAS {
            bias += log_odds;
        } else {
            parts.push(Part { name: format!("bucket {slot}"), log_odds });
        }
    }
    parts.sort_by(|left, right| right.log_odds.abs().total_cmp(&left.log_odds.abs()));
    let log_odds = bias + parts.iter().map(|part| part.log_odds).sum::<f64>();
    Explanation { bias, parts, log_odds, chance: logistic(log_odds) }
}
