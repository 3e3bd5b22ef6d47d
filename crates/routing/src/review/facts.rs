//! What the review keeps of one task: numbers and names of its result, its first decision and what is known of its
//! quality; no text.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use trilane_protocol::decision::{Candidate, CandidateVerdict, Reason, Sensitivity};
use trilane_protocol::learning::{Outcome, OutcomeSource, Signs};
use trilane_protocol::{Decision, Status, TaskResult, Usage, Zone};

use crate::registry::Registry;

/// Share of an answer, 0 to 1, that says again what it has said before, from which on it is called repeating.
const REPEATS: f64 = 0.5;

/// A name that many tasks share.
pub(super) type Name = Arc<str>;

/// Each name once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Name>);

impl Names {
    pub(super) fn shared(&mut self, name: &str) -> Name {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Name = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

/// One task.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) answer: Option<Answer>,
    /// The first decision; of a task whose record is not in the log, the last.
    pub(super) choice: Option<Choice>,
    /// Whether `choice` is from the routing log.
    pub(super) is_first_choice: bool,
    /// At most one for each lane and source.
    outcomes: Vec<Evidence>,
    /// A verdict on the result, as its reader gave it.
    pub(super) feedback: Option<f64>,
}

/// How a task ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) task_seq: Option<u64>,
    pub(super) status: Status,
    pub(super) lane: Option<Name>,
    pub(super) zone: Option<Zone>,
    pub(super) model: Option<Name>,
    /// Tokens of the answer itself, without those of an earlier one.
    pub(super) usage: Usage,
    pub(super) cost_usd: f64,
    /// From publish to the start of the last attempt.
    pub(super) queued_ms: u64,
    pub(super) run_ms: u64,
    pub(super) earlier: Option<Earlier>,
    pub(super) is_escalated: bool,
    pub(super) signs: Seen,
}

/// The answer before.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) lane: Name,
    pub(super) cost_usd: f64,
}

/// What a worker saw of its answer.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) is_refused: bool,
    pub(super) is_repeating: bool,
    pub(super) failed_validators: u32,
}

/// Why a lane.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) decided_at: Timestamp,
    pub(super) sensitivity: Sensitivity,
    pub(super) lane: Name,
    pub(super) reason: Reason,
    pub(super) threshold: f64,
    pub(super) version: Name,
    pub(super) candidates: Box<[Weighed]>,
}

/// A lane that was considered.
#[derive(Debug)]
pub(super) struct Weighed {
    pub(super) lane: Name,
    pub(super) zone: Zone,
    pub(super) chance: f64,
    pub(super) cost_usd: f64,
    /// Whether prompt, answer and price are within bounds.
    pub(super) fits: bool,
}

/// How good one lane's answer to the task was.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) lane: Name,
    /// The model that gave it.
    pub(super) model: Name,
    pub(super) quality: f64,
    pub(super) source: OutcomeSource,
    /// Chance that the policy had given the lane.
    pub(super) chance: f64,
}

impl Task {
    /// A further outcome; of two from one source on one lane the later stands.
    pub(super) fn learn(&mut self, outcome: &Outcome, names: &mut Names) {
        let evidence = Evidence {
            lane: names.shared(outcome.lane.as_str()),
            model: names.shared(outcome.model.as_str()),
            quality: share(outcome.quality),
            source: outcome.source,
            chance: share(outcome.chance),
        };
        self.outcomes.retain(|known| known.lane != evidence.lane || known.source != evidence.source);
        self.outcomes.push(evidence);
    }

    /// What is known of a lane's answer, from the weightiest source.
    pub(super) fn evidence_on(&self, lane: &str) -> Option<Evidence> {
        let is_answer =
            |answer: &&Answer| answer.status == Status::Done && answer.lane.as_deref() == Some(lane);
        if let Some((quality, answer)) = self.feedback.zip(self.answer.as_ref().filter(is_answer)) {
            return Some(Evidence {
                lane: answer.lane.clone()?,
                model: answer.model.clone()?,
                quality,
                source: OutcomeSource::Feedback,
                chance: self.chance_of(lane).unwrap_or(quality),
            });
        }
        self.outcomes.iter().filter(|known| &*known.lane == lane).max_by_key(|known| known.source).cloned()
    }

    /// What is known of the result, from the weightiest source.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        let answer = self.answer.as_ref().filter(|answer| answer.status == Status::Done)?;
        self.evidence_on(answer.lane.as_deref()?)
    }

    /// What is known of each lane, from the weightiest source.
    pub(super) fn evidence_by_lane(&self) -> impl Iterator<Item = Evidence> {
        let own = self.answer.as_ref().and_then(|answer| answer.lane.clone());
        let mut lanes: Vec<Name> = self.outcomes.iter().map(|known| known.lane.clone()).chain(own).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes.into_iter().filter_map(|lane| self.evidence_on(&lane))
    }

    /// The chance that the first decision gave a lane.
    pub(super) fn chance_of(&self, lane: &str) -> Option<f64> {
        let candidates = &self.choice.as_ref()?.candidates;
        candidates.iter().find(|candidate| &*candidate.lane == lane).map(|candidate| candidate.chance)
    }

    /// Whether the task is answered.
    pub(super) fn done(&self) -> Option<&Answer> {
        self.answer.as_ref().filter(|answer| answer.status == Status::Done)
    }

    /// What the screen said; absent where nothing was decided.
    pub(super) fn sensitivity(&self) -> Option<Sensitivity> {
        self.choice.as_ref().map(|choice| choice.sensitivity)
    }
}

impl Answer {
    pub(super) fn of(result: &TaskResult, registry: &Registry, names: &mut Names) -> Self {
        let Usage { prompt_tokens, completion_tokens, cached_tokens } = result.usage;
        let before = result.earlier.as_ref().map(|earlier| earlier.usage).unwrap_or_default();
        let decision = result.decision.as_ref();
        let zone_of = |lane| {
            let registered = registry.lanes.get(lane).map(|lane| lane.zone);
            registered
                .or_else(|| decision.filter(|decision| decision.lane == *lane).map(|decision| decision.zone))
        };
        Self {
            task_seq: result.task_seq,
            status: result.status,
            lane: result.lane.as_ref().map(|lane| names.shared(lane.as_str())),
            zone: result.lane.as_ref().and_then(zone_of),
            model: result.model.as_ref().map(|model| names.shared(model.as_str())),
            usage: Usage {
                prompt_tokens: prompt_tokens.saturating_sub(before.prompt_tokens),
                completion_tokens: completion_tokens.saturating_sub(before.completion_tokens),
                cached_tokens: cached_tokens.saturating_sub(before.cached_tokens),
            },
            cost_usd: amount(result.cost_usd),
            queued_ms: result.timing_ms.queued.saturating_add(result.timing_ms.waited),
            run_ms: result.timing_ms.run,
            earlier: result.earlier.as_ref().map(|earlier| Earlier {
                lane: names.shared(earlier.lane.as_str()),
                cost_usd: amount(earlier.cost_usd),
            }),
            is_escalated: result.earlier.is_some()
                || decision.is_some_and(|decision| decision.reason == Reason::Escalated),
            signs: result.signs.as_ref().map(Seen::of).unwrap_or_default(),
        }
    }
}

impl Seen {
    fn of(signs: &Signs) -> Self {
        Self {
            is_refused: signs.refused,
            is_repeating: signs.repetition >= REPEATS,
            failed_validators: u32::try_from(signs.failed.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Choice {
    pub(super) fn of(decision: &Decision, registry: &Registry, names: &mut Names) -> Self {
        let candidates = decision.candidates.iter();
        Self {
            decided_at: decision.decided_at,
            sensitivity: decision.screen.sensitivity,
            lane: names.shared(decision.lane.as_str()),
            reason: decision.reason,
            threshold: share(decision.threshold),
            version: names.shared(&decision.policy_version),
            candidates: candidates.map(|candidate| Weighed::of(candidate, registry, names)).collect(),
        }
    }

    /// Whether the router had a choice at all.
    pub(super) fn is_free(&self) -> bool {
        !matches!(self.reason, Reason::Pinned | Reason::PrivatePin | Reason::Shadowed)
            && self.candidates.len() > 1
    }
}

impl Weighed {
    fn of(candidate: &Candidate, registry: &Registry, names: &mut Names) -> Self {
        let registered = registry.lanes.get(&candidate.lane).map(|lane| lane.zone);
        // A lane that is gone from the configuration is known by its price.
        let by_price = if candidate.expected_cost_usd > 0.0 { Zone::Cloud } else { Zone::Local };
        Self {
            lane: names.shared(candidate.lane.as_str()),
            zone: registered.unwrap_or(by_price),
            chance: share(candidate.chance),
            cost_usd: amount(candidate.expected_cost_usd),
            fits: matches!(candidate.verdict, CandidateVerdict::Eligible | CandidateVerdict::TooWeak),
        }
    }
}

/// A number from 0 to 1, whatever a record says.
pub(super) fn share(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number.clamp(0.0, 1.0) }
}

/// An amount of dollars, whatever a record says.
pub(super) fn amount(usd: f64) -> f64 {
    if usd.is_finite() { usd.max(0.0) } else { 0.0 }
}
