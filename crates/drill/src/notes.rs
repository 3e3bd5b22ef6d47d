//! What is noticed while the drill runs: faults carried out, ends of processes, memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sentences that are kept; more of them say nothing new.
const MOST_SENTENCES: usize = 1_000;

/// Collected by all parts of a drill.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Noted>);

/// What has been noticed.
#[derive(Debug, Clone, Default)]
pub struct Noted {
    /// Faults carried out, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Ends after SIGTERM that came too late or with a failure.
    pub bad_exits: Vec<String>,
    /// Ends that nobody asked for. A process that starts while the queue is down ends so, and is started again.
    pub own_exits: Vec<String>,
    /// Most resident memory of one process of each kind, bytes.
    pub peak_bytes: BTreeMap<&'static str, u64>,
}

impl Notes {
    /// Says something on stderr.
    pub fn say(&self, text: impl AsRef<str>) {
        eprintln!("{}", text.as_ref());
    }

    /// A fault was carried out.
    pub fn fault(&self, name: &'static str) {
        *self.lock().faults.entry(name).or_default() += 1;
    }

    /// A process did not end as it should after SIGTERM.
    pub fn bad_exit(&self, text: String) {
        self.say(&text);
        keep(&mut self.lock().bad_exits, text);
    }

    /// A process ended by itself.
    pub fn own_exit(&self, text: String) {
        keep(&mut self.lock().own_exits, text);
    }

    /// A process of this kind has had so much memory resident.
    pub fn resident(&self, kind: &'static str, bytes: u64) {
        let mut noted = self.lock();
        let peak = noted.peak_bytes.entry(kind).or_default();
        *peak = bytes.max(*peak);
    }

    /// All of it until now.
    pub fn noted(&self) -> Noted {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(sentences: &mut Vec<String>, text: String) {
    if sentences.len() < MOST_SENTENCES {
        sentences.push(text);
    }
}
