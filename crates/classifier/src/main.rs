//! The classifier's process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use trilane_service::metrics::labels::Process;
use trilane_service::start;

/// Relays tasks from the intake to their lanes.
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
    start::process(arguments.config.as_deref(), Process::Classifier, trilane_classifier::run).await
}
