//! Tasks that went up after a first try, with what both tries cost, and what shadows have shown.

use std::collections::BTreeMap;

use serde::Serialize;
use trilane_protocol::learning::OutcomeSource;

use super::facts::{Evidence, Task};
use super::flags::DOES;
use super::quality::Quality;

/// Tasks that went from one lane to a stronger one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Escalated {
    /// The lane that tried first.
    pub from: String,
    /// The lane that it ended on.
    pub to: String,
    /// Tasks.
    pub tasks: u64,
    /// Those whose first lane gave an answer that was not good enough; the others it could not run.
    pub improved: u64,
    /// Dollars of the first answers.
    pub first_usd: f64,
    /// Dollars of what came after.
    pub second_usd: f64,
    /// How good the second answers were.
    pub quality: Quality,
}

/// What local lanes would have made of tasks that the cloud answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shadows {
    /// Tasks that were run once more on a local lane, and judged.
    pub judged: u64,
    /// Those whose local answer would have done.
    pub would_do: u64,
    /// Dollars that the cloud took for the latter.
    pub would_do_usd: f64,
    /// How good the local answers were.
    pub quality: Quality,
}

#[derive(Default)]
struct Sums {
    tasks: u64,
    improved: u64,
    first_usd: f64,
    second_usd: f64,
    evidence: Vec<Evidence>,
}

/// By both lanes, the most frequent first.
pub(super) fn escalated<'a>(tasks: impl Iterator<Item = &'a Task>, one_in: u64) -> Vec<Escalated> {
    let mut pairs: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for task in tasks {
        let Some(answer) = task.answer.as_ref().filter(|answer| answer.is_escalated) else { continue };
        let first = task.choice.as_ref().filter(|_| task.is_first_choice).map(|choice| &choice.lane);
        let from = answer.earlier.as_ref().map(|earlier| &earlier.lane).or(first);
        let name =
            |lane: Option<&super::facts::Name>| lane.map_or_else(|| "-".to_owned(), ToString::to_string);
        let sums = pairs.entry((name(from), name(answer.lane.as_ref()))).or_default();
        let first_usd = answer.earlier.as_ref().map_or(0.0, |earlier| earlier.cost_usd);
        sums.tasks += 1;
        sums.improved += u64::from(answer.earlier.is_some());
        sums.first_usd += first_usd;
        sums.second_usd += (answer.cost_usd - first_usd).max(0.0);
        sums.evidence.extend(task.evidence());
    }
    let row = |((from, to), sums): ((String, String), Sums)| Escalated {
        from,
        to,
        tasks: sums.tasks.saturating_mul(one_in),
        improved: sums.improved.saturating_mul(one_in),
        first_usd: sums.first_usd * one_in as f64,
        second_usd: sums.second_usd * one_in as f64,
        quality: Quality::of(sums.evidence),
    };
    let mut rows: Vec<Escalated> = pairs.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.tasks));
    rows
}

/// What is known from shadows.
pub(super) fn shadows<'a>(tasks: impl Iterator<Item = &'a Task>, one_in: u64) -> Shadows {
    let (mut evidence, mut would_do, mut would_do_usd) = (Vec::new(), 0_u64, 0.0);
    for task in tasks {
        let Some(best) = best_shadow(task) else { continue };
        if best.quality >= DOES {
            would_do += 1;
            would_do_usd += task.answer.as_ref().map_or(0.0, |answer| answer.cost_usd);
        }
        evidence.push(best);
    }
    Shadows {
        judged: (evidence.len() as u64).saturating_mul(one_in),
        would_do: would_do.saturating_mul(one_in),
        would_do_usd: would_do_usd * one_in as f64,
        quality: Quality::of(evidence),
    }
}

/// The best answer that a shadow of the task gave, if one was judged.
pub(super) fn best_shadow(task: &Task) -> Option<Evidence> {
    let is_shadow = |known: &Evidence| known.source == OutcomeSource::Shadow;
    task.evidence_by_lane().filter(is_shadow).max_by(|left, right| left.quality.total_cmp(&right.quality))
}
