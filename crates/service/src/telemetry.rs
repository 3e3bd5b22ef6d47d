//! Logs to stderr and metrics for Prometheus. Neither ever holds text of a task.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Telemetry};

/// Buckets of every histogram whose name ends in `_seconds`: a millisecond to ten minutes.
const SECONDS_BUCKETS: [f64; 15] =
    [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter does not read.
    #[error("`telemetry.log` is no log filter: {0}")]
    Filter(String),
    /// The metrics recorder could not be installed.
    #[error("cannot install the metrics recorder: {0}")]
    Recorder(String),
}

/// Starts logging. `RUST_LOG` wins over the configuration.
///
/// # Errors
/// [`TelemetryError::Filter`] for a filter that does not read.
pub fn start_logging(telemetry: &Telemetry) -> Result<(), TelemetryError> {
    let text = std::env::var("RUST_LOG").unwrap_or_else(|_| telemetry.log.clone());
    let filter = EnvFilter::try_new(text).map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = match telemetry.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// Installs the metrics recorder of this process.
///
/// # Errors
/// [`TelemetryError::Recorder`] where one is installed already.
pub fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let failed = |error: metrics_exporter_prometheus::BuildError| TelemetryError::Recorder(error.to_string());
    let suffix = metrics_exporter_prometheus::Matcher::Suffix("_seconds".into());
    PrometheusBuilder::new()
        .set_buckets_for_metric(suffix, &SECONDS_BUCKETS)
        .map_err(failed)?
        .install_recorder()
        .map_err(failed)
}
