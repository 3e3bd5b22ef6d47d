//! The binary `trilane-endpoint-worker`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use trilane_endpoint_worker::Catalogue;
use trilane_endpoint_worker::resolver::SystemLookup;
use trilane_protocol::LaneName;
use trilane_service::config::{EXIT_BAD_CONFIG, load};
use trilane_service::metrics::labels::Process;

/// Serves a local lane from an inference server on this host or network (Ollama, vLLM, llama-server).
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
    let catalogue = match Catalogue::build(&config, &args.lane, &SystemLookup) {
        Ok(catalogue) => catalogue,
        Err(error) => return fail(EXIT_BAD_CONFIG, &error.into()),
    };
    let started = match trilane_service::start::start(&config, Process::EndpointWorker).await {
        Ok(started) => started,
        Err(error) => return fail(1, &error.into()),
    };
    match trilane_endpoint_worker::run(&config, args.lane, catalogue, &started).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.into()),
    }
}

fn fail(status: u8, error: &anyhow::Error) -> ExitCode {
    eprintln!("trilane-endpoint-worker: {error:#}");
    ExitCode::from(status)
}
