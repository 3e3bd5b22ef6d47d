//! Which words and features a chance is made of.

use std::collections::BTreeMap;

use trilane_protocol::{Generation, Message};

use super::head::Head;
use super::vector::Vector;
use crate::features::{self, BUCKETS};
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
    /// The word, the pair, or the feature in brackets, which no word has; several where they share a bucket.
    pub name: String,
    /// What it adds, log-odds.
    pub log_odds: f64,
}

pub(super) fn explain(head: &Head, messages: &[Message], generation: &Generation) -> Explanation {
    let features = features::extract(messages, generation);
    let words = features::name_buckets(messages);
    let numbers: Vec<String> = features.dense().map(|(name, _)| format!("[{name}]")).collect();
    let mut bias = head.calibration.offset;
    let mut by_name: BTreeMap<&str, f64> = BTreeMap::new();
    for (slot, value) in Vector::of(&features).entries {
        let log_odds = head.calibration.slope * f64::from(head.weights[slot as usize]) * f64::from(value);
        let name = match slot.checked_sub(BUCKETS) {
            None => words.get(&slot).map_or("a word", String::as_str),
            Some(number) => match numbers.get(number as usize) {
                Some(name) => name,
                None => {
                    bias += log_odds;
                    continue;
                }
            },
        };
        *by_name.entry(name).or_default() += log_odds;
    }
    let mut parts: Vec<Part> =
        by_name.into_iter().map(|(name, log_odds)| Part { name: name.to_owned(), log_odds }).collect();
    parts.sort_by(|left, right| right.log_odds.abs().total_cmp(&left.log_odds.abs()));
    let log_odds = bias + parts.iter().map(|part| part.log_odds).sum::<f64>();
    Explanation { bias, parts, log_odds, chance: logistic(log_odds) }
}
