//! Logs to stderr and metrics for Prometheus. Neither ever holds text of a task.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat, Telemetry};
use crate::metrics;
use crate::metrics::labels::Process;
use crate::metrics::metric::Kind;

/// Between two rounds of upkeep. Observations of histograms wait in memory until then, or until somebody asks for them:
/// nobody may ever ask.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

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

/// Installs the metrics recorder of this process, and describes to it every metric. Within a tokio runtime.
///
/// # Errors
/// [`TelemetryError::Recorder`] where one is installed already.
pub fn start_metrics(config: &Config, process: Process) -> Result<PrometheusHandle, TelemetryError> {
    let failed = |error: BuildError| TelemetryError::Recorder(error.to_string());
    let handle = builder().and_then(PrometheusBuilder::install_recorder).map_err(failed)?;
    metrics::describe(config, process);
    tokio::spawn(keep_up(handle.clone()));
    Ok(handle)
}

/// A recorder that knows the buckets of every histogram.
pub(crate) fn builder() -> Result<PrometheusBuilder, BuildError> {
    let histograms = metrics::catalogue::all().into_iter().filter(|metric| metric.kind == Kind::Histogram);
    histograms.into_iter().try_fold(PrometheusBuilder::new(), |builder, histogram| {
        builder.set_buckets_for_metric(Matcher::Full(histogram.name.into()), histogram.unit.buckets())
    })
}

async fn keep_up(metrics: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}
