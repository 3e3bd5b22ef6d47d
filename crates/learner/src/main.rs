//! The learner's process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use trilane_service::metrics::labels::Process;
use trilane_service::start;

/// Learns from outcomes which lane does for which task.
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
    start::process(arguments.config.as_deref(), Process::Learner, trilane_learner::run).await
}
