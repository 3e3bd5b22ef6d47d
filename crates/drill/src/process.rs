//! One real process: started, signalled, killed, started again; what it writes goes to a log of its own.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::time::{Instant, sleep};

/// Between two looks at a process that is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How to start a process.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What it is called in reports and logs.
    pub name: String,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables on top of the drill's own.
    pub environment: Vec<(String, String)>,
    /// Where its output goes; every start appends.
    pub log: PathBuf,
}

/// A process, or the place of one that has ended. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    recipe: Recipe,
    child: Option<Child>,
    /// Where in its log the present run begins.
    log_start: u64,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(recipe: Recipe) -> anyhow::Result<Self> {
        let mut process = Self { recipe, child: None, log_start: 0 };
        process.restart()?;
        Ok(process)
    }

    /// Starts it again; what still runs is killed.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        let Recipe { program, arguments, environment, log, .. } = &self.recipe;
        let log = File::options().create(true).append(true).open(log)?;
        let log_start = log.metadata()?.len();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A setting in the caller's environment must not change the drill.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRILANE__")
                || name == "TRILANE_CONFIG"
                || name == "RUST_LOG"
            {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        self.child = Some(child);
        self.log_start = log_start;
        Ok(())
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Its id, while it is not known to have ended.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether this run has said one of these things in its log.
    pub fn has_said(&self, sentences: &[&str]) -> bool {
        let log = std::fs::read(&self.recipe.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(usize::MAX).min(log.len());
        let said = String::from_utf8_lossy(&log[start..]);
        sentences.iter().any(|sentence| said.contains(sentence))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// Tells it to stop and waits for its end; `None` where it takes longer than `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The most memory that a process has had resident until now, bytes; `None` once it is gone.
pub fn peak_resident_bytes(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
