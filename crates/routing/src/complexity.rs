//! How hard a piece of work looks: the producer's own word where there is one, else the scorer's; and the chance that
//! each lane answers it well enough.

use std::collections::BTreeMap;

use trilane_protocol::decision::{Score, ScoreSource};
use trilane_protocol::{LaneName, Work, Zone};

use crate::features;
use crate::learn::HeadChance;
use crate::learned::{blend, source_of};
use crate::policy::Policy;
use crate::registry::{Lane, Registry};
use crate::score::{ScoreParts, Scorer};

/// How fast a lane's chance falls when the complexity passes its skill: log-odds for each unit. At 10 a
/// task 0.1 above the skill has a chance of 0.27. What is learned of a lane takes the place of this, by evidence.
const CHANCE_SLOPE: f64 = 10.0;

/// How hard a piece of work looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// What the decision shows of it.
    pub score: Score,
    /// The version of the weights that scored.
    pub version: u64,
    /// What the lanes' skills are held against, 0 to 1: the score before anything learned is heard.
    hardness: f64,
    /// What was learned of each lane; empty where the producer has scored.
    heads: BTreeMap<LaneName, HeadChance>,
    /// Outcomes at which a head counts for half.
    learned_after: f64,
}

/// Scores `work`. The producer's number wins, and nothing learned is heard beside it; the prompt's length is estimated in
/// any case. Where heads count, the complexity that is shown is what they leave of the best local lane's chance.
pub fn complexity(work: &Work, scorer: &dyn Scorer, registry: &Registry, policy: &Policy) -> Scored {
    let features = features::extract(&work.messages, &work.generation);
    let prompt_tokens = features.prompt_tokens();
    let parts = match work.complexity {
        Some(complexity) => by_producer(complexity),
        None => scorer.score(&features),
    };
    let ScoreParts { complexity, contributions, source, mut heads } = parts;
    heads.retain(|lane, _| registry.lanes.contains_key(lane));
    let source = if work.complexity.is_some() { source } else { source_of(heads.values()) };
    let mut scored = Scored {
        score: Score { complexity, source, contributions, prompt_tokens },
        version: scorer.version(),
        hardness: complexity,
        heads,
        learned_after: policy.learned_after,
    };
    if source == ScoreSource::Learned {
        scored.score.complexity = 1.0 - scored.best_local_chance(registry);
    }
    scored
}

impl Scored {
    /// Chance, 0 to 1, that the lane answers the work well enough.
    pub fn chance(&self, name: &LaneName, lane: &Lane) -> f64 {
        let log_odds = CHANCE_SLOPE * (lane.skill - self.hardness);
        blend(log_odds, self.heads.get(name), self.learned_after)
    }

    fn best_local_chance(&self, registry: &Registry) -> f64 {
        let local = registry.lanes.iter().filter(|(_, lane)| lane.zone == Zone::Local);
        local.map(|(name, lane)| self.chance(name, lane)).fold(0.0, f64::max)
    }
}

fn by_producer(complexity: f64) -> ScoreParts {
    ScoreParts {
        complexity,
        contributions: Vec::new(),
        source: ScoreSource::Producer,
        heads: BTreeMap::new(),
    }
}
