//! What every process of the fleet does before its own work: logs, metrics, health, signals.

use crate::config::Telemetry;
use crate::health::{self, HealthError, Readiness};
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
pub async fn start(telemetry: &Telemetry) -> Result<Started, StartError> {
    telemetry::start_logging(telemetry)?;
    let metrics = telemetry::start_metrics()?;
    let shutdown = Shutdown::on_signals().map_err(StartError::Signals)?;
    let readiness = Readiness::default();
    health::serve(telemetry.listen, readiness.clone(), metrics, &shutdown).await?;
    Ok(Started { shutdown, readiness })
}
