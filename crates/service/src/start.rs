//! What every process of the fleet does before its own work: logs, metrics, health, signals.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config, EXIT_BAD_CONFIG};
use crate::health::{self, HealthError, Readiness};
use crate::metrics::labels::Process;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, TelemetryError};

/// A started process.
#[derive(Debug)]
pub struct Started {
    /// Begins at SIGTERM or Ctrl-C.
    pub shutdown: Shutdown,
    /// What `/readyz` says.
    pub readiness: Readiness,
}

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Logs or metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// Health.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// Signals.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// Starts logs, metrics, health and the signal handlers.
///
/// # Errors
/// [`StartError`] says which of them failed and why.
pub async fn start(config: &Config, process: Process) -> Result<Started, StartError> {
    telemetry::start_logging(&config.telemetry)?;
    let metrics = telemetry::start_metrics(config, process)?;
    let shutdown = Shutdown::on_signals().map_err(StartError::Signals)?;
    let readiness = Readiness::default();
    health::serve(config.telemetry.listen, readiness.clone(), metrics, &shutdown).await?;
    Ok(Started { shutdown, readiness })
}

/// The whole of a process that needs nothing but its configuration, read from `file` where one is named: starts what
/// every process starts, then runs `run` to its end. Says on stderr why it failed.
pub async fn process<E: Error>(
    file: Option<&Path>,
    process: Process,
    run: impl AsyncFnOnce(Config, &Started) -> Result<(), E>,
) -> ExitCode {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_BAD_CONFIG);
        }
    };
    let started = match start(&config, process).await {
        Ok(started) => started,
        Err(error) => return failed(&error),
    };
    match run(config, &started).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// The error with all its causes.
fn failed(error: &dyn Error) -> ExitCode {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    eprintln!("{}", causes.join(": "));
    ExitCode::FAILURE
}
