//! What is told of a decision: as data, and in words. Pure.

use std::fmt::Write;

use serde::Serialize;
use trilane_protocol::decision::{
    Adjustment, Candidate, CandidateVerdict, FindingSource, Score, ScoreSource, ScreenReport,
};
use trilane_protocol::learning::{Outcome, Signs};
use trilane_protocol::{AgentName, Decision, LaneName, ModelName, Sensitivity, TaskId, TaskResult};
use trilane_routing::learn::Weights;

use super::Known;
use crate::output::dollars;

/// Words and features that are named for each lane.
const SHOWN_PARTS: usize = 8;

/// All that is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Told {
    agent: AgentName,
    task_id: TaskId,
    status: &'static str,
    lane: LaneName,
    model: ModelName,
    reason: &'static str,
    explanation: String,
    screen: ScreenReport,
    score: Score,
    threshold: f64,
    candidates: Vec<Candidate>,
    adjustments: Vec<Adjustment>,
    propensity: f64,
    policy_version: String,
    /// Where the words come from, or why there are none.
    text: String,
    /// Hashed words and pairs that the task has.
    hashed_words: Option<usize>,
    /// What the learned head of each lane says.
    heads: Vec<Head>,
    /// Every answer there was, the first one first.
    attempts: Vec<Attempt>,
    /// What was learned of them.
    outcomes: Vec<Outcome>,
}

/// What the learned head of one lane says.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Head {
    lane: LaneName,
    /// The learned chance alone, before it is weighed against the hand-made one.
    chance: f64,
    /// Weight of the outcomes that it rests on.
    evidence: f64,
    /// What holds for every task, log-odds; absent without the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    bias: Option<f64>,
    /// The largest parts, by word or feature.
    parts: Vec<Part>,
    /// How many smaller ones there are.
    more_parts: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Part {
    name: String,
    log_odds: f64,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Attempt {
    lane: LaneName,
    model: Option<ModelName>,
    cost_usd: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    signs: Option<Signs>,
    /// Why it was not good enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

pub(super) fn told(
    result: &TaskResult,
    decision: &Decision,
    known: &Known,
    weights: &Weights,
    missing: Option<String>,
    outcomes: Vec<Outcome>,
) -> Told {
    let features = known.features();
    Told {
        agent: result.agent.clone(),
        task_id: result.task_id.clone(),
        status: result.status.as_str(),
        lane: decision.lane.clone(),
        model: decision.model.clone(),
        reason: decision.reason.as_str(),
        explanation: decision.explanation.clone(),
        screen: decision.screen.clone(),
        score: decision.score.clone(),
        threshold: decision.threshold,
        candidates: decision.candidates.clone(),
        adjustments: decision.adjustments.clone(),
        propensity: decision.propensity,
        policy_version: decision.policy_version.clone(),
        text: missing.unwrap_or_else(|| text_of(known)),
        hashed_words: features.as_ref().map(|features| features.hashed.len()),
        heads: heads(known, weights),
        attempts: attempts(result),
        outcomes,
    }
}

fn text_of(known: &Known) -> String {
    match known {
        Known::Text(_, _, origin) => (*origin).to_owned(),
        Known::Features(_) => {
            "not kept: the task is private or too long; --task FILE names its words, and keeps nothing"
                .to_owned()
        }
        Known::Nothing => "nothing is kept of the task any more (streams.examples_max_age_s)".to_owned(),
    }
}

fn heads(known: &Known, weights: &Weights) -> Vec<Head> {
    let Some(features) = known.features() else { return Vec::new() };
    let head = |lane: &LaneName| {
        let head = weights.chance(&features, lane)?;
        let explained = match known {
            Known::Text(messages, generation, _) => weights.explain(messages, generation, lane),
            Known::Features(_) | Known::Nothing => None,
        };
        let all = explained.as_ref().map_or(0, |explained| explained.parts.len());
        let parts = explained.iter().flat_map(|explained| &explained.parts).take(SHOWN_PARTS);
        let parts: Vec<Part> =
            parts.map(|part| Part { name: part.name.clone(), log_odds: part.log_odds }).collect();
        Some(Head {
            lane: lane.clone(),
            chance: head.chance,
            evidence: head.evidence,
            bias: explained.as_ref().map(|explained| explained.bias),
            more_parts: all - parts.len(),
            parts,
        })
    };
    weights.lanes().filter_map(head).collect()
}

fn attempts(result: &TaskResult) -> Vec<Attempt> {
    let earlier = result.earlier.as_ref().map(|earlier| Attempt {
        lane: earlier.lane.clone(),
        model: Some(earlier.model.clone()),
        cost_usd: earlier.cost_usd,
        signs: Some(earlier.signs.clone()),
        why_not: Some(earlier.reason.clone()),
    });
    let earlier_usd = earlier.as_ref().map_or(0.0, |earlier| earlier.cost_usd);
    let last = result.lane.as_ref().map(|lane| Attempt {
        lane: lane.clone(),
        model: result.model.clone(),
        cost_usd: (result.cost_usd - earlier_usd).max(0.0),
        signs: result.signs.clone(),
        why_not: result.error.as_ref().map(|error| error.message.clone()),
    });
    earlier.into_iter().chain(last).collect()
}

/// The same for people. Writing to a string never fails.
pub(super) fn words(told: &Told) -> String {
    let mut text = format!(
        "task {} of {}: {} on `{}` ({}), {}\n  {}\n",
        told.task_id, told.agent, told.status, told.lane, told.model, told.reason, told.explanation
    );
    for Adjustment { from, to, cause } in &told.adjustments {
        let _ = writeln!(text, "  moved from `{from}` to `{to}`: {}", cause.as_str());
    }
    screen(&mut text, &told.screen);
    score(&mut text, told);
    lanes(&mut text, told);
    head_words(&mut text, told);
    endings(&mut text, told);
    text.trim_end().to_owned()
}

fn screen(text: &mut String, screen: &ScreenReport) {
    let verdict = match screen.sensitivity {
        Sensitivity::Public => "public: it may leave the local zone",
        Sensitivity::Private => "private: it is only ever shown local lanes",
    };
    let _ = writeln!(text, "\nscreen     {verdict}");
    for finding in &screen.findings {
        let source = match finding.source {
            FindingSource::Task => "the task says",
            FindingSource::Tag => "a tag",
            FindingSource::Agent => "the agent's default",
            FindingSource::Untagged => "nobody says, policy.untagged",
            FindingSource::Detector => "found in the text",
            FindingSource::Inherited => "an earlier hop or step",
        };
        let _ = writeln!(text, "  {source}: {} ({})", finding.kind, finding.count);
    }
}

fn score(text: &mut String, told: &Told) {
    let Told { score, .. } = told;
    let source = match score.source {
        ScoreSource::Producer => "the producer",
        ScoreSource::ColdStart => "hand-made features",
        ScoreSource::Learned => "learned weights",
    };
    let _ = writeln!(
        text,
        "\nscore      {:.2} by {source}, about {} tokens",
        score.complexity, score.prompt_tokens
    );
    for part in &score.contributions {
        let _ = writeln!(text, "  {:+.2}  {}", part.log_odds, part.feature);
    }
}

fn lanes(text: &mut String, told: &Told) {
    let _ = writeln!(text, "\nlanes      a chance of {:.2} was to be reached", told.threshold);
    for candidate in &told.candidates {
        let verdict = match candidate.verdict {
            CandidateVerdict::Eligible => "good enough",
            CandidateVerdict::TooWeak => "below it",
            CandidateVerdict::TooLong => "the prompt does not fit",
            CandidateVerdict::TooExpensive => "over max_cost_usd",
        };
        let mark = if candidate.lane == told.lane { '*' } else { ' ' };
        let _ = writeln!(
            text,
            " {mark} {:<14} {:.2}  {:>9}  {verdict}",
            candidate.lane.as_str(),
            candidate.chance,
            dollars(candidate.expected_cost_usd)
        );
    }
    let _ = writeln!(
        text,
        "  taken with a probability of {:.3}, by policy {}",
        told.propensity, told.policy_version
    );
}

fn head_words(text: &mut String, told: &Told) {
    let words = told.hashed_words.map_or(String::new(), |count| format!("{count} words and pairs; "));
    let _ = writeln!(text, "\nlearned    {words}text {}", told.text);
    for head in &told.heads {
        let _ = writeln!(
            text,
            "  {:<14} {:.2} from {:.0} outcomes",
            head.lane.as_str(),
            head.chance,
            head.evidence
        );
        if let Some(bias) = head.bias {
            let _ = writeln!(text, "    {bias:+.2}  any task");
        }
        for part in &head.parts {
            let _ = writeln!(text, "    {:+.2}  {}", part.log_odds, part.name);
        }
        if head.more_parts > 0 {
            let _ = writeln!(text, "    and {} smaller parts", head.more_parts);
        }
    }
}

fn endings(text: &mut String, told: &Told) {
    text.push_str("\nanswers\n");
    for attempt in &told.attempts {
        let model = attempt.model.as_ref().map_or("-", ModelName::as_str);
        let _ = writeln!(text, "  {} ({model}), {}", attempt.lane, dollars(attempt.cost_usd));
        if let Some(why_not) = &attempt.why_not {
            let _ = writeln!(text, "    {why_not}");
        }
    }
    for outcome in &told.outcomes {
        let (lane, source) = (&outcome.lane, outcome.source.as_str());
        let _ = writeln!(text, "  quality {:.2} on {lane} by {source}, at {}", outcome.quality, outcome.at);
    }
    if told.outcomes.is_empty() {
        text.push_str("  nobody has judged it: `trilane feedback` does\n");
    }
}

#[cfg(test)]
mod tests;
