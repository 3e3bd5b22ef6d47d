//! Publishes the tasks of dead letters again: each at most once, and its letter goes only once the queue has it.

use std::collections::BTreeSet;
use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use trilane_broker::Broker;
use trilane_broker::letters::Letter;
use trilane_broker::logs::{Log, Start};
use trilane_protocol::chain::RouteSegment;
use trilane_protocol::{AgentName, TaskId, subjects};
use trilane_service::Config;

use super::rebuild::{self, Given, Options, Replay, ReplayError};
use crate::output::{self, print};
use crate::submit::publish::{Submission, publish};
use crate::wait::Key;

/// Characters of a reason in the table.
const SHOWN_REASON: usize = 140;

/// What became of one letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    sequence: u64,
    agent: Option<AgentName>,
    /// The id of the task that stands for the letter.
    id: Option<TaskId>,
    outcome: Outcome,
    /// Why, where it was not replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// In the queue; the letter is gone.
    Replayed,
    /// An earlier run had brought it into the queue; now the letter is gone too.
    ReplayedBefore,
    /// Would be replayed, if this were not a dry run.
    WouldReplay,
    /// Not replayed; the letter stays.
    Refused,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::ReplayedBefore => "replayed before",
            Self::WouldReplay => "would replay",
            Self::Refused => "refused",
        }
    }
}

/// What replays rest on.
struct Replays<'a> {
    broker: &'a Broker,
    config: &'a Config,
    options: Options,
    dry_run: bool,
    /// The replays that were put on a lane since the oldest letter died; looked up when the first is to be made.
    routed: Option<BTreeSet<Key>>,
}

/// Replays letters, oldest first.
///
/// # Errors
/// Letters that were not replayed, by their number, once all others are; a server that fails, at once.
pub(super) async fn run(
    broker: &Broker,
    config: &Config,
    sequences: &[u64],
    options: Options,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<()> {
    let mut replays = Replays { broker, config, options, dry_run, routed: None };
    let mut lines = Vec::new();
    let ended = replays.all(sequences, &mut lines).await;
    print(&lines, json, || table(&lines))?;
    ended?;
    let refused = lines.iter().filter(|line| line.outcome == Outcome::Refused).count();
    let all = lines.len();
    anyhow::ensure!(refused == 0, "{refused} of {all} letters cannot be replayed; the reasons are above");
    Ok(())
}

impl Replays<'_> {
    async fn all(&mut self, sequences: &[u64], lines: &mut Vec<Line>) -> anyhow::Result<()> {
        // Sequences grow with time, so the first letter is the oldest.
        let sequences: BTreeSet<u64> = sequences.iter().copied().collect();
        for sequence in sequences {
            lines.push(self.one(&super::one(self.broker, sequence).await?).await?);
        }
        Ok(())
    }

    async fn one(&mut self, letter: &Letter) -> anyhow::Result<Line> {
        let line =
            |agent, id, outcome, reason| Line { sequence: letter.sequence, agent, id, outcome, reason };
        let replay = match self.rebuilt(letter).await? {
            Ok(replay) => replay,
            Err(refused) => {
                let agent = letter.letter.agent.clone();
                return Ok(line(agent, None, Outcome::Refused, Some(refused.to_string())));
            }
        };
        let id = rebuild::id(&letter.letter, letter.sequence);
        let outcome = match self.dry_run {
            true => Outcome::WouldReplay,
            false => self.carry_out(letter, &replay, &id).await?,
        };
        Ok(line(Some(replay.agent), Some(id), outcome, None))
    }

    async fn rebuilt(&self, letter: &Letter) -> anyhow::Result<Result<Replay, ReplayError>> {
        let pipeline = match rebuild::pipeline_of(&letter.letter) {
            Some((agent, task_id)) => self.broker.pipelines().await?.get(&agent, &task_id).await?,
            None => None,
        };
        let given = Given {
            registry: &self.config.registry,
            pipeline: pipeline.as_ref(),
            now: Timestamp::now(),
            options: self.options,
        };
        Ok(rebuild::replayed(&letter.letter, letter.sequence, given))
    }

    /// The queue has the task before the letter goes. Whoever is killed in between leaves both, and whoever comes
    /// after finds the task: waiting, in the routing log, or ended. A task passes these in this order, so
    /// looking in this order misses none.
    async fn carry_out(&mut self, letter: &Letter, replay: &Replay, id: &TaskId) -> anyhow::Result<Outcome> {
        let agent = &replay.agent;
        let was_published = self.broker.is_waiting(agent, id).await?
            || self.routed(letter).await?.contains(&(agent.clone(), id.clone()))
            || self.broker.result(agent, id).await?.is_some();
        if !was_published {
            let Replay { agent, task, encoding } = replay.clone();
            publish(self.broker, &Submission::again(agent, task, encoding, id.clone())).await?;
        }
        self.broker.discard(letter.sequence).await?;
        Ok(if was_published { Outcome::ReplayedBefore } else { Outcome::Replayed })
    }

    async fn routed(&mut self, oldest: &Letter) -> anyhow::Result<&BTreeSet<Key>> {
        if self.routed.is_none() {
            self.routed = Some(routed_since(self.broker, oldest.stored_at).await?);
        }
        Ok(self.routed.get_or_insert_default())
    }
}

/// The replays that the routing log holds since `start`.
async fn routed_since(broker: &Broker, start: Timestamp) -> anyhow::Result<BTreeSet<Key>> {
    let mut entries = pin!(broker.stored(Log::Routes, subjects::ROUTES, Start::At(start)).await?);
    let mut found = BTreeSet::new();
    while let Some(entry) = entries.try_next().await? {
        let Ok(segment) = entry.decode::<RouteSegment>() else { continue };
        let replays = segment.records.into_iter().filter(|record| rebuild::is_replay(&record.task_id));
        found.extend(replays.map(|record| (record.agent, record.task_id)));
    }
    Ok(found)
}

fn table(lines: &[Line]) -> String {
    let mut table = output::table(&["letter", "agent", "task", "outcome", "reason"]);
    for line in lines {
        table.add_row([
            line.sequence.to_string(),
            line.agent.as_ref().map_or("-", AgentName::as_str).to_owned(),
            line.id.as_ref().map_or("-", TaskId::as_str).to_owned(),
            line.outcome.as_str().to_owned(),
            output::beginning(line.reason.as_deref().unwrap_or_default(), SHOWN_REASON),
        ]);
    }
    table.trim_fmt()
}
