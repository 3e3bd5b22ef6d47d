//! Puts `local_worker.wait_policy` in force.
//!
//! The OpenMP runtime reads `OMP_WAIT_POLICY` while it is loaded, before `main`. So the process starts itself
//! anew, once, with the variable set.

use std::ffi::OsStr;
use std::io;
use std::process::Command;

use trilane_service::config::WaitPolicy;

const VARIABLE: &str = "OMP_WAIT_POLICY";

/// Replaces this process by one with the wait policy in force. Returns where it is already, or where the
/// operator has set `OMP_WAIT_POLICY`, which wins. Call it before any thread is started.
///
/// # Errors
/// What the system says where it cannot start the process anew; the worker may run on without.
pub fn put_in_force(policy: WaitPolicy) -> io::Result<()> {
    if is_settled(std::env::var_os(VARIABLE).as_deref()) {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env(VARIABLE, name(policy));
    replace(again)
}

/// Any value counts, so that the process never starts itself a second time.
fn is_settled(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}

fn name(policy: WaitPolicy) -> &'static str {
    match policy {
        WaitPolicy::Passive => "passive",
        WaitPolicy::Active => "active",
    }
}

#[cfg(unix)]
fn replace(mut command: Command) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

#[cfg(not(unix))]
fn replace(_command: Command) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "set OMP_WAIT_POLICY before the start on this system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_variable_ends_the_restarts() {
        assert!(!is_settled(None));
        assert!(!is_settled(Some(OsStr::new(""))));
        for policy in [WaitPolicy::Passive, WaitPolicy::Active] {
            assert!(is_settled(Some(OsStr::new(name(policy)))));
        }
    }
}
