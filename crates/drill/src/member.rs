//! One process of the fleet with what belongs to it: whose turn it is to fault it, its memory, its ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::configuration::DRAIN_GRACE_S;
use crate::notes::Notes;
use crate::process::{Process, Recipe, peak_resident_bytes};
use crate::schedule::Role;

/// How long a process may take to end after SIGTERM: its grace time, the runner's, and a busy machine.
const LONGEST_DRAIN: Duration = Duration::from_secs(DRAIN_GRACE_S + 20);

/// What the processes of the fleet say once they have begun their work, in JSON logs.
const BEGUN: [&str; 3] =
    ["\"message\":\"serving\"", "\"message\":\"classifying\"", "\"message\":\"watching\""];

/// A process and its place in the drill. Whoever faults it holds its lock, so that faults on one process come
/// one after another, and nobody starts again what is meant to be down.
#[derive(Debug)]
pub struct Member {
    /// What it is.
    pub role: Role,
    process: Mutex<Process>,
    /// Its process id, to be read while a fault holds the lock.
    id: AtomicU32,
    notes: Arc<Notes>,
}

impl Member {
    /// Starts it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(role: Role, recipe: Recipe, notes: Arc<Notes>) -> anyhow::Result<Self> {
        let process = Process::start(recipe)?;
        let id = AtomicU32::new(process.id().unwrap_or_default());
        Ok(Self { role, process: Mutex::new(process), id, notes })
    }

    /// Takes the turn.
    pub async fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().await
    }

    /// Starts what is down.
    pub fn restart(&self, process: &mut Process) {
        match process.restart() {
            Ok(()) => self.id.store(process.id().unwrap_or_default(), Ordering::Relaxed),
            Err(error) => self.notes.say(format!("{}: {error:#}", process.name())),
        }
    }

    /// Tells it to stop, and kills what does not.
    pub async fn terminate(&self, process: &mut Process) {
        match process.terminate(LONGEST_DRAIN).await {
            // One that had not begun yet has nothing in hand: it may have died of the signal, or for want of a queue.
            Some(status) if status.success() || !process.has_said(&BEGUN) => {}
            Some(status) => {
                self.notes.bad_exit(format!("{} ended with {status} after SIGTERM", process.name()));
            }
            None => {
                let seconds = LONGEST_DRAIN.as_secs();
                self.notes
                    .bad_exit(format!("{} did not end within {seconds} s after SIGTERM", process.name()));
                process.kill();
            }
        }
    }

    /// Starts it again where it has ended by itself, as a service manager would.
    pub fn revive(&self) {
        let Ok(mut process) = self.process.try_lock() else { return };
        if let Some(status) = process.ended() {
            self.notes.own_exit(format!("{} ended by itself with {status}", process.name()));
            self.restart(&mut process);
        }
    }

    /// Notes how much memory it has had.
    pub fn measure(&self) {
        if let Some(bytes) = peak_resident_bytes(self.id.load(Ordering::Relaxed)) {
            self.notes.resident(self.role.name(), bytes);
        }
    }
}
