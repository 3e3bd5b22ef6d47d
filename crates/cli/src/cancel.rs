//! `trilane cancel`: takes a task back, and says whether that was in time.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use trilane_broker::Role;
use trilane_protocol::{AgentName, Status, TaskId, TaskResult};
use trilane_service::Config;

use crate::output::print;
use crate::wait::Awaited;

/// How long the answer of a classifier is waited for. The request is stored, so nothing is lost behind it.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Takes a task back, whether it waits or runs.
///
/// Ends with status 1 where the task had ended before.
#[derive(Debug, Clone, Args)]
pub struct CancelArgs {
    /// Its id.
    id: TaskId,
    /// Who has published it.
    #[arg(long, default_value = "default")]
    agent: AgentName,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What became of the task.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Outcome<'a> {
    agent: &'a AgentName,
    task_id: &'a TaskId,
    status: Status,
    is_cancelled: bool,
}

/// Runs `trilane cancel`.
///
/// # Errors
/// A task that had ended before, or nobody who says what became of it.
pub async fn run(args: CancelArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Producer).await?;
    let CancelArgs { id, agent, json } = &args;
    if let Some(result) = broker.result(agent, id).await? {
        return conclude(&result, *json);
    }
    let mut awaited = Awaited::start(&broker, [(agent.clone(), id.clone())]).await?;
    broker.cancel(agent, id).await?;
    let answer = tokio::time::timeout(MAX_WAIT, awaited.next()).await;
    let Some(result) = answer.ok().flatten() else {
        let wait_s = MAX_WAIT.as_secs();
        anyhow::bail!(
            "nobody has said within {wait_s} s what became of task `{id}`; the request is stored, and a classifier takes it \
             once one runs: `trilane results --agent {agent} --id {id}`"
        );
    };
    conclude(&result, *json)
}

fn conclude(result: &TaskResult, json: bool) -> anyhow::Result<()> {
    let TaskResult { agent, task_id, status, .. } = result;
    let is_cancelled = *status == Status::Cancelled;
    let outcome = Outcome { agent, task_id, status: *status, is_cancelled };
    print(&outcome, json, String::new)?;
    anyhow::ensure!(
        is_cancelled,
        "task `{task_id}` ended as {} before it could be cancelled",
        status.as_str()
    );
    eprintln!("task `{task_id}` is cancelled");
    Ok(())
}
