//! Tasks, spend, quality and waiting by lane, by agent and by model.

use std::collections::BTreeMap;

use serde::Serialize;
use trilane_protocol::decision::Sensitivity;
use trilane_protocol::learning::OutcomeSource;
use trilane_protocol::{Status, Zone};

use super::facts::{Answer, Evidence, Name, Task};
use super::interval::quantile;
use super::quality::Quality;
use super::sample::Key;

/// Names that one list holds; producers make up names of agents as they like. The rest is added up.
const MAX_GROUPS: usize = 200;

/// Under what the rest is added up.
const REST: &str = "(others)";

/// What one lane, agent or model has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its trust boundary: of lanes and models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// Tasks that ended there, however.
    pub tasks: u64,
    /// Share of all that ended on a lane, 0 to 1.
    pub share: f64,
    /// Those that were answered.
    pub done: u64,
    /// Those that were private.
    pub private: u64,
    /// Dollars of all their attempts.
    pub spent_usd: f64,
    /// How good the answers were.
    pub quality: Quality,
    /// From publish to the start of the last attempt, milliseconds, of half of them at most.
    pub queued_p50_ms: Option<u64>,
    /// The same, of 95 %.
    pub queued_p95_ms: Option<u64>,
    /// From that start to the end, milliseconds, of half of them at most.
    pub run_p50_ms: Option<u64>,
    /// The same, of 95 %.
    pub run_p95_ms: Option<u64>,
}

/// What is added up of a group.
#[derive(Default)]
struct Sums {
    zone: Option<Zone>,
    tasks: u64,
    done: u64,
    private: u64,
    spent_usd: f64,
    evidence: Vec<Evidence>,
    queued_ms: Vec<u64>,
    run_ms: Vec<u64>,
}

/// By the lane that a task ended on.
pub(super) fn by_lane<'a>(tasks: impl Iterator<Item = &'a Task>, one_in: u64) -> Vec<Group> {
    by_place(tasks, one_in, |answer| answer.lane.as_ref(), |known| &known.lane)
}

/// By the model that answered.
pub(super) fn by_model<'a>(tasks: impl Iterator<Item = &'a Task>, one_in: u64) -> Vec<Group> {
    by_place(tasks, one_in, |answer| answer.model.as_ref(), |known| &known.model)
}

/// By who published.
pub(super) fn by_agent<'a>(tasks: impl Iterator<Item = (&'a Key, &'a Task)>, one_in: u64) -> Vec<Group> {
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    for ((agent, _), task) in tasks {
        let group = groups.entry(agent.to_string()).or_default();
        group.evidence.extend(task.evidence());
        group.add(task);
        // An agent has none.
        group.zone = None;
    }
    finish(groups, one_in)
}

/// An answer that was improved elsewhere counts for the quality of where it came from; shadows are no answers.
fn by_place<'a>(
    tasks: impl Iterator<Item = &'a Task>,
    one_in: u64,
    ended: impl Fn(&Answer) -> Option<&Name>,
    answered: impl Fn(&Evidence) -> &Name,
) -> Vec<Group> {
    let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
    for task in tasks {
        for evidence in task.evidence_by_lane().filter(|known| known.source != OutcomeSource::Shadow) {
            groups.entry(answered(&evidence).to_string()).or_default().evidence.push(evidence);
        }
        let Some(place) = task.answer.as_ref().and_then(&ended) else { continue };
        groups.entry(place.to_string()).or_default().add(task);
    }
    finish(groups, one_in)
}

impl Sums {
    fn add(&mut self, task: &Task) {
        let Some(answer) = &task.answer else { return };
        self.zone = self.zone.or(answer.zone);
        self.tasks += 1;
        self.done += u64::from(answer.status == Status::Done);
        self.private += u64::from(task.sensitivity() == Some(Sensitivity::Private));
        self.spent_usd += answer.cost_usd;
        if answer.status == Status::Done {
            self.queued_ms.push(answer.queued_ms);
            self.run_ms.push(answer.run_ms);
        }
    }

    fn join(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.done += other.done;
        self.private += other.private;
        self.spent_usd += other.spent_usd;
        self.evidence.extend(other.evidence);
        self.queued_ms.extend(other.queued_ms);
        self.run_ms.extend(other.run_ms);
    }

    fn group(mut self, name: String, of: u64, one_in: u64) -> Group {
        self.queued_ms.sort_unstable();
        self.run_ms.sort_unstable();
        Group {
            name,
            zone: self.zone,
            tasks: self.tasks.saturating_mul(one_in),
            share: if of == 0 { 0.0 } else { self.tasks as f64 / of as f64 },
            done: self.done.saturating_mul(one_in),
            private: self.private.saturating_mul(one_in),
            spent_usd: self.spent_usd * one_in as f64,
            quality: Quality::of(self.evidence),
            queued_p50_ms: quantile(&self.queued_ms, 0.5),
            queued_p95_ms: quantile(&self.queued_ms, 0.95),
            run_p50_ms: quantile(&self.run_ms, 0.5),
            run_p95_ms: quantile(&self.run_ms, 0.95),
        }
    }
}

/// The dearest first, then those with the most tasks.
fn finish(groups: BTreeMap<String, Sums>, one_in: u64) -> Vec<Group> {
    let of = groups.values().map(|sums| sums.tasks).sum();
    let mut groups: Vec<(String, Sums)> = groups.into_iter().collect();
    groups.sort_by(|(_, left), (_, right)| {
        right.spent_usd.total_cmp(&left.spent_usd).then(right.tasks.cmp(&left.tasks))
    });
    if groups.len() > MAX_GROUPS {
        let mut rest = Sums::default();
        groups.drain(MAX_GROUPS - 1..).for_each(|(_, sums)| rest.join(sums));
        groups.push((REST.to_owned(), rest));
    }
    groups.into_iter().map(|(name, sums)| sums.group(name, of, one_in)).collect()
}
