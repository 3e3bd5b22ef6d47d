//! The audit: a pure function from what was planned, acknowledged, stored and logged to what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use trilane_protocol::{AgentName, Status, TaskId, Usd};

use crate::invocations::Invocation;
use crate::markers::Marker;
use crate::money::{self, Booked};
use crate::producers::Acknowledged;
use crate::tasks::PlannedTask;

/// Agent and task id: what a result is found by.
pub type Key = (AgentName, TaskId);

/// The lane whose models lie outside.
const CLOUD: &str = "cloud";

/// The stream whose sequences producers know.
const TASKS: &str = "TASKS";

/// A message of the stream of results.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// By its subject; none where that names neither.
    pub key: Option<Key>,
    /// How it says that it ended; none where it does not read.
    pub status: Option<Status>,
    /// Its text.
    pub text: Option<String>,
    /// Its error's code.
    pub code: Option<String>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buried {
    /// The task it names.
    pub key: Option<Key>,
    /// Stream and sequence of the message that died.
    pub source: (String, u64),
    /// Why.
    pub code: String,
}

/// A message that is still in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The task it belongs to, where that can be read.
    pub key: Option<Key>,
    /// Stream and sequence.
    pub source: (String, u64),
}

/// A work queue after the drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// Its name.
    pub stream: String,
    /// Messages in it.
    pub messages: u64,
    /// Of those, waiting for a consumer.
    pub waiting: u64,
    /// Of those, in the hands of one.
    pub in_hand: u64,
}

/// All that the audit rests on.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The plan.
    pub tasks: Vec<PlannedTask>,
    /// What was acknowledged.
    pub acknowledged: Vec<Acknowledged>,
    /// The stream of results.
    pub results: Vec<StoredResult>,
    /// Results that were heard as they were announced, and how often.
    pub announced: BTreeMap<String, u64>,
    /// The dead letters.
    pub buried: Vec<Buried>,
    /// What is still queued.
    pub queued: Vec<Queued>,
    /// The work queues.
    pub queues: Vec<QueueState>,
    /// What the models were asked.
    pub invocations: Vec<Invocation>,
    /// What the ledger says of each task.
    pub booked: BTreeMap<Key, Booked>,
}

/// What went wrong. Each entry names what is at fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged, and neither a result, nor a dead letter, nor queued.
    pub lost: Vec<String>,
    /// Acknowledged, with a dead letter where there should be a result.
    pub unanswered: Vec<String>,
    /// More than one result for one id, stored or announced.
    pub duplicates: Vec<String>,
    /// Results for ids that nobody has published, or that do not read.
    pub unknown: Vec<String>,
    /// Results with another text or status than the task may have.
    pub wrong: Vec<String>,
    /// Invocations of cloud models with a private marker.
    pub private_on_cloud: Vec<String>,
    /// Messages that are in a work queue and that nobody will ever be given, by stream.
    pub zombies: Vec<String>,
    /// How many messages those are.
    pub zombie_count: u64,
    /// Tasks that are still queued.
    pub still_queued: Vec<String>,
    /// Tasks that cost more than the ledger has.
    pub unaccounted: Vec<String>,
    /// How much that is, all together.
    pub unaccounted_usd: Usd,
}

impl Findings {
    /// Whether everything held.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind with its entries.
    pub fn by_kind(&self) -> [(&'static str, &[String]); 9] {
        [
            ("lost", &self.lost),
            ("unanswered", &self.unanswered),
            ("answered twice", &self.duplicates),
            ("result of an unknown task", &self.unknown),
            ("wrong result", &self.wrong),
            ("private in the cloud", &self.private_on_cloud),
            ("never to be delivered", &self.zombies),
            ("still queued", &self.still_queued),
            ("not in the ledger", &self.unaccounted),
        ]
    }
}

/// Holds the evidence against what the fleet promises.
pub fn audit(evidence: &Evidence) -> Findings {
    let (lost, unanswered) = without_result(evidence);
    let (zombies, zombie_count) = zombies(&evidence.queues);
    let unaccounted = money::unaccounted(evidence);
    Findings {
        lost,
        unanswered,
        duplicates: duplicates(evidence),
        unknown: unknown(evidence),
        wrong: wrong(evidence),
        private_on_cloud: private_on_cloud(evidence),
        zombies,
        zombie_count,
        unaccounted_usd: unaccounted.iter().map(|(_, usd)| *usd).sum(),
        unaccounted: unaccounted
            .iter()
            .map(|((agent, task_id), usd)| format!("{agent}.{task_id}: {usd} more were charged"))
            .collect(),
        still_queued: still_queued(evidence),
    }
}

/// Acknowledged tasks without a result: lost, or buried although they should have one.
fn without_result(evidence: &Evidence) -> (Vec<String>, Vec<String>) {
    let results = evidence.results.iter().filter_map(|result| result.key.as_ref()).collect::<BTreeSet<_>>();
    let queued = places(evidence.queued.iter().map(|queued| (&queued.key, &queued.source)));
    let buried = places(evidence.buried.iter().map(|buried| (&buried.key, &buried.source)));
    let (mut lost, mut unanswered) = (Vec::new(), Vec::new());
    for Acknowledged { task, sequence } in &evidence.acknowledged {
        let planned = &evidence.tasks[*task];
        let is_in = |(keys, sequences): &Places<'_>| {
            sequences.contains(sequence) || planned.key.as_ref().is_some_and(|key| keys.contains(key))
        };
        if planned.key.as_ref().is_some_and(|key| results.contains(key)) || is_in(&queued) {
            continue;
        }
        let name = format!("{} (task {task}, {:?}, sequence {sequence})", name_of(planned), planned.kind);
        match (is_in(&buried), &planned.key) {
            (false, _) => lost.push(name),
            (true, Some(_)) => unanswered.push(name),
            // Without an agent there is nobody to answer.
            (true, None) => {}
        }
    }
    (lost, unanswered)
}

type Places<'a> = (BTreeSet<&'a Key>, BTreeSet<u64>);

/// By task, and by the sequence at the intake.
fn places<'a>(entries: impl Iterator<Item = (&'a Option<Key>, &'a (String, u64))>) -> Places<'a> {
    let (mut keys, mut sequences) = Places::default();
    for (key, (stream, sequence)) in entries {
        keys.extend(key);
        if stream == TASKS {
            sequences.insert(*sequence);
        }
    }
    (keys, sequences)
}

fn name_of(planned: &PlannedTask) -> String {
    match &planned.key {
        Some((agent, task_id)) => format!("{agent}.{task_id}"),
        None => format!("{} {}", planned.subject, planned.message_id),
    }
}

fn described(key: &Option<Key>, (stream, sequence): &(String, u64)) -> String {
    match key {
        Some((agent, task_id)) => format!("{agent}.{task_id} in {stream} at {sequence}"),
        None => format!("a message in {stream} at {sequence}"),
    }
}

/// Another copy of a task that has its result is no work left to do: it would be run, and its result refused.
fn still_queued(evidence: &Evidence) -> Vec<String> {
    let answered = evidence.results.iter().filter_map(|result| result.key.as_ref()).collect::<BTreeSet<_>>();
    let sequences = evidence.acknowledged.iter().filter_map(|acknowledged| {
        let key = evidence.tasks[acknowledged.task].key.as_ref()?;
        answered.contains(key).then_some(acknowledged.sequence)
    });
    let sequences = sequences.collect::<BTreeSet<_>>();
    let is_left = |queued: &&Queued| match (&queued.key, &queued.source) {
        (Some(key), _) => !answered.contains(key),
        (None, (stream, sequence)) => stream != TASKS || !sequences.contains(sequence),
    };
    evidence.queued.iter().filter(is_left).map(|queued| described(&queued.key, &queued.source)).collect()
}

fn duplicates(evidence: &Evidence) -> Vec<String> {
    let mut stored: BTreeMap<&Key, u64> = BTreeMap::new();
    for key in evidence.results.iter().filter_map(|result| result.key.as_ref()) {
        *stored.entry(key).or_default() += 1;
    }
    let twice = stored.into_iter().filter(|(_, count)| *count > 1);
    let stored = twice.map(|((agent, task_id), count)| format!("{agent}.{task_id}: {count} results stored"));
    let announced = evidence.announced.iter().filter(|(_, count)| **count > 1);
    stored.chain(announced.map(|(subject, count)| format!("{subject}: announced {count} times"))).collect()
}

/// By key, the tasks of the plan.
fn planned_by_key(evidence: &Evidence) -> BTreeMap<&Key, &PlannedTask> {
    evidence.tasks.iter().filter_map(|task| Some((task.key.as_ref()?, task))).collect()
}

fn unknown(evidence: &Evidence) -> Vec<String> {
    let planned = planned_by_key(evidence);
    let describe = |result: &StoredResult| match (&result.key, &result.status) {
        (None, _) => Some("a result whose subject names no task".to_owned()),
        (Some((agent, task_id)), _) if !planned.contains_key(result.key.as_ref()?) => {
            Some(format!("{agent}.{task_id}"))
        }
        (Some((agent, task_id)), None) => Some(format!("{agent}.{task_id} does not read")),
        (Some(_), Some(_)) => None,
    };
    evidence.results.iter().filter_map(describe).collect()
}

fn wrong(evidence: &Evidence) -> Vec<String> {
    let planned = planned_by_key(evidence);
    let describe = |result: &StoredResult| {
        let (key, status) = (result.key.as_ref()?, result.status?);
        let planned = planned.get(key)?;
        let (agent, task_id) = key;
        let code = result.code.as_deref().unwrap_or("without a code");
        if !planned.may_end.contains(&status) {
            return Some(format!(
                "{agent}.{task_id} ({:?}) ended as {} ({code})",
                planned.kind,
                status.as_str()
            ));
        }
        let is_right = status != Status::Done || result.text == planned.answer;
        (!is_right)
            .then(|| format!("{agent}.{task_id} ({:?}) has another text than its model gave", planned.kind))
    };
    evidence.results.iter().filter_map(describe).collect()
}

fn private_on_cloud(evidence: &Evidence) -> Vec<String> {
    let private = evidence.tasks.iter().flat_map(|task| &task.private).collect::<BTreeSet<_>>();
    let leaked = |invocation: &&Invocation| {
        invocation.lane == CLOUD && invocation.markers.iter().any(|marker| private.contains(marker))
    };
    let describe = |invocation: &Invocation| {
        let markers = invocation.markers.iter().map(Marker::to_string).collect::<Vec<_>>().join(", ");
        let task = invocation.markers.first().and_then(|marker| evidence.tasks.get(marker.task));
        let name = task.map_or_else(String::new, |task| format!("{} ({:?}), ", name_of(task), task.kind));
        format!("{name}invocation {} with {markers}", invocation.id)
    };
    evidence.invocations.iter().filter(leaked).map(describe).collect()
}

fn zombies(queues: &[QueueState]) -> (Vec<String>, u64) {
    let stuck = |queue: &QueueState| queue.messages.saturating_sub(queue.waiting + queue.in_hand);
    let described = queues.iter().filter(|queue| stuck(queue) > 0);
    let described = described.map(|queue| format!("{} in {}", stuck(queue), queue.stream)).collect();
    (described, queues.iter().map(stuck).sum())
}

#[cfg(test)]
mod tests;
