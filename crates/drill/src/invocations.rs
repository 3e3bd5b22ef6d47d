//! The log of every time that a model was asked: by which lane, for which tasks, what it charged, how it ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trilane_protocol::Usage;

use crate::markers::Marker;

/// One time that a model was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Position in the log, from 0.
    pub id: usize,
    /// The lane whose path was called.
    pub lane: &'static str,
    /// Every marker in what was sent, that of the task itself first.
    pub markers: Vec<Marker>,
    /// Tokens that the provider charges for.
    pub charged: Usage,
    /// How it ended.
    pub ended: Ended,
}

/// How an invocation ended, as the provider saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// The caller went away before the whole answer was out.
    Abandoned,
    /// The whole answer was handed to the connection.
    Answered,
    /// Refused with this status.
    Refused(u16),
    /// The connection was broken on purpose.
    Cut,
}

/// The log. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Invocations(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Invocation>,
    attempts: HashMap<Marker, u32>,
}

/// An invocation that is under way. Unless it is said how it ended, its caller went away.
#[derive(Debug)]
pub struct Open {
    log: Invocations,
    id: usize,
    /// Earlier invocations of the same task and step.
    pub attempt: u32,
}

impl Invocations {
    /// Begins an entry.
    pub fn open(&self, lane: &'static str, markers: Vec<Marker>) -> Open {
        let mut log = self.lock();
        let id = log.entries.len();
        let attempt = markers.first().map_or(0, |marker| {
            let attempts = log.attempts.entry(*marker).or_default();
            *attempts += 1;
            *attempts - 1
        });
        let (charged, ended) = (Usage::default(), Ended::Abandoned);
        log.entries.push(Invocation { id, lane, markers, charged, ended });
        Open { log: self.clone(), id, attempt }
    }

    /// All entries until now.
    pub fn entries(&self) -> Vec<Invocation> {
        self.lock().entries.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Says what is charged up to now.
    pub fn charge(&self, prompt_tokens: u64, completion_tokens: u64) {
        let charged = Usage { prompt_tokens, completion_tokens, cached_tokens: 0 };
        self.log.lock().entries[self.id].charged = charged;
    }

    /// Says how it ended.
    pub fn end(&self, ended: Ended) {
        self.log.lock().entries[self.id].ended = ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_by_task_and_an_open_entry_counts_as_abandoned() {
        let log = Invocations::default();
        let marker = |task| Marker { task, step: 0 };
        let first = log.open("cloud", vec![marker(1), marker(2)]);
        let again = log.open("cloud", vec![marker(1)]);
        let other = log.open("cloud", vec![marker(2)]);
        assert_eq!([first.attempt, again.attempt, other.attempt], [0, 1, 0]);
        again.charge(4, 2);
        again.end(Ended::Answered);
        let ended =
            log.entries().iter().map(|entry| (entry.ended, entry.charged.prompt_tokens)).collect::<Vec<_>>();
        assert_eq!(ended, [(Ended::Abandoned, 0), (Ended::Answered, 4), (Ended::Abandoned, 0)]);
    }
}
