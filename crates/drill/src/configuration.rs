//! The fleet's configuration: scripted models, tight limits, short waits.

use std::fmt::Write;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::provider::Provider;
use crate::schedule::LANES;
use crate::tasks::{self, CLOUD_MODEL};

/// The variable that the cloud worker finds its key in.
pub const KEY_VARIABLE: &str = "TRILANE_DRILL_KEY";

/// What the scripted provider charges, dollars per million tokens.
pub const INPUT_USD_PER_MTOK: f64 = 3.0;
/// The same for the answer.
pub const OUTPUT_USD_PER_MTOK: f64 = 15.0;

/// Seconds that a process may take to finish after SIGTERM.
pub const DRAIN_GRACE_S: u64 = 3;

/// Everything that differs from the shipped configuration. The server's address comes by the environment: each
/// process has a connection of its own to be cut.
pub fn toml(seed: u64, replicas: usize, provider: &Provider, keys: &Path) -> String {
    let mut random = StdRng::seed_from_u64(seed);
    let mut ack_wait_s = || random.random_range(2..=5);
    let mut text = format!(
        r#"
[nats]
connect_timeout_s = 2
publish_timeout_s = 2

[security]
keys = {keys:?}

# Small, so that producers are refused and classifiers are slowed down all the time.
[streams]
replicas = {replicas}
intake_max_messages = 60
intake_max_bytes = 67_108_864
intake_max_in_flight = 128
intake_ack_wait_s = {intake_ack_wait_s}
lane_max_messages = 25
lane_max_bytes = 67_108_864
results_max_bytes = 268_435_456
routes_max_bytes = 268_435_456
dead_max_bytes = 268_435_456
ledger_max_bytes = 268_435_456

[worker]
heartbeat_s = 1
drain_grace_s = {DRAIN_GRACE_S}
retry_initial_ms = 50
retry_max_ms = 1_000

[classifier]
window = 32
full_lane_retry_initial_ms = 50
full_lane_retry_max_ms = 1_000

[monitor]
sweep_s = 5

# The drill reads in them which processes have begun their work.
[telemetry]
log = "info"
log_format = "json"

[providers.drill]
api = "openai"
base_url = "{cloud_url}"
keys = [{{ env = "{KEY_VARIABLE}" }}]
requests_per_minute = 1_000_000
tokens_per_minute = 1_000_000_000
max_concurrency = 16
timeout_s = 3

[models.{CLOUD_MODEL}]
backend = "cloud-api"
provider = "drill"
remote_name = "{CLOUD_MODEL}"
context_tokens = 8_192
max_output_tokens = 4_096
slots = 4
price = {{ input_usd_per_mtok = {INPUT_USD_PER_MTOK:?}, cached_input_usd_per_mtok = {INPUT_USD_PER_MTOK:?}, output_usd_per_mtok = {OUTPUT_USD_PER_MTOK:?} }}
"#,
        intake_ack_wait_s = ack_wait_s(),
        cloud_url = provider.base_url("cloud"),
    );
    for lane in LANES {
        // A task is to outlive many kills: only a model that never answers may fail it.
        let _ = write!(
            text,
            "\n[lanes.{lane}]\nmodels = [\"drill-{lane}\"]\nmax_in_flight = 32\nack_wait_s = {}\nmax_attempts = 20\n",
            ack_wait_s()
        );
        if lane != "cloud" {
            let _ = write!(
                text,
                "\n[models.drill-{lane}]\nbackend = \"local-server\"\nbase_url = \"{}\"\nremote_name = \"drill-{lane}\"\n\
                 context_tokens = 8_192\nslots = 4\n",
                provider.base_url(lane)
            );
        }
    }
    for (agent, is_private) in tasks::agents() {
        let sensitivity = if is_private { "private" } else { "public" };
        let _ = write!(text, "\n[agents.{agent}]\nsensitivity = \"{sensitivity}\"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use trilane_protocol::{Encoding, Sensitivity, Task};
    use trilane_routing::detect::Detectors;
    use trilane_routing::intake::{self, Origin};
    use trilane_routing::screen;
    use trilane_service::config::{Config, load_from};

    use super::*;
    use crate::tasks::{Kind, PlannedTask};

    async fn config() -> Config {
        let provider = Provider::start(1).await.unwrap();
        load_from(Some(&toml(1, 1, &provider, Path::new("keys"))), []).unwrap()
    }

    /// What the classifier's screen says of a task that is no pipeline.
    fn sensitivity(config: &Config, planned: &PlannedTask) -> Option<Sensitivity> {
        let encoding = Encoding::detect(None, &planned.payload).ok()?;
        let task: Task =
            encoding.decode(&planned.payload).ok().filter(|task: &Task| task.steps.is_empty())?;
        let (agent, _) = planned.key.clone()?;
        let origin =
            Origin { agent, sequence: 1, message_id: None, published_at: Timestamp::UNIX_EPOCH, encoding };
        let work = intake::intake(&task, &origin, &config.registry, &config.policy, &config.limits).unwrap();
        let agent = intake::agent_entry(&work.agent, &config.registry, &config.policy).unwrap();
        let screened = screen::screen(work, agent, &config.policy, Detectors::shared());
        Some(screened.report().sensitivity)
    }

    /// If a marker looked like personal data, everything would stay local and the drill would prove nothing.
    #[tokio::test]
    async fn the_plan_and_the_screen_agree_on_what_is_private() {
        let config = config().await;
        let mut compared = 0;
        for planned in tasks::plan(1, 3_000) {
            let Some(found) = sensitivity(&config, &planned) else { continue };
            let expected =
                if planned.private.is_empty() { Sensitivity::Public } else { Sensitivity::Private };
            assert!(found == expected || planned.kind == Kind::Malformed, "{planned:?}");
            compared += 1;
        }
        assert!(compared > 2_000, "{compared}");
    }
}
