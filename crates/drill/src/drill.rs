//! One drill from its first process to its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trilane_trust::Role;

use crate::audit::{Evidence, audit};
use crate::evidence::Reader;
use crate::fleet::{Fleet, binary, url};
use crate::producers::{Door, Published};
use crate::queue::CLUSTER_NODES;
use crate::report::{Measured, Report};
use crate::{faults, producers, proof, schedule, tasks};

/// Between two lines that say how far the drill is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);

/// Puts the real fleet under fire and audits what became of every task.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// What all faults and tasks are drawn from; one that is drawn itself where none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// Tasks to publish.
    #[arg(long, default_value_t = 5_000)]
    tasks: usize,
    /// Minutes after which no task is published and no fault begun any more.
    #[arg(long)]
    minutes: Option<f64>,
    /// Print one JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Three servers, with three copies of everything.
    #[arg(long)]
    cluster: bool,
    /// Keep configuration, stores and logs in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs a drill and prints its report. Says whether everything held.
///
/// # Errors
/// Where the drill itself cannot be carried out.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    eprintln!("fire drill with seed {seed}, {} tasks", arguments.tasks);
    let (folder, _temporary) = folder(arguments.keep.as_deref())?;
    let nodes = if arguments.cluster { CLUSTER_NODES } else { 1 };
    let fleet = Arc::new(Fleet::start(seed, nodes, &folder).await?);
    let reader = Reader::connect(fleet.admin_address, &fleet.keys).await?;
    let listener = reader.listen().await?;

    let begun = Instant::now();
    let published = Arc::new(Published::default());
    let tasks = Arc::new(tasks::plan(seed, arguments.tasks));
    let longest = arguments.minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
    under_fire(&fleet, &tasks, &published, schedule::plan(seed, tasks.len(), nodes), longest).await?;
    fleet.calm().await;
    let (drained_in, is_drained) = reader.drained().await;
    let seconds = begun.elapsed().as_secs_f64();
    if !is_drained {
        eprintln!("the queues are not empty after {:.0} s", drained_in.as_secs_f64());
    }
    // A worker that has lost its lease may still be at work: only when all have ended is everything stored.
    fleet.stop().await;

    let evidence = Evidence {
        tasks: tasks.to_vec(),
        acknowledged: published.acknowledged(),
        results: reader.results().await?,
        announced: listener.heard(),
        buried: reader.buried().await?,
        queued: reader.queued().await?,
        queues: reader.queues().await?,
        invocations: fleet.provider.log().entries(),
        booked: reader.booked().await?,
        proof: proof::prove(binary("trilane")?, fleet.config_file.clone(), url(fleet.admin_address)).await?,
    };
    let findings = audit(&evidence);
    let noted = fleet.notes.noted();
    let measured = Measured {
        seed,
        offered: published.offered.load(Ordering::Relaxed),
        refused: published.refused.load(Ordering::Relaxed),
        ambiguous: published.ambiguous.load(Ordering::Relaxed),
        seconds,
        drain_seconds: drained_in.as_secs_f64(),
    };
    let report = Report::new(&evidence, &findings, &noted, measured);
    eprintln!("{}", report.sentences(&evidence, &findings, &noted));
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(findings.are_none() && noted.bad_exits.is_empty())
}

/// Publishes while faults happen; returns when every task that was begun is acknowledged and every fault undone.
async fn under_fire(
    fleet: &Arc<Fleet>,
    tasks: &Arc<Vec<tasks::PlannedTask>>,
    published: &Arc<Published>,
    schedule: Vec<schedule::Scheduled>,
    longest: Option<Duration>,
) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let (count, counted) = watch::channel(0);
    let (release, released) = watch::channel(0);
    let faults = tokio::spawn(faults::run(Arc::clone(fleet), schedule, counted, release, stop.clone()));
    let door = Door { address: fleet.producers_address, seed: fleet.keys.user_seed(&Role::Producer)? };
    let producing =
        producers::run(Arc::clone(tasks), &door, Arc::clone(published), count, released, stop.clone());
    let mut producing = std::pin::pin!(producing);
    let progress = async {
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            let (acknowledged, faults) = (published.acknowledged().len(), fleet.notes.noted().faults);
            let faults: u64 = faults.values().sum();
            eprintln!("  {acknowledged} of {} acknowledged, {faults} faults undone", tasks.len());
        }
    };
    tokio::select! {
        () = progress => {}
        produced = &mut producing => produced?,
        () = after(longest) => {
            stop.cancel();
            producing.await?;
        }
    }
    stop.cancel();
    faults.await?;
    Ok(())
}

/// Resolves after `length`; never, without one.
async fn after(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// Where everything is written, and what takes it away again.
pub(crate) fn folder(keep: Option<&Path>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    if let Some(keep) = keep {
        std::fs::create_dir_all(keep)?;
        return Ok((keep.canonicalize()?, None));
    }
    let temporary = TempDir::new()?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}
