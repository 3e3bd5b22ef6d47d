//! `trilane feedback`: says how good an answer was, for the router to learn from.

use clap::Args;
use serde::Serialize;
use trilane_broker::Role;
use trilane_protocol::learning::{Feedback, Verdict};
use trilane_protocol::{AgentName, TaskId};
use trilane_service::Config;

use crate::output::print;

/// Says how good an answer was; the router learns from it.
///
/// The first verdict on a result stands.
#[derive(Debug, Clone, Args)]
pub struct FeedbackArgs {
    /// Who has published the task.
    agent: AgentName,
    /// Its id.
    id: TaskId,
    /// `accept` (it was used as it is), `reject` (it was not), or a quality from 0 (useless) to 1 (as good as can be).
    #[arg(value_parser = parse_feedback)]
    verdict: Feedback,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was said.
#[derive(Debug, Serialize)]
struct Given<'a> {
    agent: &'a AgentName,
    task_id: &'a TaskId,
    quality: f64,
}

/// Runs `trilane feedback`.
///
/// # Errors
/// A task without a result, or one that has a verdict already.
pub async fn run(args: FeedbackArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Producer).await?;
    let FeedbackArgs { agent, id, verdict, json } = &args;
    if broker.result(agent, id).await?.is_none() {
        anyhow::bail!(
            "task `{id}` of agent `{agent}` has no result that could be judged; it may still run, or its result is not \
             kept any more: `trilane results --agent {agent} --id {id}`"
        );
    }
    broker.give_feedback(agent, id, *verdict).await?;
    let quality = verdict.quality().unwrap_or_default();
    print(&Given { agent, task_id: id, quality }, *json, String::new)?;
    eprintln!("the verdict on task `{id}` is stored");
    Ok(())
}

fn parse_feedback(text: &str) -> Result<Feedback, String> {
    let feedback = match text {
        "accept" => Feedback::Verdict(Verdict::Accept),
        "reject" => Feedback::Verdict(Verdict::Reject),
        number => Feedback::Quality(number.parse().unwrap_or(f64::NAN)),
    };
    let is_one = feedback.quality().is_some();
    is_one
        .then_some(feedback)
        .ok_or_else(|| "expected `accept`, `reject`, or a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_a_word_or_a_number() {
        assert_eq!(parse_feedback("accept"), Ok(Feedback::Verdict(Verdict::Accept)));
        assert_eq!(parse_feedback("reject"), Ok(Feedback::Verdict(Verdict::Reject)));
        assert_eq!(parse_feedback("0.8"), Ok(Feedback::Quality(0.8)));
        for wrong in ["good", "1.1", "-0.1", "nan", ""] {
            assert!(parse_feedback(wrong).is_err(), "{wrong}");
        }
    }
}
