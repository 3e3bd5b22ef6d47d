//! How a program of this crate ends: with what it found, or at once when it is told to.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

/// Runs `work` to its end, or until SIGTERM or Ctrl-C, and makes an exit status of it. Whatever `work` has started is
/// ended as it is dropped, so an interrupted program must not just die.
pub async fn run(work: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("it could not be carried out: {error:#}");
            ExitCode::FAILURE
        }
    }
}
