//! One process of the fleet: how it is started, asked to end, and made to end with us whatever happens.
//!
//! A process is not started as itself but as `trilane run-child`, which asks Linux to kill it when its parent
//! dies and then becomes the program (`exec` keeps the process id and that wish). So nothing is left behind
//! even where `trilane up` is killed with SIGKILL. Elsewhere than on Linux that last case is not covered.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// A process to be started, as often as it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChildSpec {
    /// What it is called in messages and by its log.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// On top of our own environment.
    pub(super) variables: Vec<(String, String)>,
}

/// Becomes another program that ends when its parent does. Started by `trilane up`, not by hand.
#[derive(Debug, Clone, Args)]
pub struct RunChildArgs {
    /// Process id of the parent.
    #[arg(long)]
    parent: u32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the program; returns only where that fails.
pub fn run_child(args: &RunChildArgs) -> anyhow::Error {
    use std::os::unix::process::CommandExt;
    if let Err(error) = die_with_parent(args.parent) {
        return error;
    }
    let (program, arguments) = args.command.split_first().expect("clap requires a command");
    let error = std::process::Command::new(program).args(arguments).exec();
    anyhow::anyhow!("cannot start {}: {error}", program.display())
}

/// SIGKILL and no politer signal: a worker that drained would wait for a server that is dying too. Nothing is
/// lost, for all work is in the server's files.
#[cfg(target_os = "linux")]
fn die_with_parent(parent: u32) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the wish was known.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    anyhow::ensure!(now == Some(parent), "the process that started this one is gone");
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_parent: u32) -> anyhow::Result<()> {
    Ok(())
}

/// Starts the process in a process group of its own, so that Ctrl-C reaches us alone and we drain in order.
pub(super) fn spawn(spec: &ChildSpec) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("run-child")
        .args(["--parent", &std::process::id().to_string(), "--"])
        .arg(&spec.program)
        .args(&spec.arguments)
        .envs(spec.variables.iter().map(|(variable, value)| (variable, value)))
        // What they say goes into files.
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn()
}

/// Asks a process to end by itself.
pub(super) fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile; then there is nobody to ask.
        let _ = kill_process(pid, Signal::TERM);
    }
}
