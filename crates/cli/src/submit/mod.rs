//! `trilane submit`: publishes tasks, and waits for their results where that is wanted.
//!
//! [`tasks`] reads and checks them, [`publish`] brings them into the queue, [`stream`] shows one as it grows.

pub(crate) mod publish;
mod stream;
pub(crate) mod tasks;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use trilane_broker::{Broker, Role};
use trilane_protocol::task::Deadline;
use trilane_protocol::{AgentName, ModelName, Priority, Status, TaskId};
use trilane_service::Config;

use crate::length::parse_deadline;
use crate::output::print_line;
use crate::results;
use crate::submit::publish::Submission;
use crate::wait::{self, Awaited};

/// Publishes one task, or a file of them.
///
/// Without --wait it prints the id of each task; `trilane results --id ID` shows what became of it.
#[derive(Debug, Clone, Args)]
pub struct SubmitArgs {
    /// The request; `-` reads it from stdin.
    #[arg(required_unless_present = "file")]
    prompt: Option<String>,
    /// Tasks, a JSON object a line, as they go over the wire; a line may name its `agent`. All lines are checked
    /// before the first is published.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "task"])]
    file: Option<PathBuf>,
    /// Who publishes; its registry entry says what holds where a task does not say.
    #[arg(long, default_value = "default")]
    agent: AgentName,
    #[command(flatten)]
    task: TaskOptions,
    /// Wait for the answer and print it. Ctrl-C stops waiting; the task goes on.
    #[arg(long)]
    wait: bool,
    /// Print the answer while it grows.
    #[arg(long, conflicts_with = "file")]
    stream: bool,
    /// Print a JSON object a line: agent and id of each task, or with --wait its whole result.
    #[arg(long)]
    json: bool,
}

/// What a single task may say of itself.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "task", multiple = true)]
pub(crate) struct TaskOptions {
    /// The task never leaves the local zone.
    #[arg(long, conflicts_with = "public")]
    private: bool,
    /// The task may go to a cloud provider, unless a tag or a detector says otherwise.
    #[arg(long)]
    public: bool,
    /// Run it on this model of the registry.
    #[arg(long)]
    model: Option<ModelName>,
    /// Most tokens to generate.
    #[arg(long, value_name = "COUNT")]
    max_tokens: Option<u32>,
    /// Sampling temperature, 0 to 2; 0 is greedy.
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f32>,
    /// Nucleus sampling: probability mass, above 0, at most 1.
    #[arg(long, value_name = "NUMBER")]
    top_p: Option<f32>,
    /// Seed of the sampler.
    #[arg(long)]
    seed: Option<u32>,
    /// How hard it is, 0 to 1; wins over the router's own score.
    #[arg(long, value_name = "NUMBER")]
    complexity: Option<f64>,
    /// Which tasks of the same lane go first.
    #[arg(long)]
    priority: Option<PriorityOption>,
    /// When the answer is no longer wanted: a length such as 10m, or a time such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "WHEN", value_parser = parse_deadline)]
    deadline: Option<Deadline>,
    /// Dollars that it may cost, all attempts together.
    #[arg(long, value_name = "DOLLARS")]
    max_cost_usd: Option<f64>,
    /// A label, such as client-document; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Its id, unique per agent; left out: a random one.
    #[arg(long)]
    id: Option<TaskId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PriorityOption {
    Low,
    Normal,
    High,
}

impl From<PriorityOption> for Priority {
    fn from(option: PriorityOption) -> Self {
        match option {
            PriorityOption::Low => Self::Low,
            PriorityOption::Normal => Self::Normal,
            PriorityOption::High => Self::High,
        }
    }
}

/// What is printed of a task that is not waited for.
#[derive(Debug, Serialize)]
struct Receipt<'a> {
    agent: &'a AgentName,
    id: &'a TaskId,
}

/// Runs `trilane submit`.
///
/// # Errors
/// A task that does not hold (then nothing is published), one that could not be published, or with --wait one
/// that did not end as `done`.
pub async fn run(args: SubmitArgs, config: &Config) -> anyhow::Result<()> {
    let submissions = tasks::collect(&args, config)?;
    let broker = crate::connect(config, Role::Producer).await?;
    tokio::select! {
        outcome = deliver(&args, &broker, &submissions) => outcome,
        _ = tokio::signal::ctrl_c() => {
            let first = &submissions[0];
            anyhow::bail!(
                "stopped; what was published goes on: `trilane results --agent {} --id {}`", first.agent, first.id()
            )
        }
    }
}

async fn deliver(args: &SubmitArgs, broker: &Broker, submissions: &[Submission]) -> anyhow::Result<()> {
    if args.stream {
        return stream::run(broker, &submissions[0], args.json).await;
    }
    if !args.wait {
        for submission in submissions {
            publish::publish(broker, submission).await?;
            print_receipt(submission, args.json)?;
        }
        return Ok(());
    }
    let awaited = Awaited::start(broker, submissions.iter().map(Submission::key)).await?;
    for submission in submissions {
        publish::publish(broker, submission).await?;
    }
    tokio::select! {
        outcome = print_results(awaited, submissions.len(), args.json) => outcome,
        never = wait::say_where_to_look() => match never {},
    }
}

fn print_receipt(submission: &Submission, json: bool) -> anyhow::Result<()> {
    let id = submission.id();
    match json {
        true => print_line(&serde_json::to_string(&Receipt { agent: &submission.agent, id: &id })?),
        false => print_line(id.as_str()),
    }
}

async fn print_results(mut awaited: Awaited, expected: usize, json: bool) -> anyhow::Result<()> {
    let mut unanswered = 0;
    while let Some(result) = awaited.next().await {
        unanswered += usize::from(result.status != Status::Done);
        match (json, expected) {
            (true, _) => print_line(&serde_json::to_string(&result)?)?,
            (false, 1) => return results::show(&result),
            (false, _) => match results::show(&result) {
                Ok(()) => eprintln!(),
                Err(error) => eprintln!("{error:#}\n"),
            },
        }
    }
    anyhow::ensure!(unanswered == 0, "{unanswered} of {expected} tasks did not end as done");
    Ok(())
}
