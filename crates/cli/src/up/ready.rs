//! Waits until every worker takes tasks, and says what is up.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use trilane_broker::Broker;
use trilane_broker::workers::WorkerChange;
use trilane_protocol::heartbeat::{Heartbeat, WorkerState};
use trilane_protocol::{LaneName, ModelName};

use super::plan::PlannedWorker;
use super::supervisor::ProcessId;
use crate::output;

/// Between two moves of the spinner.
const SPINNER_INTERVAL: Duration = Duration::from_millis(100);

/// Where a client looks that is told nothing.
const USUAL_URL: &str = "nats://127.0.0.1:4222";

/// How tasks get in and answers out. `url` holds no credentials.
pub(super) fn usage(url: &str) -> String {
    let elsewhere = match url {
        USUAL_URL => String::new(),
        _ => format!("  export TRILANE__NATS__URL={url} NATS_URL={url}      (in each terminal)\n"),
    };
    format!(
        "{elsewhere}\
  \x20 trilane submit --wait 'Rewrite this politely: no.'
  nats pub tasks.me '{{\"prompt\":\"Rewrite this politely: no.\"}}'   (answers: nats sub 'results.me.>')
  trilane lanes, trilane results --follow, trilane doctor, trilane dashboard
Ctrl-C drains and stops.
"
    )
}

/// Waits until each of these processes says that it takes tasks. There is no bound: loading a large model takes
/// what it takes, and a process that cannot is told apart by its crash loop.
pub(super) async fn wait(
    broker: &Broker,
    workers: Vec<(&PlannedWorker, ProcessId)>,
) -> anyhow::Result<Vec<Heartbeat>> {
    let mut ready = Vec::with_capacity(workers.len());
    let started = Instant::now();
    let mut missing: BTreeMap<LaneName, (&PlannedWorker, ProcessId)> =
        workers.into_iter().map(|(worker, pid)| (worker.lane.clone(), (worker, pid))).collect();
    let bar = spinner();
    show(&bar, &missing);
    let mut changes = pin!(broker.workers().await?.watch().await?);
    while !missing.is_empty() {
        let Some(change) = changes.next().await else {
            anyhow::bail!("the server no longer says who is ready")
        };
        let WorkerChange::Alive(heartbeat) = change else { continue };
        if !missing.get(&heartbeat.lane).is_some_and(|(_, pid)| is_ready(&heartbeat, *pid.borrow())) {
            continue;
        }
        missing.remove(&heartbeat.lane);
        let line = format!("{} is ready after {}", named(&heartbeat), output::length(started.elapsed()));
        bar.suspend(|| eprintln!("{line}"));
        show(&bar, &missing);
        ready.push(*heartbeat);
    }
    bar.finish_and_clear();
    ready.sort_by(|a, b| a.lane.cmp(&b.lane));
    Ok(ready)
}

/// Workers of other hosts may serve the same lane of a server that runs already; only ours are waited for.
fn is_ready(heartbeat: &Heartbeat, pid: Option<u32>) -> bool {
    heartbeat.state == WorkerState::Ready && pid == Some(heartbeat.pid)
}

/// The lanes with what their workers really serve, a line each.
pub(super) fn summary(ready: &[Heartbeat]) -> String {
    let mut text = String::new();
    let width = ready.iter().map(|worker| worker.lane.as_str().len()).max().unwrap_or(0);
    for worker in ready {
        let lane = worker.lane.as_str();
        // Writing to a string never fails.
        let _ = writeln!(text, "  {lane:<width$}  {}, {} slots", joined(&worker.models), worker.slots);
    }
    text
}

fn named(worker: &Heartbeat) -> String {
    format!("{} ({})", worker.lane, joined(&worker.models))
}

fn joined(models: &[ModelName]) -> String {
    models.iter().map(ModelName::as_str).collect::<Vec<_>>().join(", ")
}

fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(SPINNER_INTERVAL);
    bar
}

fn show(bar: &ProgressBar, missing: &BTreeMap<LaneName, (&PlannedWorker, ProcessId)>) {
    let names: Vec<&str> = missing.keys().map(LaneName::as_str).collect();
    bar.set_message(format!("starting {}", names.join(", ")));
}
