//! The binary `trilane-drill`; `scripts/fire-drill` builds and starts it.

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use trilane_drill::drill::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The processes are ended as the drill is dropped, so an interrupted one must not just die.
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let outcome = tokio::select! {
        outcome = run(arguments) => outcome,
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the drill did not take place: {error:#}");
            ExitCode::FAILURE
        }
    }
}
