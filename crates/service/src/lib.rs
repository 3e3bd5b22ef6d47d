//! How a process of the fleet starts, reports and stops.
//!
//! * [`config`]: the one configuration file, checked
//! * [`metrics`]: every metric of the fleet, and what bounds its labels
//! * [`telemetry`]: logs to stderr, metrics for Prometheus
//! * [`health`]: `/healthz`, `/readyz` and `/metrics` on one port
//! * [`shutdown`]: one token that SIGTERM and Ctrl-C cancel
//! * [`start`]: all of them together, for `main`

pub mod config;
pub mod health;
pub mod metrics;
pub mod shutdown;
pub mod start;
pub mod telemetry;

pub use config::Config;
pub use shutdown::Shutdown;
