//! `trilane explain`: why a task went where it went, in words.

mod tell;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use trilane_broker::browse::Wanted;
use trilane_broker::logs::Start;
use trilane_broker::{Broker, Role};
use trilane_protocol::{AgentName, Encoding, Generation, Message, Task, TaskId, TaskResult};
use trilane_routing::example::{Content, Example};
use trilane_routing::features::{Features, extract};
use trilane_routing::intake::{Origin, intake};
use trilane_routing::learn::Weights;
use trilane_routing::snapshot::versions_in;
use trilane_service::Config;

use crate::output::print;

/// Results of one id that are looked at: one for each agent that has used it.
const MAX_SAME_ID: usize = 16;

/// Says why a finished task went where it went: what the screen found, what made it look easy or hard to each lane, what
/// else was open, and what came of it. Words of the task are shown to you and kept nowhere.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The task.
    id: TaskId,
    /// Its agent, where several have used the id.
    #[arg(long)]
    agent: Option<AgentName>,
    /// The task as it was published, a file of JSON. The text of a private task is not kept, so without it only features
    /// can be named.
    #[arg(long, value_name = "FILE")]
    task: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is known of what a task said.
enum Known {
    /// All of it, and where from.
    Text(Vec<Message>, Generation, &'static str),
    /// Counts and hashes.
    Features(Box<Features>),
    /// Nothing.
    Nothing,
}

/// Runs `trilane explain`.
///
/// # Errors
/// No connection, no such result, or one without a decision.
pub async fn run(args: ExplainArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Learner).await?;
    let result = result(&broker, &args).await?;
    let Some(decision) = &result.decision else {
        bail!(
            "task `{}` ended as {} before it was routed: there is no decision",
            args.id,
            result.status.as_str()
        );
    };
    let example = broker.example(&result.agent, &result.task_id).await?;
    let example = example.filter(|example| result.task_seq == Some(example.task_seq));
    let known = match &args.task {
        Some(file) => from_file(file, &result, config)?,
        None => kept(example),
    };
    let number = versions_in(&decision.policy_version).1;
    let (weights, missing) = match broker.policy_weights(number).await {
        Ok(weights) => (weights, None),
        Err(error) => (Weights::default(), Some(error.to_string())),
    };
    let outcomes = broker.outcomes(Some((&result.agent, &result.task_id)), Start::Oldest).await?;
    let outcomes = outcomes.into_iter().filter(|outcome| Some(outcome.task_seq) == result.task_seq);
    let told = tell::told(&result, decision, &known, &weights, missing, outcomes.collect());
    print(&told, args.json, || tell::words(&told))
}

async fn result(broker: &Broker, args: &ExplainArgs) -> anyhow::Result<TaskResult> {
    let wanted =
        Wanted { agent: args.agent.as_ref(), task_id: Some(&args.id), since: None, most: MAX_SAME_ID };
    let mut found = broker.stored_results(wanted).await?;
    match found.len() {
        0 => bail!("task `{}` has no result yet; `trilane lanes` shows what waits", args.id),
        1 => Ok(found.remove(0)),
        _ => {
            let agents: Vec<String> = found.iter().map(|result| result.agent.to_string()).collect();
            bail!("several agents have used the id `{}`; name one: --agent {}", args.id, agents.join(" or "))
        }
    }
}

fn kept(example: Option<Example>) -> Known {
    match example.map(|example| example.content) {
        Some(Content::Text(text)) => Known::Text(text.messages, text.generation, "kept, the task is public"),
        Some(Content::Features(features)) => Known::Features(features),
        None => Known::Nothing,
    }
}

/// The task as a model got it, from the file in which it was published. It is looked at in memory only.
fn from_file(path: &Path, result: &TaskResult, config: &Config) -> anyhow::Result<Known> {
    let shown = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let task: Task = Encoding::Json.decode(&text).with_context(|| format!("{shown} is no task"))?;
    if !task.steps.is_empty() {
        bail!("{shown} is a pipeline: what its last step was given is not in it");
    }
    let origin = Origin {
        agent: result.agent.clone(),
        sequence: result.task_seq.unwrap_or_default(),
        message_id: None,
        published_at: Timestamp::now(),
        encoding: Encoding::Json,
    };
    let work = intake(&task, &origin, &config.registry, &config.policy, &config.limits)
        .map_err(|error| anyhow::anyhow!("{shown} is no task: {error}"))?;
    Ok(Known::Text(work.messages, work.generation, "from the file"))
}

impl Known {
    fn features(&self) -> Option<Features> {
        match self {
            Self::Text(messages, generation, _) => Some(extract(messages, generation)),
            Self::Features(features) => Some((**features).clone()),
            Self::Nothing => None,
        }
    }
}
