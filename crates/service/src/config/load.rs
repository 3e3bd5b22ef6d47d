//! Reads the sources of the configuration, puts them on top of each other, and checks the whole.

use std::path::{Path, PathBuf};

use config::{Config as Sources, File, FileFormat};
use trilane_protocol::nearest::with_suggestion;
use trilane_routing::explore::MAX_EXPLORE;
use trilane_routing::policy::Target;
use trilane_routing::raw::{RawRegistry, RegistryError};

use super::{Config, RawConfig, environment, watching};

/// The embedded default, every key annotated.
pub const DEFAULT_TOML: &str = include_str!("../../../../config/trilane.toml");

/// Names the operator's file where `--config` does not.
const FILE_VARIABLE: &str = "TRILANE_CONFIG";

/// Exit status for a configuration that does not hold (`EX_USAGE` of sysexits.h).
pub const EXIT_BAD_CONFIG: u8 = 64;

/// Longest time for which the ledger's book is looked at, seconds: this week and the one before.
const LONGEST_WINDOW_S: u64 = 14 * 24 * 3_600;

/// Why there is no configuration. Every message says which key, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A source is no TOML, or an environment variable cannot be placed.
    #[error("configuration: {0}")]
    Malformed(String),
    /// A key is unknown or has the wrong type.
    #[error("configuration: `{key}`: {problem}")]
    BadKey {
        /// Its path.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The registry does not hold together.
    #[error("configuration: {0}")]
    Registry(#[from] RegistryError),
}

/// Loads the configuration of this process: default, `file` or `TRILANE_CONFIG`, environment.
///
/// # Errors
/// [`ConfigError`] names the key at fault.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    let named = std::env::var_os(FILE_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = file.map(Path::to_path_buf).or(named);
    let text = path.map(|path| read(&path)).transpose()?;
    load_from(text.as_deref(), std::env::vars())
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

/// Loads the configuration from given sources.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    file: Option<&str>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let default: toml::Table = toml::from_str(DEFAULT_TOML).map_err(malformed)?;
    let mut known = default;
    let mut sources = Sources::builder().add_source(File::from_str(DEFAULT_TOML, FileFormat::Toml));
    if let Some(text) = file {
        let table: toml::Table = toml::from_str(text).map_err(malformed)?;
        sources = sources.add_source(File::from_str(text, FileFormat::Toml));
        environment::merge(&mut known, table);
    }
    let overrides = environment::overrides(variables, &known).map_err(ConfigError::Malformed)?;
    let overrides = toml::to_string(&overrides).map_err(malformed)?;
    let merged =
        sources.add_source(File::from_str(&overrides, FileFormat::Toml)).build().map_err(malformed)?;
    check(decode(merged)?)
}

fn malformed(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::Malformed(error.to_string())
}

fn decode(merged: Sources) -> Result<RawConfig, ConfigError> {
    let tree: serde_json::Value = merged.try_deserialize().map_err(malformed)?;
    if let Some(key) = endless_number(&tree) {
        return Err(ConfigError::BadKey {
            key,
            problem: "expected a number, found none (nan or inf)".into(),
        });
    }
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let path = error.path().to_string();
        let problem = with_suggestion(&error.inner().to_string());
        ConfigError::BadKey { key: if path == "." { "(top level)".into() } else { path }, problem }
    })
}

fn check(raw: RawConfig) -> Result<Config, ConfigError> {
    let registry =
        RawRegistry { lanes: raw.lanes, models: raw.models, providers: raw.providers, agents: raw.agents };
    let config = Config {
        registry: registry.check()?,
        nats: raw.nats,
        security: raw.security,
        streams: raw.streams,
        limits: raw.limits,
        paths: raw.paths,
        policy: raw.policy,
        budget: raw.budget,
        worker: raw.worker,
        local_worker: raw.local_worker,
        classifier: raw.classifier,
        monitor: raw.monitor,
        alerts: raw.alerts,
        dashboard: raw.dashboard,
        telemetry: raw.telemetry,
    };
    check_numbers(&config)?;
    watching::check(&config)?;
    Ok(config)
}

/// Where a number is not one: JSON has no such numbers and says null, which an optional key would take for absent, and
/// a budget for none.
fn endless_number(tree: &serde_json::Value) -> Option<String> {
    let below = |name: String, value| {
        let path = endless_number(value)?;
        Some(if path.is_empty() { name } else { format!("{name}.{path}") })
    };
    match tree {
        serde_json::Value::Null => Some(String::new()),
        serde_json::Value::Object(fields) => {
            fields.iter().find_map(|(name, value)| below(name.clone(), value))
        }
        serde_json::Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, value)| below(index.to_string(), value))
        }
        _ => None,
    }
}

/// The numbers that would break a promise or hang a process when out of range.
fn check_numbers(config: &Config) -> Result<(), ConfigError> {
    let policy = &config.policy;
    let rules: [(&str, bool, &str); 26] = [
        (
            "policy.good_enough",
            (0.0..=1.0).contains(&config.policy.good_enough),
            "expected a number from 0 to 1",
        ),
        ("policy.min_gain", (0.0..=1.0).contains(&policy.min_gain), "expected a number from 0 to 1"),
        (
            "policy.quality_floor",
            (0.0..=1.0).contains(&policy.quality_floor),
            "expected a number from 0 to 1",
        ),
        ("policy.learned_after", policy.learned_after > 0.0, "expected a number of outcomes above 0"),
        (
            "policy.explore",
            (0.0..=MAX_EXPLORE).contains(&policy.explore),
            "expected a share from 0 to 0.5: beyond it the policy would hardly matter",
        ),
        (
            "policy.target.cloud_share",
            !matches!(policy.target, Some(Target::CloudShare(share)) if !(0.0..=1.0).contains(&share)),
            "expected a share from 0 to 1",
        ),
        (
            "policy.target.usd_week",
            !matches!(policy.target, Some(Target::UsdWeek(usd)) if !is_money(Some(usd))),
            "expected dollars, 0 or more",
        ),
        ("policy.default_max_tokens", config.policy.default_max_tokens > 0, "expected 1 or more"),
        (
            "streams.results_max_age_s",
            config.streams.results_max_age_s > config.limits.max_deadline_s,
            "must be longer than limits.max_deadline_s, or a task could be answered twice",
        ),
        (
            "streams.ledger_max_age_s",
            config.streams.ledger_max_age_s > config.limits.max_deadline_s.max(LONGEST_WINDOW_S),
            "must be longer than limits.max_deadline_s and than two weeks, or spend would be forgotten",
        ),
        ("budget.day_usd", is_money(config.budget.day_usd), "expected dollars, 0 or more"),
        ("budget.week_usd", is_money(config.budget.week_usd), "expected dollars, 0 or more"),
        (
            "security.seal_valid_s",
            config.security.seal_valid_s >= config.limits.max_deadline_s,
            "must not be shorter than limits.max_deadline_s, or a task could end while it may still wait",
        ),
        (
            "streams.results_max_age_s",
            config.streams.results_max_age_s > config.security.seal_valid_s,
            "must be longer than security.seal_valid_s, or a task could be answered twice",
        ),
        (
            "nats.tls",
            config.nats.tls.cert.as_os_str().is_empty() == config.nats.tls.key.as_os_str().is_empty()
                && config.nats.tls.server_cert.as_os_str().is_empty()
                    == config.nats.tls.server_key.as_os_str().is_empty(),
            "a certificate and its key are given together",
        ),
        ("streams.replicas", matches!(config.streams.replicas, 1 | 3 | 5), "expected 1, 3 or 5"),
        ("worker.heartbeat_s", config.worker.heartbeat_s > 0, "expected 1 or more"),
        ("worker.retry_factor", config.worker.retry_factor >= 1.0, "expected 1 or more"),
        (
            "worker.retry_jitter",
            (0.0..1.0).contains(&config.worker.retry_jitter),
            "expected 0 or more, below 1",
        ),
        ("local_worker.batch_tokens", config.local_worker.batch_tokens >= 32, "expected 32 or more"),
        ("classifier.window", config.classifier.window > 0, "expected 1 or more"),
        ("monitor.sweep_s", config.monitor.sweep_s > 0, "expected 1 or more"),
        ("monitor.look_s", config.monitor.look_s > 0, "expected 1 or more"),
        (
            "monitor.rate_window_s",
            config.monitor.rate_window_s >= 2 * config.monitor.look_s,
            "expected twice monitor.look_s or more: a rate needs two looks",
        ),
        ("alerts.hung_s", config.alerts.hung_s > 0, "expected 1 or more"),
        (
            "alerts.budget",
            config.alerts.budget > 0.0 && config.alerts.budget <= 1.0,
            "expected a share above 0, up to 1",
        ),
    ];
    match rules.into_iter().find(|(_, holds, _)| !holds) {
        Some((key, _, problem)) => Err(ConfigError::BadKey { key: key.into(), problem: problem.into() }),
        None => Ok(()),
    }
}

fn is_money(usd: Option<f64>) -> bool {
    usd.is_none_or(|usd| trilane_protocol::Usd::nearest(usd).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load_from(None, pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_embedded_default_holds() {
        let config = load_from(None, []).unwrap();
        assert_eq!(config.nats.url, "nats://127.0.0.1:4222");
        assert_eq!(config.registry.lanes.len(), 3);
    }

    #[test]
    fn a_file_changes_one_key_and_the_environment_another() {
        let file = "[lanes.local-fast]\nskill = 0.2\n[nats]\nurl = \"nats://file:1\"";
        let variables = [("TRILANE__NATS__URL".to_owned(), "nats://env:2".to_owned())];
        let config = load_from(Some(file), variables).unwrap();
        assert_eq!(config.nats.url, "nats://env:2");
        assert!((config.registry.lanes["local-fast"].skill - 0.2).abs() < 1e-9);
    }

    #[test]
    fn environment_names_reach_keys_with_dashes_and_dots() {
        let config = with_env(&[
            ("TRILANE__LANES__LOCAL_DEEP__MODELS", "[\"qwen2.5-coder-1.5b\"]"),
            ("TRILANE__MODELS__QWEN2_5_CODER_1_5B__SLOTS", "2"),
        ])
        .unwrap();
        assert_eq!(config.registry.lanes["local-deep"].models[0].as_str(), "qwen2.5-coder-1.5b");
        assert_eq!(config.registry.models["qwen2.5-coder-1.5b"].slots, 2);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let file = load_from(Some("[policy]\nuntaged = \"public\""), []).unwrap_err().to_string();
        assert!(file.contains("did you mean `untagged`?"), "{file}");
        let env = with_env(&[("TRILANE__NATS__ULR", "x")]).unwrap_err().to_string();
        assert!(env.contains("did you mean `url`?"), "{env}");
    }

    #[test]
    fn budgets_are_absent_until_they_are_set_and_none_is_below_nothing() {
        assert!(load_from(None, []).unwrap().budgets().is_unbounded());
        let file = "[agents.default]\nbudget_week_usd = 5";
        let variables = [("TRILANE__BUDGET__DAY_USD".to_owned(), "0.5".to_owned())];
        let budgets = load_from(Some(file), variables).unwrap().budgets();
        assert_eq!(budgets.total.day.map(trilane_protocol::Usd::nanos), Some(500_000_000));
        assert_eq!(budgets.agents["default"].week.map(trilane_protocol::Usd::nanos), Some(5_000_000_000));
        let total = load_from(Some("[budget]\nweek_usd = -1.0"), []).unwrap_err().to_string();
        assert!(total.contains("budget.week_usd"), "{total}");
        for number in ["-0.5", "nan", "inf"] {
            let file = format!("[agents.sample]\nbudget_day_usd = {number}");
            let own = load_from(Some(&file), []).unwrap_err().to_string();
            assert!(own.contains("agents.sample.budget_day_usd"), "{own}");
        }
    }

    #[test]
    fn a_bound_for_a_lane_that_is_not_there_names_the_nearest() {
        let error = load_from(Some("[alerts.lanes.local-fats]\nage_s = 5"), []).unwrap_err().to_string();
        assert!(
            error.contains("alerts.lanes.local-fats") && error.contains("did you mean `local-fast`?"),
            "{error}"
        );
        let config = load_from(Some("[alerts.lanes.local-fast]\nage_s = 5"), []).unwrap();
        let [fast, deep] =
            ["local-fast", "local-deep"].map(|lane| config.alerts.limits_of(&lane.parse().unwrap()));
        assert_eq!((fast.age_s, fast.wait_s), (5, deep.wait_s), "what is not said is as for all lanes");
        assert_ne!(fast.age_s, deep.age_s);
    }

    #[test]
    fn shares_and_webhooks_are_checked() {
        for (file, key) in [
            ("[alerts.limits]\nfull = 1.5", "alerts.limits.full"),
            ("[alerts.lanes.cloud]\nsaturation = 0.0", "alerts.lanes.cloud.saturation"),
            ("[alerts]\nbudget = 2.0", "alerts.budget"),
            ("[alerts]\nwebhooks = [{ url = \"example.org\" }]", "alerts.webhooks.0.url"),
            ("[monitor]\nrate_window_s = 1", "monitor.rate_window_s"),
        ] {
            let error = load_from(Some(file), []).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_policy_that_cannot_be_followed_names_its_key() {
        for (file, key) in [
            ("[policy]\nmin_gain = -0.1", "policy.min_gain"),
            ("[policy]\nquality_floor = 1.1", "policy.quality_floor"),
            ("[policy]\nlearned_after = 0.0", "policy.learned_after"),
            ("[policy]\nexplore = 0.6", "policy.explore"),
            ("[policy.target]\ncloud_share = 1.5", "policy.target.cloud_share"),
            ("[policy.target]\nusd_week = -1.0", "policy.target.usd_week"),
            ("[policy.target]\nusd_week = 5.0\ncloud_share = 0.5", "policy.target"),
            ("[policy.target]\ncloud_shares = 0.5", "did you mean `cloud_share`?"),
        ] {
            let error = load_from(Some(file), []).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let steered = load_from(Some("[policy.target]\nusd_week = 5"), []).unwrap();
        assert_eq!(steered.policy.target, Some(Target::UsdWeek(5.0)));
    }

    #[test]
    fn a_wrong_type_names_its_key() {
        let error = load_from(Some("[classifier]\nwindow = \"many\""), []).unwrap_err().to_string();
        assert!(error.contains("classifier.window"), "{error}");
    }

    #[test]
    fn a_cloud_model_without_a_price_is_an_error() {
        let file = "[models.x]\nbackend = \"cloud-api\"\nprovider = \"openai\"\nremote_name = \"x\"\n\
                    context_tokens = 10\nmax_output_tokens = 10";
        let error = load_from(Some(file), []).unwrap_err().to_string();
        assert!(error.contains("models.x.price") && error.contains("usd_per_mtok"), "{error}");
    }

    #[test]
    fn a_cloud_model_on_a_local_lane_is_an_error() {
        let error =
            with_env(&[("TRILANE__LANES__LOCAL_DEEP__MODELS", "[\"gpt-4o\"]")]).unwrap_err().to_string();
        assert!(error.contains("lies in the cloud zone"), "{error}");
    }
}
