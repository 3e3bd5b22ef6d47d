//! `trilane export`: judged tasks as rows that `trilane evaluate` reads.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use trilane_broker::logs::Start;
use trilane_broker::{Broker, Role};
use trilane_protocol::learning::Outcome;
use trilane_protocol::{AgentName, LaneName, TaskId};
use trilane_routing::example::{Content, Example};
use trilane_service::Config;

use crate::length::parse_length;
use crate::output::print_line;

/// How far back outcomes are taken where `--since` does not say.
const DEFAULT_SINCE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Writes the judged public tasks as JSON lines: id, prompt, and how good and how dear each lane's answer was. `trilane
/// evaluate` reads them.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// How far back, such as 2h or 30d.
    #[arg(long, value_name = "LENGTH", value_parser = parse_length)]
    since: Option<Duration>,
    /// Write into this file instead of to stdout. One that is there is not overwritten.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// One task, as `trilane evaluate` reads it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    id: String,
    prompt: String,
    outcomes: BTreeMap<LaneName, Judged>,
}

/// How good one lane's answer was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Judged {
    quality: f64,
    cost_usd: f64,
}

/// What no row was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct LeftOut {
    without_text: usize,
    without_example: usize,
}

/// A task that something is known of.
type Key = (AgentName, TaskId, u64);

/// Runs `trilane export`.
///
/// # Errors
/// No connection, streams that cannot be read, or a file that cannot be written.
pub async fn run(args: ExportArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Learner).await?;
    let since = Timestamp::now().checked_sub(args.since.unwrap_or(DEFAULT_SINCE)).unwrap_or(Timestamp::MIN);
    let tasks = weightiest(broker.outcomes(None, Start::At(since)).await?);
    let mut file = args.output.as_deref().map(create).transpose()?;
    let (mut rows, mut left_out) = (0_usize, LeftOut::default());
    for (key, outcomes) in tasks {
        let Some(row) = row(&broker, &key, outcomes, &mut left_out).await? else { continue };
        let line = serde_json::to_string(&row)?;
        match &mut file {
            Some(file) => writeln!(file, "{line}").context("cannot write the file")?,
            None => print_line(&line)?,
        }
        rows += 1;
    }
    if let Some(file) = &mut file {
        file.flush().context("cannot write the file")?;
    }
    eprintln!("{}", said(rows, left_out));
    Ok(())
}

fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = File::create_new(path)
        .with_context(|| format!("cannot make {}; name a file that is not there yet", path.display()))?;
    Ok(BufWriter::new(file))
}

/// By task and lane what the weightiest source says; of one source the last word.
fn weightiest(outcomes: Vec<Outcome>) -> Vec<(Key, BTreeMap<LaneName, Outcome>)> {
    let mut order = Vec::new();
    let mut tasks = HashMap::<Key, BTreeMap<LaneName, Outcome>>::new();
    for outcome in outcomes {
        let key = (outcome.agent.clone(), outcome.task_id.clone(), outcome.task_seq);
        let lanes = tasks.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            BTreeMap::new()
        });
        match lanes.get(&outcome.lane) {
            Some(earlier) if earlier.source > outcome.source => {}
            _ => drop(lanes.insert(outcome.lane.clone(), outcome)),
        }
    }
    order.into_iter().filter_map(|key| tasks.remove_entry(&key)).collect()
}

async fn row(
    broker: &Broker,
    key: &Key,
    outcomes: BTreeMap<LaneName, Outcome>,
    left_out: &mut LeftOut,
) -> anyhow::Result<Option<Row>> {
    let (agent, task_id, task_seq) = key;
    let example = broker.example(agent, task_id).await?.filter(|example| example.task_seq == *task_seq);
    Ok(made(key, outcomes, example, left_out))
}

fn made(
    (agent, task_id, _): &Key,
    outcomes: BTreeMap<LaneName, Outcome>,
    example: Option<Example>,
    left_out: &mut LeftOut,
) -> Option<Row> {
    let text = match example.map(|example| example.content) {
        Some(Content::Text(text)) => text,
        Some(Content::Features(_)) => {
            left_out.without_text += 1;
            return None;
        }
        None => {
            left_out.without_example += 1;
            return None;
        }
    };
    let said: Vec<String> = text.messages.into_iter().map(|message| message.content).collect();
    let judged = |outcome: Outcome| Judged { quality: outcome.quality, cost_usd: outcome.cost_usd };
    Some(Row {
        id: format!("{agent}.{task_id}"),
        prompt: said.join("\n\n"),
        outcomes: outcomes.into_iter().map(|(lane, outcome)| (lane, judged(outcome))).collect(),
    })
}

fn said(rows: usize, left_out: LeftOut) -> String {
    let LeftOut { without_text, without_example } = left_out;
    format!(
        "{rows} tasks written; left out: {without_text} that are private or too long, so that their text is not kept, and \
         {without_example} of which nothing is kept any more (streams.examples_max_age_s)"
    )
}

#[cfg(test)]
mod tests {
    use trilane_protocol::learning::OutcomeSource;
    use trilane_protocol::{Generation, Message, Role as Speaker, Zone};
    use trilane_routing::example::Text;

    use super::*;

    fn outcome(task: &str, lane: &str, quality: f64, source: OutcomeSource) -> Outcome {
        Outcome {
            task_id: task.parse().unwrap(),
            agent: "sample".parse().unwrap(),
            task_seq: 1,
            lane: lane.parse().unwrap(),
            zone: Zone::Local,
            model: "m".parse().unwrap(),
            quality,
            source,
            cost_usd: 0.5,
            propensity: 1.0,
            chance: 0.5,
            policy_version: "1".into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_weightiest_word_on_each_lane_counts_in_the_order_of_the_tasks() {
        let tasks = weightiest(vec![
            outcome("b", "cloud", 1.0, OutcomeSource::Feedback),
            outcome("a", "cloud", 0.2, OutcomeSource::Feedback),
            outcome("b", "cloud", 0.0, OutcomeSource::Validators),
            outcome("b", "local-deep", 0.0, OutcomeSource::Shadow),
            outcome("b", "local-deep", 1.0, OutcomeSource::Shadow),
        ]);
        let shown: Vec<_> = tasks
            .iter()
            .map(|((_, task, _), lanes)| {
                (task.as_str(), lanes.values().map(|o| o.quality).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(shown, [("b", vec![1.0, 1.0]), ("a", vec![0.2])]);
    }

    #[test]
    fn public_tasks_become_rows_and_the_rest_is_counted() {
        let key: Key = ("sample".parse().unwrap(), "1".parse().unwrap(), 1);
        let example = |content| Example {
            task_id: "1".parse().unwrap(),
            agent: "sample".parse().unwrap(),
            task_seq: 1,
            content,
        };
        let message = |content: &str| Message { role: Speaker::User, content: content.into() };
        let text = Text {
            messages: vec![message("a"), message("b")],
            generation: Generation::default(),
            validate: vec![],
        };
        let outcomes = || {
            let outcome = outcome("1", "cloud", 1.0, OutcomeSource::Feedback);
            BTreeMap::from([(outcome.lane.clone(), outcome)])
        };
        let mut left_out = LeftOut::default();
        let row = made(&key, outcomes(), Some(example(Content::Text(text))), &mut left_out).unwrap();
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"id":"sample.1","prompt":"a\n\nb","outcomes":{"cloud":{"quality":1.0,"cost_usd":0.5}}}"#
        );
        let features = Content::Features(Box::default());
        assert_eq!(made(&key, outcomes(), Some(example(features)), &mut left_out), None);
        assert_eq!(made(&key, outcomes(), None, &mut left_out), None);
        assert_eq!(left_out, LeftOut { without_text: 1, without_example: 1 });
    }
}
