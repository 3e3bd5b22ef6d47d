//! The monitor's part of the configuration: what it looks at, when it raises an alert, and where it shows itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trilane_protocol::LaneName;
use trilane_protocol::nearest::suggestion;

use super::{Config, ConfigError};

/// Webhooks that may be configured.
const MAX_WEBHOOKS: usize = 16;

/// The monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// Seconds between two sweeps for stuck messages.
    pub sweep_s: u64,
    /// Seconds between two looks at queues, workers and budgets.
    pub look_s: u64,
    /// Seconds over which rates are measured.
    pub rate_window_s: u64,
}

impl Monitor {
    /// Between two sweeps.
    pub fn sweep(&self) -> Duration {
        Duration::from_secs(self.sweep_s)
    }

    /// Between two looks.
    pub fn look(&self) -> Duration {
        Duration::from_secs(self.look_s)
    }

    /// What rates are measured over.
    pub fn rate_window(&self) -> Duration {
        Duration::from_secs(self.rate_window_s)
    }
}

/// When alerts are raised, and who is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Seconds after the start of the monitor in which nothing fires.
    pub settle_s: u64,
    /// Seconds that something must be wrong before its alert fires.
    pub fire_after_s: u64,
    /// Seconds that it must be right again before the alert is resolved.
    pub resolve_after_s: u64,
    /// Bounds of every lane.
    pub limits: LaneLimits,
    /// Other bounds for some lanes.
    pub lanes: BTreeMap<LaneName, LaneOverrides>,
    /// Seconds without progress after which a worker that has work counts as hung.
    pub hung_s: u64,
    /// Share of a budget, 0 to 1, that is spent or will be by the end of its day or week at today's pace.
    pub budget: f64,
    /// Seconds that the clocks of two hosts may differ.
    pub clock_skew_s: u64,
    /// New dead letters within ten minutes that are too many.
    pub dead_letters: u64,
    /// Seconds without an answer of the server.
    pub unreachable_s: u64,
    /// Who is told by HTTP.
    pub webhooks: Vec<Webhook>,
}

/// Bounds of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneLimits {
    /// Seconds that a task which is put on it now may have to wait, at the rate of now.
    pub wait_s: u64,
    /// Seconds that its oldest task may have been on it.
    pub age_s: u64,
    /// Share of its bound, 0 to 1, that its fullest priority may hold.
    pub full: f64,
    /// Share of its slots, 0 to 1, that may be busy while tasks wait.
    pub saturation: f64,
}

/// Bounds of one lane that differ from those of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaneOverrides {
    /// See [`LaneLimits::wait_s`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u64>,
    /// See [`LaneLimits::age_s`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// See [`LaneLimits::full`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<f64>,
    /// See [`LaneLimits::saturation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<f64>,
}

/// Who is told of alerts by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where alerts are posted to.
    pub url: String,
    /// The file that holds the secret that they are signed with; absent: they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// Only alerts of these kinds; absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

/// The page that the monitor serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Whether it is served.
    pub enabled: bool,
    /// Where.
    pub listen: SocketAddr,
    /// The file that holds the token that it asks for; empty: `monitor/dashboard.token` in the folder of keys. Use
    /// [`Config::dashboard_token_file`].
    pub token_file: PathBuf,
}

impl Alerts {
    /// The bounds of a lane.
    pub fn limits_of(&self, lane: &LaneName) -> LaneLimits {
        let of_all = self.limits;
        let own = self.lanes.get(lane).copied().unwrap_or_default();
        LaneLimits {
            wait_s: own.wait_s.unwrap_or(of_all.wait_s),
            age_s: own.age_s.unwrap_or(of_all.age_s),
            full: own.full.unwrap_or(of_all.full),
            saturation: own.saturation.unwrap_or(of_all.saturation),
        }
    }
}

impl Config {
    /// The file that holds the dashboard's token.
    pub fn dashboard_token_file(&self) -> PathBuf {
        match self.dashboard.token_file.as_os_str().is_empty() {
            true => self.keys_folder().join("monitor").join("dashboard.token"),
            false => self.dashboard.token_file.clone(),
        }
    }
}

/// Holds the monitor's part against the rest of the configuration.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let bad = |key: String, problem: String| Err(ConfigError::BadKey { key, problem });
    let lanes = &config.registry.lanes;
    if let Some(lane) = config.alerts.lanes.keys().find(|lane| !lanes.contains_key(*lane)) {
        let known: Vec<&str> = lanes.keys().map(LaneName::as_str).collect();
        let meant = suggestion(lane.as_str(), known.iter().copied());
        let problem = format!("there is no lane `{lane}`; lanes are {}{meant}", known.join(", "));
        return bad(format!("alerts.lanes.{lane}"), problem);
    }
    let shares = config
        .alerts
        .lanes
        .keys()
        .map(|lane| (format!("alerts.lanes.{lane}"), config.alerts.limits_of(lane)));
    for (key, limits) in shares.chain([("alerts.limits".to_owned(), config.alerts.limits)]) {
        for (name, share) in [("full", limits.full), ("saturation", limits.saturation)] {
            if !(0.0..=1.0).contains(&share) || share == 0.0 {
                return bad(format!("{key}.{name}"), "expected a share above 0, up to 1".into());
            }
        }
    }
    if config.alerts.webhooks.len() > MAX_WEBHOOKS {
        return bad("alerts.webhooks".into(), format!("expected {MAX_WEBHOOKS} at most"));
    }
    for (index, webhook) in config.alerts.webhooks.iter().enumerate() {
        if !["http://", "https://"].iter().any(|scheme| webhook.url.starts_with(scheme)) {
            let key = format!("alerts.webhooks.{index}.url");
            return bad(key, "expected a URL that begins with https:// or http://".into());
        }
    }
    Ok(())
}
