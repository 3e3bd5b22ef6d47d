//! `trilane results`: what became of tasks, stored or as it comes.

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use jiff::Timestamp;
use trilane_broker::browse::Wanted;
use trilane_broker::logs::Start;
use trilane_broker::{Broker, Role};
use trilane_protocol::outcome::Timing;
use trilane_protocol::{AgentName, LaneName, ModelName, TaskId, TaskResult};
use trilane_service::Config;

use crate::length::parse_length;
use crate::output::{self, print, print_line};

/// How far back results are shown where `--since` does not say.
const DEFAULT_SINCE: Duration = Duration::from_secs(24 * 3_600);

/// Characters of an answer in a table.
const SHOWN_TEXT: usize = 60;

/// Shows results: those of the last day, one of them, or all as they come.
#[derive(Debug, Clone, Args)]
pub struct ResultsArgs {
    /// Of this agent only.
    #[arg(long)]
    agent: Option<AgentName>,
    /// Of this task only; prints its answer.
    #[arg(long)]
    id: Option<TaskId>,
    /// Go on with results as they come, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// How far back, such as 2h or 7d. Default: one day; with --follow from now on; with --id all that is kept.
    #[arg(long, value_name = "LENGTH", value_parser = parse_length)]
    since: Option<Duration>,
    /// The newest so many.
    #[arg(long, default_value_t = 50, value_name = "COUNT", conflicts_with = "follow")]
    last: usize,
    /// Print JSON: a list, or with --follow an object a line.
    #[arg(long)]
    json: bool,
}

/// Runs `trilane results`.
///
/// # Errors
/// No connection, no such result, or a task that is not `done` where one is asked for by its id.
pub async fn run(args: ResultsArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Observer).await?;
    if args.follow {
        return follow(&broker, &args).await;
    }
    let since = match (args.since, &args.id) {
        (None, Some(_)) => None,
        (length, _) => Some(before_now(length.unwrap_or(DEFAULT_SINCE))),
    };
    let wanted =
        Wanted { agent: args.agent.as_ref(), task_id: args.id.as_ref(), since, most: args.last.max(1) };
    let found = broker.stored_results(wanted).await?;
    match (&args.id, found.as_slice()) {
        (Some(id), []) => anyhow::bail!("task `{id}` has no result yet; `trilane lanes` shows what waits"),
        (Some(_), [result]) if !args.json => show(result),
        (None, []) if !args.json => {
            eprintln!("no results; `--since 7d` looks further back");
            Ok(())
        }
        _ => print(&found, args.json, || table(&found)),
    }
}

async fn follow(broker: &Broker, args: &ResultsArgs) -> anyhow::Result<()> {
    let start = args.since.map_or(Start::Now, |length| Start::At(before_now(length)));
    let mut results = broker.results(args.agent.as_ref(), start).await?.boxed();
    loop {
        let result = tokio::select! {
            result = results.next() => result,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        match result {
            None => anyhow::bail!("the server no longer sends results; start again"),
            Some(Err(error)) => eprintln!("{error}"),
            Some(Ok(result)) if args.id.as_ref().is_some_and(|id| *id != result.task_id) => {}
            Some(Ok(result)) if args.json => print_line(&serde_json::to_string(&result)?)?,
            Some(Ok(result)) => print_line(&line(&result))?,
        }
    }
}

/// One result in full: the answer is the data, the rest is about it.
///
/// # Errors
/// A task that is not `done`.
pub(crate) fn show(result: &TaskResult) -> anyhow::Result<()> {
    if let Some(text) = &result.text {
        print_line(text)?;
    }
    conclude(result)
}

/// Says how a task ended, without its answer.
///
/// # Errors
/// A task that is not `done`.
pub(crate) fn conclude(result: &TaskResult) -> anyhow::Result<()> {
    if let Some(error) = &result.error {
        anyhow::bail!("task `{}` ended as {}: {error}", result.task_id, result.status.as_str());
    }
    let place = result.lane.as_ref().map_or("-", LaneName::as_str);
    let model = result.model.as_ref().map_or("-", ModelName::as_str);
    let time = output::length(total(result.timing_ms));
    let cost = output::dollars(result.cost_usd);
    let tokens = result.usage.completion_tokens;
    eprintln!("{}: {model} on {place}, {tokens} tokens, {time}, {cost}", result.task_id);
    if let Some(decision) = &result.decision {
        eprintln!("{}", decision.explanation);
    }
    let failed = result.signs.iter().flat_map(|signs| &signs.failed);
    for validator in failed {
        eprintln!("this answer does not satisfy the task's `{}`", validator.as_str());
    }
    Ok(())
}

/// From publish to the end of the last attempt.
pub(crate) fn total(timing: Timing) -> Duration {
    Duration::from_millis(timing.queued.saturating_add(timing.waited).saturating_add(timing.run))
}

/// The beginning of the answer, or what went wrong.
fn gist(result: &TaskResult, most: usize) -> String {
    let error = || result.error.as_ref().map(ToString::to_string);
    let text = result.text.clone().or_else(error).unwrap_or_default();
    output::beginning(&text, most)
}

fn line(result: &TaskResult) -> String {
    let lane = result.lane.as_ref().map_or("-", LaneName::as_str);
    let text = gist(result, SHOWN_TEXT);
    format!("{} {} {} {lane} {text}", result.agent, result.task_id, result.status.as_str())
}

fn table(results: &[TaskResult]) -> String {
    let header = ["agent", "task", "status", "lane", "model", "tokens", "cost", "time", "text"];
    let mut table = output::table(&header);
    for result in results {
        table.add_row([
            result.agent.to_string(),
            result.task_id.to_string(),
            result.status.as_str().to_owned(),
            result.lane.as_ref().map_or("-", LaneName::as_str).to_owned(),
            result.model.as_ref().map_or("-", ModelName::as_str).to_owned(),
            result.usage.completion_tokens.to_string(),
            output::dollars(result.cost_usd),
            output::length(total(result.timing_ms)),
            gist(result, SHOWN_TEXT),
        ]);
    }
    table.trim_fmt()
}

fn before_now(length: Duration) -> Timestamp {
    Timestamp::now().checked_sub(length).unwrap_or(Timestamp::MIN)
}
