//! The scaling benchmark: how throughput grows with workers and with classifiers, and what joins and leaves cost.
//!
//! Real processes on a real server with keys; only the model is made of sleep, so that the machine is not what is
//! measured. Each row has a server, a store and processes of its own.
//!
//! * [`rate`]: throughput from times, pure
//! * [`model`]: the server that sleeps
//! * [`stand`]: what runs
//! * [`load`]: what is published, and what became of it
//! * [`growth`]: more workers, [`change`]: workers that join and leave, [`classifiers`]: more classifiers
//! * [`report`]: all of it, for programs and for people

pub mod change;
pub mod classifiers;
pub mod growth;
pub mod load;
pub mod model;
pub mod rate;
pub mod report;
pub mod stand;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Parser;

use crate::drill::folder;
use report::Report;
use stand::Ground;

/// Measures how throughput grows with workers and classifiers, and what joins and leaves cost.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Numbers of workers, the first of them 1.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Vec<u16>,
    /// Tasks that each worker runs at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    slots: u16,
    /// Milliseconds that the model sleeps before it answers.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    sleep_ms: u64,
    /// Tasks for each worker, so that every row takes about as long.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(100..=10_000))]
    tasks_per_worker: u32,
    /// Numbers of classifiers.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4", value_parser = clap::value_parser!(u16).range(1..=16))]
    classifiers: Vec<u16>,
    /// Tasks for each classifier.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(20..=5_000))]
    tasks_per_classifier: u32,
    /// Milliseconds by which the connection of a far classifier holds back whatever goes through it.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    far_ms: u64,
    /// Speed-up of the largest number of workers over one, below which the exit status is 1.
    #[arg(long, default_value_t = 7.0)]
    at_least: f64,
    /// Print one JSON object on stdout, instead of tables.
    #[arg(long)]
    json: bool,
    /// Keep configurations, stores and logs in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs the benchmark and prints its tables. Says whether everything held.
///
/// # Errors
/// Where the benchmark itself cannot be carried out.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    if arguments.workers.first() != Some(&1) {
        bail!("--workers: the first number must be 1; the others are held against it");
    }
    let (folder, _temporary) = folder(arguments.keep.as_deref())?;
    let ground = Ground {
        folder,
        slots: arguments.slots.into(),
        sleep: Duration::from_millis(arguments.sleep_ms),
        tasks_per_worker: arguments.tasks_per_worker as usize,
    };
    let mut workers = Vec::new();
    for count in &arguments.workers {
        eprintln!("{count} workers");
        workers.push(growth::row(&ground, (*count).into()).await?);
    }
    eprintln!("a worker joins and leaves");
    let change = change::join_and_leave(&ground).await?;
    eprintln!("a worker hands back");
    let hand_back = change::hand_back(&ground).await?;
    let mut near = Vec::new();
    let mut far = Vec::new();
    for (rows, far_ms) in [(&mut near, 0), (&mut far, arguments.far_ms)] {
        for count in &arguments.classifiers {
            eprintln!("{count} classifiers, {far_ms} ms away");
            let tasks = arguments.tasks_per_classifier as usize;
            let distance = Duration::from_millis(far_ms);
            rows.push(classifiers::row(&ground, (*count).into(), tasks, distance).await?);
        }
    }
    let report = Report::new(&ground, workers, change, hand_back, near, far);
    let faults = report.faults(arguments.at_least);
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.tables());
    }
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    Ok(faults.is_empty())
}
