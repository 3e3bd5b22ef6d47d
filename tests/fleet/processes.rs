//! Processes of their own for tests: the fleet's real binaries and the Python tools, ended by their id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use trilane_protocol::heartbeat::{Heartbeat, WorkerState};
use trilane_testkit::{Fleet, eventually};

/// Names the Python that has what `tests/tools/requirements.txt` lists; `scripts/test` sets it.
const PYTHON_VARIABLE: &str = "TRILANE_TEST_PYTHON";

/// A process that ends with its test.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Holds its log, and its configuration if it has one.
    folder: TempDir,
}

impl Process {
    /// Starts one of the fleet's binaries on the fleet's server, with `config` on top of the default.
    ///
    /// # Panics
    /// Where the binary was not built or cannot be started.
    pub(crate) fn binary(
        name: &str,
        fleet: &Fleet,
        config: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("trilane.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(binary_path(name));
        command.arg("--config").arg(file).env("TRILANE__NATS__URL", &fleet.config.nats.url);
        command.env("TRILANE__SECURITY__KEYS", fleet.keys.folder());
        prepare(&mut command);
        Self::start(command, folder)
    }

    /// Starts any command; what it writes goes to a log of its own.
    pub(crate) fn start(mut command: Command, folder: TempDir) -> Self {
        let log = File::create(log_path(folder.path())).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, folder }
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_path(self.folder.path())).unwrap_or_default()
    }

    /// Where it serves health and metrics, once its log says so.
    pub(crate) async fn address(&self) -> String {
        eventually("the process says where it serves its metrics", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("/metrics"));
            let address = line.and_then(|line| line.split_once("127.0.0.1:")).map(|(_, rest)| {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                format!("127.0.0.1:{port}")
            });
            std::future::ready(address)
        })
        .await
    }

    /// Waits until this very process says that it serves a lane.
    ///
    /// # Panics
    /// Where it ends before that.
    pub(crate) async fn serves(&mut self, fleet: &Fleet) {
        let workers = fleet.broker.workers().await.unwrap();
        let pid = self.child.id();
        let is_this = |worker: &Heartbeat| worker.pid == pid && worker.state == WorkerState::Ready;
        let child = &mut self.child;
        let serves = eventually("the worker serves its lane", || {
            let has_ended = child.try_wait().unwrap().is_some();
            let workers = &workers;
            async move {
                let alive = workers.alive().await.unwrap_or_default();
                (has_ended || alive.iter().any(is_this)).then_some(!has_ended)
            }
        })
        .await;
        assert!(serves, "the worker ended before it served");
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let child = &mut self.child;
        let mut status = None;
        eventually("the process ends after SIGTERM", || {
            status = status.or(child.try_wait().unwrap());
            std::future::ready(status)
        })
        .await
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("log of process {}:\n{}", self.child.id(), self.log());
        }
    }
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// The tests' own executable lies in `<target>/<profile>/deps`, the binaries one folder up.
fn binary_path(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is not there; run `cargo build --workspace --bins`", path.display());
    path
}

/// What a process answers on `/metrics`.
pub(crate) async fn metrics(process: &Process) -> String {
    let answer = get(&process.address().await, "/metrics").await.unwrap();
    assert!(answer.contains("trilane_"), "{answer}");
    answer
}

/// What is answered to a GET, headers and all.
pub(crate) async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut connection = tokio::net::TcpStream::connect(address).await?;
    connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The command `trilane` on the fleet's server and with its keys, at work in the background.
pub(crate) fn trilane(fleet: &Fleet, arguments: &[&str]) -> JoinHandle<Output> {
    trilane_at(&fleet.config.nats.url, &fleet.config.keys_folder(), arguments)
}

/// The command `trilane` on any server, with the keys of a folder.
pub(crate) fn trilane_at(url: &str, keys: &Path, arguments: &[&str]) -> JoinHandle<Output> {
    let mut command = Command::new(binary_path("trilane"));
    command.env("TRILANE__NATS__URL", url).env("TRILANE__SECURITY__KEYS", keys);
    command.args(arguments).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap())
}

/// A command of the Python with the test tools.
///
/// # Panics
/// Where none is named. Tests that need it are ignored, so that a run without it does not count them as passed.
pub(crate) fn python() -> Command {
    let python = std::env::var_os(PYTHON_VARIABLE);
    Command::new(python.unwrap_or_else(|| panic!("set {PYTHON_VARIABLE}, or run ./scripts/test, which does")))
}

/// A file of `tests/tools`.
pub(crate) fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name)
}
