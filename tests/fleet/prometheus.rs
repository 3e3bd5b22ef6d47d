//! The alert rules: promtool takes them, and the real Prometheus and Alertmanager say when a lane is flooded, and when it
//! is over.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::{Process, get};

/// `required`: a missing program is a failure and nothing to be passed over.
const VARIABLE: &str = "TRILANE_TEST_PROMETHEUS";

/// A lane that is full with ten tasks.
const CONFIG: &str =
    "[streams]\nlane_max_messages = 10\n[monitor]\nlook_s = 1\n[telemetry]\nlisten = \"127.0.0.1:0\"\n";

/// A program of Prometheus on the path.
///
/// # Panics
/// Where it is required and not there.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = found.into_iter().find(|file| file.exists());
    let is_required = std::env::var(VARIABLE).is_ok_and(|value| value == "required");
    assert!(
        found.is_some() || !is_required,
        "{names:?} is not there; install prometheus and prometheus-alertmanager"
    );
    if found.is_none() {
        eprintln!("NOT TESTED: {} is not there; install prometheus and prometheus-alertmanager", names[0]);
    }
    found
}

fn rules(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/prometheus").join(name)
}

#[test]
fn promtool_takes_the_rules_and_their_tests_hold() {
    let Some(promtool) = program(&["promtool"]) else { return };
    for (verb, file) in [("check", "alerts.yaml"), ("test", "alerts_test.yaml")] {
        let output = Command::new(&promtool).args([verb, "rules"]).arg(rules(file)).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

/// Prometheus and Alertmanager on ports that the system chooses.
struct Watching {
    _prometheus: Process,
    alertmanager: Process,
}

impl Watching {
    /// Starts both. `None` where one of them is not installed.
    async fn start(target: &str) -> Option<Self> {
        let prometheus = program(&["prometheus"])?;
        let alertmanager = program(&["prometheus-alertmanager", "alertmanager"])?;
        let alertmanager = start_alertmanager(&alertmanager);
        let told = listens(&alertmanager).await;
        Some(Self { _prometheus: start_prometheus(&prometheus, target, &told), alertmanager })
    }

    /// Names of the alerts about a lane that Alertmanager has now.
    async fn alerts(&self, lane: &str) -> Option<Vec<String>> {
        let answer = get(&listens(&self.alertmanager).await, "/api/v2/alerts").await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let alerts: Vec<Value> = serde_json::from_str(body).ok()?;
        let labels = alerts.into_iter().map(|alert| alert["labels"].clone());
        let of_lane = labels.filter(|labels| labels["lane"] == lane);
        Some(of_lane.filter_map(|labels| labels["alertname"].as_str().map(str::to_owned)).collect())
    }
}

fn start_alertmanager(program: &Path) -> Process {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("alertmanager.yml");
    let config = json!({
        "route": {"receiver": "nobody", "group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s"},
        "receivers": [{"name": "nobody"}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.path={}", folder.path().join("data").display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
    Process::start(command, folder)
}

fn start_prometheus(program: &Path, target: &str, alertmanager: &str) -> Process {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("alerts.yaml"),
        hasty(&std::fs::read_to_string(rules("alerts.yaml")).unwrap()),
    )
    .unwrap();
    let file = folder.path().join("prometheus.yml");
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [{"job_name": "any", "static_configs": [{"targets": [target]}]}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg("--web.listen-address=127.0.0.1:0");
    Process::start(command, folder)
}

/// The rules with every duration a second: the test is about whether they fire and end, and not about when.
fn hasty(rules: &str) -> String {
    let line = |line: &str| {
        let (key, _) = line.split_once(": ").unwrap_or((line, ""));
        match key.trim() {
            "for" | "keep_firing_for" => format!("{key}: 1s\n"),
            _ => format!("{line}\n"),
        }
    };
    let hasty: String = rules.lines().map(line).collect();
    assert!(hasty.contains("for: 1s") && !hasty.contains("for: 30s"), "the durations are found");
    hasty
}

/// Where a program of Prometheus listens, as its log says.
async fn listens(process: &Process) -> String {
    eventually("it says where it listens", || {
        let log = process.log();
        let line = log.lines().find(|line| line.contains("Listening on"));
        let address =
            line.and_then(|line| line.split_once("address=")).and_then(|(_, rest)| rest.split(' ').next());
        std::future::ready(address.map(|address| address.trim_matches('"').to_owned()))
    })
    .await
}

/// A fleet whose lane `local-fast` nobody serves, and a monitor that looks at it.
async fn watched() -> (Fleet, Process) {
    let fleet = FleetBuilder::new().config(CONFIG).without_worker("local-fast").start().await;
    let monitor = Process::binary("trilane-monitor", &fleet, CONFIG, |_| {});
    (fleet, monitor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooded_lane_is_told_by_the_real_alertmanager_until_it_is_drained() {
    let (mut fleet, monitor) = watched().await;
    let Some(watching) = Watching::start(&monitor.address().await).await else { return };
    eventually("a quiet fleet is no alert", || async {
        watching.alerts("local-fast").await.filter(Vec::is_empty)
    })
    .await;

    let task = json!({"prompt": "hello", "complexity": 0.1, "sensitivity": "private"});
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(fleet.submit("sample", task.clone()).await);
    }
    eventually("the flood is told of", || async {
        let alerts = watching.alerts("local-fast").await?;
        ["LaneFull", "LaneUnserved"]
            .iter()
            .all(|alert| alerts.iter().any(|found| found == alert))
            .then_some(())
    })
    .await;

    fleet.start_worker("local-fast", 4).await;
    for id in &ids {
        fleet.result("sample", id).await;
    }
    eventually("its end is told of", || async { watching.alerts("local-fast").await.filter(Vec::is_empty) })
        .await;
}
