//! One answer while it grows: partial text as it comes, and the result in the end.

use std::io::Write;

use futures_util::StreamExt;
use trilane_broker::Broker;
use trilane_protocol::outcome::Partial;
use trilane_protocol::{Status, TaskResult};

use crate::output::print_line;
use crate::results;
use crate::submit::publish::{Submission, publish};
use crate::wait::{Awaited, say_where_to_look};

/// What has been shown of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    attempt: u32,
    text: String,
}

/// What is to be done with the next piece.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It goes on.
    Append,
    /// A later attempt starts anew.
    Restart,
    /// It belongs to an attempt that is over.
    Skip,
}

/// Publishes a task, prints its text as it comes, and ends with the result.
pub(super) async fn run(broker: &Broker, submission: &Submission, json: bool) -> anyhow::Result<()> {
    let (agent, id) = submission.key();
    let mut partials = broker.partials(&agent, &id).await?.boxed();
    let mut awaited = Awaited::start(broker, [submission.key()]).await?;
    publish(broker, submission).await?;
    let mut silence = std::pin::pin!(say_where_to_look());
    let mut shown = Shown::default();
    let result = loop {
        tokio::select! {
            // Text that is there goes first, so that the result does not overtake it.
            biased;
            Some(partial) = partials.next() => show(&mut shown, &partial, json)?,
            result = awaited.next() => break result,
            never = &mut silence, if shown.text.is_empty() => match never {},
        }
    };
    let Some(result) = result else { anyhow::bail!("the result of `{id}` did not come") };
    end(&shown, &result, json)
}

fn show(shown: &mut Shown, partial: &Partial, json: bool) -> anyhow::Result<()> {
    let step = shown.take(partial);
    match (json, step) {
        (_, Step::Skip) => Ok(()),
        (true, _) => print_line(&serde_json::json!({ "partial": partial }).to_string()),
        (false, Step::Restart) => {
            print_line("")?;
            eprintln!("attempt {} starts anew", partial.attempt);
            print_piece(&partial.text)
        }
        (false, Step::Append) => print_piece(&partial.text),
    }
}

/// The result says what the answer is: what was lost on the way is added, what differs is shown again.
fn end(shown: &Shown, result: &TaskResult, json: bool) -> anyhow::Result<()> {
    if json {
        print_line(&serde_json::to_string(result)?)?;
        anyhow::ensure!(result.status == Status::Done, "task `{}` did not end as done", result.task_id);
        return Ok(());
    }
    match result.text.as_deref().map(|text| (text, text.strip_prefix(shown.text.as_str()))) {
        None if shown.text.is_empty() => {}
        None => print_line("")?,
        Some((_, Some(rest))) => print_line(rest)?,
        Some((text, None)) => {
            print_line("")?;
            eprintln!("pieces were lost on the way; the whole answer:");
            print_line(text)?;
        }
    }
    results::conclude(result)
}

fn print_piece(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

impl Shown {
    fn take(&mut self, partial: &Partial) -> Step {
        let step = match partial.attempt.cmp(&self.attempt) {
            std::cmp::Ordering::Less => return Step::Skip,
            std::cmp::Ordering::Equal => Step::Append,
            std::cmp::Ordering::Greater if self.text.is_empty() => Step::Append,
            std::cmp::Ordering::Greater => Step::Restart,
        };
        if partial.attempt > self.attempt {
            *self = Self { attempt: partial.attempt, text: String::new() };
        }
        self.text.push_str(&partial.text);
        step
    }
}

#[cfg(test)]
mod tests {
    use trilane_protocol::TaskId;

    use super::*;

    fn piece(attempt: u32, index: u32, text: &str) -> Partial {
        Partial { task_id: TaskId::new("t").unwrap(), attempt, index, text: text.into() }
    }

    #[test]
    fn a_later_attempt_starts_anew_and_an_earlier_one_is_skipped() {
        let mut shown = Shown::default();
        let steps: Vec<Step> =
            [piece(1, 0, "one "), piece(1, 1, "two"), piece(2, 0, "new"), piece(1, 2, " late")]
                .iter()
                .map(|partial| shown.take(partial))
                .collect();
        assert_eq!(steps, [Step::Append, Step::Append, Step::Restart, Step::Skip]);
        assert_eq!(shown, Shown { attempt: 2, text: "new".into() });
    }
}
