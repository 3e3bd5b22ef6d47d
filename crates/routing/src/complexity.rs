//! How hard a piece of work looks: the producer's own word where there is one, else the scorer's.

use trilane_protocol::Work;
use trilane_protocol::decision::{Score, ScoreSource};

use crate::features;
use crate::score::Scorer;

/// Scores `work`. The producer's number wins; the prompt's length is estimated in any case.
pub fn complexity(work: &Work, scorer: &dyn Scorer) -> Score {
    let features = features::extract(&work.messages, &work.generation);
    let parts = scorer.score(&features);
    match work.complexity {
        Some(complexity) => Score {
            complexity,
            source: ScoreSource::Producer,
            contributions: Vec::new(),
            prompt_tokens: features.prompt_tokens(),
        },
        None => Score {
            complexity: parts.complexity,
            source: parts.source,
            contributions: parts.contributions,
            prompt_tokens: features.prompt_tokens(),
        },
    }
}
