//! The notifier's process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use trilane_service::metrics::labels::Process;
use trilane_service::start;

/// Posts alerts to the webhooks of the configuration.
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
    start::process(arguments.config.as_deref(), Process::Notifier, trilane_notifier::run).await
}
