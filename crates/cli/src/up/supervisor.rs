//! Keeps processes running until they are to end.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::child::{self, ChildSpec};
use super::log::Log;
use super::restart::{Verdict, verdict};
use super::stop::Stop;
use super::store::Store;
use crate::output::length;

/// What happened to a process.
#[derive(Debug)]
pub(super) enum Event {
    /// It refuses its configuration.
    Refused { child: String, message: String },
    /// It could not be started at all.
    NotStarted { child: String, reason: String },
    /// It ended, and is started again.
    Restarting { child: String, status: String, delay: Duration },
    /// It ends again and again.
    Looping { child: String, status: String, message: String },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { child, message } => write!(f, "`{child}` refuses its configuration:\n{message}"),
            Self::NotStarted { child, reason } => write!(f, "cannot start `{child}`: {reason}"),
            Self::Restarting { child, status, delay } => {
                write!(f, "`{child}` ended ({status}); starting it again in {}", length(*delay))
            }
            Self::Looping { child, status, message } => {
                write!(f, "`{child}` ends again and again ({status}):\n{message}")
            }
        }
    }
}

/// The process id of a kept process; absent while it does not run.
pub(super) type ProcessId = watch::Receiver<Option<u32>>;

/// Processes that are kept running.
pub(super) struct Supervisor {
    logs: PathBuf,
    verbose: bool,
    events: mpsc::Sender<Event>,
    stop: Stop,
    ending: CancellationToken,
    keepers: JoinSet<()>,
}

impl Supervisor {
    /// A supervisor that keeps nothing yet.
    pub(super) fn new(store: &Store, verbose: bool, events: mpsc::Sender<Event>, stop: &Stop) -> Self {
        let ending = CancellationToken::new();
        Self { logs: store.logs(), verbose, events, stop: stop.clone(), ending, keepers: JoinSet::new() }
    }

    /// Starts a process and keeps it running.
    pub(super) fn keep(&mut self, spec: ChildSpec) -> ProcessId {
        let (pid, watched) = watch::channel(None);
        let keeper = Keeper {
            log: Log::new(&spec.name, &self.logs, self.verbose),
            spec,
            events: self.events.clone(),
            stop: self.stop.clone(),
            ending: self.ending.clone(),
            pid,
        };
        self.keepers.spawn(keeper.run());
        watched
    }

    /// Whether there is anything to end.
    pub(super) fn is_keeping(&self) -> bool {
        !self.keepers.is_empty()
    }

    /// Asks all processes to end, and waits until they have.
    pub(super) async fn end(&mut self) {
        self.ending.cancel();
        while self.keepers.join_next().await.is_some() {}
    }
}

struct Keeper {
    spec: ChildSpec,
    log: Log,
    events: mpsc::Sender<Event>,
    stop: Stop,
    ending: CancellationToken,
    pid: watch::Sender<Option<u32>>,
}

impl Keeper {
    async fn run(mut self) {
        let mut quick_ends = 0;
        while !self.ending.is_cancelled() {
            let started = Instant::now();
            let status = match child::spawn(&self.spec) {
                Ok(child) => self.attend(child).await,
                Err(error) => return self.tell_not_started(&error),
            };
            let Some(status) = status else { return };
            let Some((delay, ends)) = self.judge(status, started.elapsed(), quick_ends) else { return };
            quick_ends = ends;
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.ending.cancelled() => {}
            }
        }
    }

    /// Waits until the process has ended: `None` where it was asked to.
    async fn attend(&mut self, mut child: Child) -> Option<ExitStatus> {
        self.pid.send_replace(child.id());
        let said = child.stderr.take();
        let (ending, stop) = (self.ending.clone(), self.stop.clone());
        let life = async {
            let status = tokio::select! {
                status = child.wait() => Some(status),
                () = ending.cancelled() => None,
            };
            match status {
                Some(status) => status.ok(),
                None => {
                    end(&mut child, &stop).await;
                    None
                }
            }
        };
        let log = &mut self.log;
        let reading = async {
            if let Some(said) = said {
                log.copy(said).await;
            }
        };
        // What it said last is read even after it has ended: its end of the pipe closes with it.
        let (status, ()) = tokio::join!(life, reading);
        self.pid.send_replace(None);
        status
    }

    /// When it is started again, and after how many quick ends; `None` where it is not.
    fn judge(&self, status: ExitStatus, ran: Duration, quick_ends: u32) -> Option<(Duration, u32)> {
        let child = self.spec.name.clone();
        match verdict(status.code(), ran, quick_ends) {
            Verdict::Refused => {
                self.tell(Event::Refused { child, message: self.log.message() });
                None
            }
            Verdict::Restart { delay, quick_ends, is_loop } => {
                let status = status.to_string();
                self.tell(match is_loop {
                    true => Event::Looping { child, status, message: self.log.message() },
                    false => Event::Restarting { child, status, delay },
                });
                Some((delay, quick_ends))
            }
        }
    }

    fn tell_not_started(&self, error: &std::io::Error) {
        self.tell(Event::NotStarted { child: self.spec.name.clone(), reason: error.to_string() });
    }

    /// Nobody listens once everything is ending, and then nobody needs to know.
    fn tell(&self, event: Event) {
        if let Err(error) = self.events.try_send(event) {
            tracing::debug!(%error, "an event of a process was not told");
        }
    }
}

/// Asks a process to end; one that does not in time, or where Ctrl-C comes again, is killed.
async fn end(child: &mut Child, stop: &Stop) {
    child::terminate(child);
    let in_time = tokio::select! {
        ended = tokio::time::timeout(stop.grace, child.wait()) => ended.is_ok(),
        () = stop.insisted() => false,
    };
    if !in_time && let Err(error) = child.kill().await {
        tracing::warn!(%error, "a process could not be killed");
    }
}
