//! The process `trilane`: arguments and exit status.

use std::process::ExitCode;

use clap::Parser;
use trilane_cli::{Arguments, exit_status, run};

/// One thread: it is then the parent of everything that `trilane up` starts, and Linux ends a child when the
/// thread that started it ends, not its process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trilane: {error:#}");
            ExitCode::from(exit_status(&error))
        }
    }
}
