//! The monitor's process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use trilane_service::config::{self, EXIT_BAD_CONFIG};
use trilane_service::start;

/// Watches the queues, and ends what is stuck in them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; the embedded default holds for what it leaves out.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match config::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_BAD_CONFIG);
        }
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: config::Config) -> anyhow::Result<()> {
    let started = start::start(&config.telemetry).await?;
    trilane_monitor::run(config, &started).await?;
    Ok(())
}
