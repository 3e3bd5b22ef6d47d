//! One attempt: runs the task under its deadline and the drain's grace time, and streams partial text.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trilane_broker::Broker;
use trilane_broker::cancel::Watched;
use trilane_protocol::Work;
use trilane_protocol::outcome::Partial;
use trilane_protocol::work::{LaneMessage, Spent};

use crate::heartbeat::Progress;
use crate::partials::PartialSender;
use crate::runner::{Assignment, Completion, RunError, RunErrorKind, Runner};
use crate::verdict::Outcome;

/// How long a runner may take to notice that its answer is no longer wanted.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Why the answer is no longer wanted.
enum Stop {
    Deadline,
    Drain,
    Cancelled,
}

/// Runs one attempt to its end: an answer, or how it ended without one. `given_up` fires when another worker is to have
/// it.
pub(crate) async fn run<R: Runner>(
    runner: &Arc<R>,
    broker: &Broker,
    message: &LaneMessage,
    deliveries: u32,
    given_up: &CancellationToken,
    cancelled: Watched,
    progress: Progress,
) -> Result<Completion, Outcome> {
    let cancel = CancellationToken::new();
    // What another lane has said of the task before is started anew, too.
    let attempt = message.work.spent.attempts.saturating_add(deliveries);
    let partials = partials(broker, &message.work, attempt).with_progress(progress);
    let assignment = Assignment {
        work: message.work.clone(),
        decision: message.decision.clone(),
        attempt: deliveries,
        partials,
        cancel: cancel.clone(),
    };
    let runner = Arc::clone(runner);
    // A task of its own, so that a panic in a runner is a failed attempt and not a dead worker.
    let mut running = tokio::spawn(async move { runner.run(assignment).await }.in_current_span());
    let stop = tokio::select! {
        ended = &mut running => return outcome(ended),
        () = until(message.work.deadline) => Stop::Deadline,
        () = given_up.cancelled() => Stop::Drain,
        () = cancelled.cancelled() => Stop::Cancelled,
    };
    cancel.cancel();
    let ended = tokio::time::timeout(CANCEL_GRACE, &mut running).await;
    if ended.is_err() {
        tracing::warn!("a runner did not stop when it was told to; it is aborted");
        running.abort();
    }
    match (stop, ended) {
        (Stop::Cancelled, _) => Err(Outcome::Cancelled),
        // The answer came in the same moment: it is paid for, so it is used.
        (_, Ok(Ok(Ok(completion)))) => Ok(completion),
        (Stop::Drain, _) => Err(Outcome::Drained),
        (Stop::Deadline, Ok(Ok(Err(error)))) => {
            let spent = message.work.spent.plus(deliveries, error.usage, error.cost_usd);
            Err(Outcome::DeadlinePassed(spent))
        }
        (Stop::Deadline, _) => {
            let spent = Spent { attempts: deliveries, ..message.work.spent.clone() };
            Err(Outcome::DeadlinePassed(spent))
        }
    }
}

fn outcome(
    ended: Result<Result<Completion, RunError>, tokio::task::JoinError>,
) -> Result<Completion, Outcome> {
    match ended {
        Ok(ended) => ended.map_err(Outcome::Failed),
        Err(_panic) => {
            let message = "the worker failed in an unforeseen way; its log has the place";
            Err(Outcome::Failed(RunError::new(RunErrorKind::Transient, "worker_panicked", message)))
        }
    }
}

/// Resolves at `deadline`; never, without one.
pub(crate) async fn until(deadline: Option<Timestamp>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(remaining(deadline)).await,
        None => std::future::pending().await,
    }
}

fn remaining(deadline: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default()
}

fn partials(broker: &Broker, work: &Work, attempt: u32) -> PartialSender {
    if !work.stream {
        return PartialSender::disabled();
    }
    let (sender, receiver) = PartialSender::channel();
    tokio::spawn(publish_partials(broker.clone(), work.clone(), attempt, receiver));
    sender
}

async fn publish_partials(broker: Broker, work: Work, attempt: u32, mut pieces: mpsc::Receiver<String>) {
    let mut index = 0;
    while let Some(text) = pieces.recv().await {
        broker.report_partial(&work, &Partial { task_id: work.task_id.clone(), attempt, index, text }).await;
        index += 1;
    }
}
