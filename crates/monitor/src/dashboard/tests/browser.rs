//! What a person gets: Chromium on the page, driven by `tests/tools/dashboard.py`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Interval, MissedTickBehavior};
use trilane_protocol::{Encoding, LaneName, Zone};

use super::Served;
use super::synthetic::{Synthetic, answered};

/// Names the Python that has what `tests/tools/requirements.txt` lists; `scripts/test` sets it.
const PYTHON_VARIABLE: &str = "TRILANE_TEST_PYTHON";

/// `required` where a missing Chromium is a failure; else the test is skipped, and says so.
const CHROMIUM_VARIABLE: &str = "TRILANE_TEST_CHROMIUM";

/// Where Chromium may be.
const CHROMIUM: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// Between two states, as a person sees them in a test, and as fast as a page is to bear.
const SLOW: Duration = Duration::from_millis(200);
const FAST: Duration = Duration::from_millis(10);

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tools/dashboard.py");

const LANE: &str = "local-fast";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON and Chromium"]
async fn a_person_sees_a_flood_pauses_the_lane_and_looks_a_task_up() {
    let steps = [
        "first_look",
        "flood",
        "pause",
        "keyboard",
        "names",
        "life",
        "freeze",
        "memory",
        "narrow",
        "reconnect",
    ];
    let Some(chromium) = chromium() else { return };
    Scene::new().await.play(chromium, &steps).await;
}

/// Makes the pictures in `docs/images` anew, where TRILANE_SHOTS names a folder for them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON and Chromium"]
async fn pictures() {
    let (Some(_), Some(chromium)) = (std::env::var_os("TRILANE_SHOTS"), chromium()) else { return };
    Scene::new().await.play(chromium, &["first_look", "flood", "shots"]).await;
}

/// A script at work on a dashboard, and what it may ask for.
struct Scene {
    served: Served,
    synthetic: Synthetic,
    ticks: Interval,
    /// Nothing is known before the first look.
    has_looked: bool,
}

impl Scene {
    async fn new() -> Self {
        Self {
            served: Served::new().await,
            synthetic: Synthetic::calm(),
            ticks: every(SLOW),
            has_looked: false,
        }
    }

    async fn play(mut self, chromium: &str, steps: &[&str]) {
        let mut child = script(chromium, &format!("http://{}/", self.served.address), steps);
        let mut answers = child.stdin.take().unwrap();
        let mut asked = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = String::new();
        loop {
            let line = tokio::select! {
                _ = self.ticks.tick(), if self.has_looked => {
                    self.tick().await;
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

    async fn tick(&mut self) {
        let is_paused = self.is_paused().await;
        self.synthetic.set_paused(LANE, is_paused);
        self.served.states.send_replace(Some(self.synthetic.shown()));
    }

    async fn is_paused(&self) -> bool {
        let lane = LaneName::new(LANE).unwrap();
        self.served.fleet.broker.depth(&lane, Zone::Local).await.unwrap().is_paused
    }

    async fn answer(&mut self, asked: &str) -> &'static str {
        match asked {
            "look" => self.has_looked = true,
            "flood" => self.synthetic.flood(),
            "paused local-fast" => return if self.is_paused().await { "yes" } else { "no" },
            "task" => {
                let result = answered("sales", "order-7");
                self.served.fleet.broker.report(&result, Encoding::Json, None).await.unwrap();
                return "sales order-7 done";
            }
            "fast" => self.ticks = every(FAST),
            "slow" => self.ticks = every(SLOW),
            "stop" => self.served.stop().await,
            "start" => self.served.restart().await,
            "passed" => {}
            other => panic!("the script asks for `{other}`"),
        }
        "done"
    }
}

fn every(length: Duration) -> Interval {
    let mut ticks = tokio::time::interval(length);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Where Chromium is; `None` where there is none and none is required.
fn chromium() -> Option<&'static str> {
    let found = CHROMIUM.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        let missing = "no Chromium is installed (on Debian: apt-get install chromium)";
        let is_required = std::env::var(CHROMIUM_VARIABLE).is_ok_and(|value| value == "required");
        assert!(!is_required, "{missing}");
        eprintln!("SKIPPED: {missing}");
    }
    found
}

/// The script at work; it ends with the test.
fn script(chromium: &str, url: &str, steps: &[&str]) -> Child {
    let python = std::env::var_os(PYTHON_VARIABLE);
    let python = python.unwrap_or_else(|| panic!("{PYTHON_VARIABLE} is not set; run scripts/test"));
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(url).args(steps).env("TRILANE_TEST_CHROMIUM_PATH", chromium);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}
