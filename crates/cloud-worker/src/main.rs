//! The binary `trilane-cloud-worker`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use trilane_cloud_worker::Catalogue;
use trilane_protocol::LaneName;
use trilane_service::config::{EXIT_BAD_CONFIG, load};
use trilane_service::metrics::labels::Process;

/// Serves a cloud lane with the API keys that the configuration names.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The lane to serve.
    #[arg(long)]
    lane: LaneName,
    /// Configuration file; TRILANE_CONFIG where it is not given.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let config = match load(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_BAD_CONFIG, &error.into()),
    };
    let started = match trilane_service::start::start(&config, Process::CloudWorker).await {
        Ok(started) => started,
        Err(error) => return fail(1, &error.into()),
    };
    let catalogue = match Catalogue::build(&config, &args.lane, |name| std::env::var(name).ok()) {
        Ok(catalogue) => catalogue,
        Err(error) => return fail(EXIT_BAD_CONFIG, &error.into()),
    };
    match trilane_cloud_worker::run(&config, args.lane, catalogue, &started).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.into()),
    }
}

fn fail(status: u8, error: &anyhow::Error) -> ExitCode {
    eprintln!("trilane-cloud-worker: {error:#}");
    ExitCode::from(status)
}
