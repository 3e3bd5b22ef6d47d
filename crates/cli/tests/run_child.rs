//! What `trilane up` starts ends with it, even where it is killed without a chance to clean up.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use trilane_testkit::eventually;

const TRILANE: &str = env!("CARGO_BIN_EXE_trilane");

/// A shell that starts `sleep` as `trilane up` would start a worker, says its process id, and waits.
fn parent() -> (Child, u32) {
    let script = "\"$0\" run-child --parent $$ -- sleep 600 & echo $!; wait";
    let shell = Command::new("sh").args(["-c", script, TRILANE]).stdout(Stdio::piped()).spawn();
    let mut shell = shell.expect("there is a shell");
    let mut line = String::new();
    let stdout = shell.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("the shell says the process id");
    (shell, line.trim().parse().expect("a process id"))
}

/// What a process is now; absent where it is gone or only waits to be reaped.
fn alive(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, state) = status.split_once('(')?.1.rsplit_once(") ")?;
    (!state.starts_with('Z')).then(|| name.to_owned())
}

#[tokio::test]
async fn a_child_dies_when_its_parent_is_killed() {
    let (mut shell, pid) = parent();
    eventually("the child is `sleep`", || async { alive(pid).filter(|name| name == "sleep") }).await;
    shell.kill().unwrap();
    shell.wait().unwrap();
    eventually("the child is gone", || async { alive(pid).is_none().then_some(()) }).await;
}

#[test]
fn a_child_of_somebody_else_does_not_start() {
    // Process 1 is not our parent: as if the real one had died before the child could say whose it is.
    let outcome =
        Command::new(TRILANE).args(["run-child", "--parent", "1", "--", "echo", "x"]).output().unwrap();
    assert!(!outcome.status.success() && outcome.stdout.is_empty());
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(said.contains("is gone"), "{said}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let parent = std::process::id().to_string();
    let outcome =
        Command::new(TRILANE).args(["run-child", "--parent", &parent, "--", "/nowhere/x"]).output().unwrap();
    assert!(!outcome.status.success());
    assert!(String::from_utf8_lossy(&outcome.stderr).contains("/nowhere/x"));
}
