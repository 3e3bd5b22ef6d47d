//! The dashboard of a monitor's real process, as a person sees it in Chromium: `tests/tools/dashboard.py` drives it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use trilane_protocol::{LaneName, Zone};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::{Process, python, tool};

const LANE: &str = "local-fast";

/// Between two tasks of the flood. Its worker answers none of them.
const FLOOD_INTERVAL: Duration = Duration::from_millis(50);

/// Where Chromium may be.
const CHROMIUM: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON and Chromium"]
async fn a_flood_is_seen_and_paused_and_the_page_outlives_its_monitor() {
    let Some(chromium) = chromium() else { return };
    let fleet = FleetBuilder::new().slots(1).start().await;
    let (monitor, address) = monitor(&fleet, "127.0.0.1:0").await;
    let mut scene = Scene { fleet, monitor: Some(monitor), address, is_flooded: false };
    scene.play(chromium, &["opened", "flood", "pause", "life", "names", "freeze", "reconnect"]).await;
}

/// A monitor's process with its page at `listen`, and the page's address.
async fn monitor(fleet: &Fleet, listen: &str) -> (Process, String) {
    let config = format!("[monitor]\nlook_s = 1\n[dashboard]\nlisten = \"{listen}\"\n");
    let monitor = Process::binary("trilane-monitor", fleet, &config, |_| {});
    let address = eventually("the page is served", || async {
        let log = monitor.log();
        let (_, rest) = log.split_once("the dashboard is at http://")?;
        Some(rest.split_once('/')?.0.to_owned())
    })
    .await;
    (monitor, address)
}

/// A fleet with a monitor, and what the script may ask for.
struct Scene {
    fleet: Fleet,
    monitor: Option<Process>,
    address: String,
    is_flooded: bool,
}

impl Scene {
    async fn play(&mut self, chromium: &str, steps: &[&str]) {
        let mut child = script(chromium, &format!("http://{}/", self.address), steps);
        let mut answers = child.stdin.take().unwrap();
        let mut asked = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut flood = tokio::time::interval(FLOOD_INTERVAL);
        let mut last = String::new();
        loop {
            let line = tokio::select! {
                _ = flood.tick(), if self.is_flooded => {
                    self.fleet.submit("flood", json!({"prompt": "wait here", "complexity": 0.1})).await;
                    continue;
                }
                line = asked.next_line() => line.unwrap(),
            };
            let Some(line) = line else { break };
            let answer = self.answer(&line).await;
            // What has ended asks for nothing more.
            let _ = answers.write_all(format!("{answer}\n").as_bytes()).await;
            last = line;
        }
        assert!(child.wait().await.unwrap().success(), "see what the script says above");
        assert_eq!(last, "passed");
    }

    async fn answer(&mut self, asked: &str) -> &'static str {
        match asked {
            "flood" => self.is_flooded = true,
            "paused local-fast" => return if self.is_paused().await { "yes" } else { "no" },
            "task" => {
                let task =
                    json!({"id": "order-7", "prompt": "x", "complexity": 0.9, "sensitivity": "public"});
                self.fleet.run("sales", task).await;
                return "sales order-7 done";
            }
            "stop" => self.monitor.take().unwrap().kill(),
            "start" => self.monitor = Some(monitor(&self.fleet, &self.address).await.0),
            "passed" => {}
            other => panic!("the script asks for `{other}`"),
        }
        "done"
    }

    async fn is_paused(&self) -> bool {
        self.fleet.broker.depth(&LaneName::new(LANE).unwrap(), Zone::Local).await.unwrap().is_paused
    }
}

/// Where Chromium is; `None` where there is none and none is required.
pub(crate) fn chromium() -> Option<&'static str> {
    let found = CHROMIUM.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        let missing = "no Chromium is installed (on Debian: apt-get install chromium)";
        let is_required = std::env::var("TRILANE_TEST_CHROMIUM").is_ok_and(|value| value == "required");
        assert!(!is_required, "{missing}");
        eprintln!("SKIPPED: {missing}");
    }
    found
}

/// The script at work; it ends with the test.
fn script(chromium: &str, url: &str, steps: &[&str]) -> Child {
    let mut command = driver("dashboard.py", chromium);
    command.arg(url).args(steps);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

/// A script of `tests/tools` that drives Chromium.
pub(crate) fn driver(script: &str, chromium: &str) -> Command {
    let mut command = Command::from(python());
    command.arg(tool(script)).env("TRILANE_TEST_CHROMIUM_PATH", chromium);
    command
}
