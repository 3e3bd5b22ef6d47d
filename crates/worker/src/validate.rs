//! Holds an answer against the validators of its task, commands included.
//!
//! A validator that cannot be run says nothing about the answer: it is logged, and counts neither as passed nor as
//! failed.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use trilane_protocol::learning::Signs;
use trilane_protocol::validator::Validator;
use trilane_protocol::{AgentName, Zone};
use trilane_routing::validate::{self, CommandValidator, Commands};
use trilane_service::metrics::catalogue::VALIDATIONS;
use trilane_service::metrics::labels::{Checked, Lane};

/// Longest time for all validators but commands, which have their own. They take milliseconds; this is for a machine that
/// does not get on.
const MAX_PLAIN: Duration = Duration::from_secs(10);

/// What the validators of one answer need.
pub(crate) struct Validating<'a> {
    pub(crate) commands: &'a Commands,
    pub(crate) agent: &'a AgentName,
    pub(crate) zone: Zone,
    pub(crate) lane: Lane,
}

impl Validating<'_> {
    /// Adds to `signs` what the validators make of the answer. Where this is dropped before it is done, the command that
    /// runs is killed, and those to come say nothing.
    pub(crate) async fn judge(&self, validators: &[Validator], answer: &str, signs: &mut Signs) {
        let mut plain = plain(validators, answer).await;
        for (index, validator) in validators.iter().enumerate() {
            let is_met = match validator {
                Validator::Command(name) => self.run_named(name, answer).await,
                _ => plain.get_mut(index).and_then(Option::take),
            };
            let checked = match is_met {
                Some(true) => {
                    signs.passed += 1;
                    Checked::Passed
                }
                Some(false) => {
                    signs.failed.push(validator.kind());
                    Checked::Failed
                }
                None => Checked::NotRun,
            };
            VALIDATIONS.add(1, (self.lane.clone(), checked));
        }
    }

    async fn run_named(&self, name: &str, answer: &str) -> Option<bool> {
        // The host of a cloud worker is there to call providers, and its keys lie there.
        if self.zone == Zone::Cloud {
            return None;
        }
        let command = validate::command(name, self.agent, self.commands)
            .inspect_err(|problem| tracing::warn!(command = name, problem, "a validator is not run"))
            .ok()?;
        let is_met = run(command, answer).await;
        is_met.inspect_err(|error| tracing::warn!(command = name, %error, "a validator says nothing")).ok()
    }
}

/// What all validators but commands say, on a thread for such work: a schema may take longer than a turn of the runtime.
async fn plain(validators: &[Validator], answer: &str) -> Vec<Option<bool>> {
    let is_plain = |validator: &Validator| !matches!(validator, Validator::Command(_));
    if !validators.iter().any(is_plain) {
        return Vec::new();
    }
    let (validators, answer): (Vec<Validator>, Arc<str>) = (validators.to_vec(), answer.into());
    let judging = tokio::task::spawn_blocking(move || {
        validators.iter().map(|validator| validate::is_met(validator, &answer)).collect()
    });
    match tokio::time::timeout(MAX_PLAIN, judging).await {
        Ok(Ok(said)) => said,
        _ => {
            tracing::warn!("the validators of an answer came to no end; they say nothing");
            Vec::new()
        }
    }
}

/// Why a command says nothing.
#[derive(Debug, thiserror::Error)]
enum Unrun {
    #[error("cannot start it: {0}; is it there, and may this user run it?")]
    Start(std::io::Error),
    #[error("cannot make a folder for it to run in: {0}")]
    Folder(std::io::Error),
    #[error("cannot see how it ended: {0}")]
    Wait(std::io::Error),
    #[error("it was killed by a signal; raise its timeout_s, or mend it")]
    Signal,
    #[error("it was not done within its timeout_s ({0} s)")]
    Timeout(u64),
}

/// Whether the command takes the answer.
async fn run(entry: &CommandValidator, answer: &str) -> Result<bool, Unrun> {
    let (program, arguments) = entry.command.split_first().ok_or(Unrun::Signal)?;
    let folder = tempfile::tempdir().map_err(Unrun::Folder)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(Unrun::Start)?;
    let _group = Group::of(&child, entry.timeout_s);
    let mut stdin = child.stdin.take();
    let judged = async {
        if let Some(stdin) = &mut stdin {
            // One that has seen enough closes its end; what it says then counts.
            let _ = stdin.write_all(answer.as_bytes()).await;
        }
        drop(stdin.take());
        let status = child.wait().await.map_err(Unrun::Wait)?;
        status.code().map(|code| code == 0).ok_or(Unrun::Signal)
    };
    let limit = Duration::from_secs(entry.timeout_s);
    tokio::time::timeout(limit, judged).await.map_err(|_| Unrun::Timeout(entry.timeout_s))?
}

/// A command and all that it has started. Killed when this is dropped, whatever the reason.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &tokio::process::Child, timeout_s: u64) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            bound_processor_time(pid, timeout_s);
        }
        Self(pid)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Nothing of it may be left, and then there is nobody to kill.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// So that it ends even where this worker is killed before it: no more seconds of a processor than it may take in all.
#[cfg(target_os = "linux")]
fn bound_processor_time(pid: rustix::process::Pid, seconds: u64) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let bound = Rlimit { current: Some(seconds), maximum: Some(seconds) };
    if let Err(error) = prlimit(Some(pid), Resource::Cpu, bound) {
        tracing::debug!(%error, "the processor time of a validator is not bounded");
    }
}

#[cfg(not(target_os = "linux"))]
fn bound_processor_time(_pid: rustix::process::Pid, _seconds: u64) {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use trilane_protocol::validator::ValidatorKind;

    use super::*;

    fn entry(command: &[&str], timeout_s: u64) -> CommandValidator {
        let command = command.iter().map(ToString::to_string).collect();
        CommandValidator { command, timeout_s, agents: vec!["a".parse().unwrap()] }
    }

    async fn signs(commands: &[(&str, CommandValidator)], zone: Zone, answer: &str, named: &[&str]) -> Signs {
        let commands: Commands = commands
            .iter()
            .map(|(name, entry)| ((*name).to_owned(), entry.clone()))
            .collect::<BTreeMap<_, _>>();
        let agent = "a".parse().unwrap();
        let validating = Validating { commands: &commands, agent: &agent, zone, lane: Lane::intake() };
        let validators: Vec<_> = named.iter().map(|name| Validator::Command((*name).to_owned())).collect();
        let mut signs = Signs::default();
        validating.judge(&validators, answer, &mut signs).await;
        signs
    }

    #[tokio::test]
    async fn a_command_judges_the_answer_by_its_status() {
        let grep = [("asks", entry(&["/bin/grep", "-q", "yes"], 30))];
        let good = signs(&grep, Zone::Local, "yes indeed", &["asks"]).await;
        assert_eq!((good.passed, good.failed.len()), (1, 0));
        let bad = signs(&grep, Zone::Local, "no", &["asks"]).await;
        assert_eq!((bad.passed, bad.failed), (0, vec![ValidatorKind::Command]));
    }

    #[tokio::test]
    async fn one_that_cannot_be_run_says_nothing() {
        let commands = [
            ("missing", entry(&["/nowhere/at/all"], 30)),
            ("endless", entry(&["/bin/sh", "-c", "sleep 1000 & wait"], 1)),
            ("killed", entry(&["/bin/sh", "-c", "kill -9 $$"], 30)),
            ("true", entry(&["/bin/true"], 30)),
        ];
        let said = signs(&commands, Zone::Local, "x", &["missing", "endless", "killed", "unknown"]).await;
        assert_eq!(said, Signs::default());
        let said = signs(&commands, Zone::Cloud, "x", &["true"]).await;
        assert_eq!(said, Signs::default(), "no command runs beside the keys of providers");
    }

    /// What a command has started is gone once it is judged: the lock that it holds is free.
    #[tokio::test]
    async fn nothing_of_a_command_outlives_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let script = format!("exec 9>{}; flock 9; sleep 1000 & exit 0", path.display());
        assert!(run(&entry(&["/bin/sh", "-c", &script], 60), "").await.unwrap());
        let file = std::fs::File::open(&path).unwrap();
        tokio::task::spawn_blocking(move || file.lock()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_long_answer_to_one_that_does_not_read_is_no_error() {
        let long = "x".repeat(1_000_000);
        assert!(run(&entry(&["/bin/true"], 30), &long).await.unwrap());
    }
}
