//! The judged tasks that policies are held against each other by: so many, the oldest go first. Pure.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trilane_protocol::learning::Outcome;
use trilane_routing::off_policy::{Trial, is_next_look};

/// Trials that are kept; they are saved in one message, at some 150 bytes each.
const MAX_TRIALS: usize = 4_000;

/// Trials, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trials {
    noted: VecDeque<Noted>,
    /// Trials that have ever counted, also those that have gone since.
    #[serde(default)]
    seen: u64,
    /// How many had when the candidate was last held against the policy in force.
    #[serde(default)]
    last_look: u64,
}

/// A trial, and of which task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Noted {
    /// Hash of agent, id and sequence.
    task: u64,
    /// Whether it counts: somebody has judged the task who would have judged it whatever the answer. Until then only bad
    /// signs are known, which good answers never show; counted by themselves they would speak against every lane.
    counts: bool,
    trial: Trial,
}

impl Trials {
    /// Notes a trial of a task, before anything is learned of it.
    pub(crate) fn note(&mut self, outcome: &Outcome, trial: Trial, counts: bool) {
        self.seen += u64::from(counts);
        self.noted.push_back(Noted { task: task_of(outcome), counts, trial });
        while self.noted.len() > MAX_TRIALS {
            self.noted.pop_front();
        }
    }

    /// A weightier word on a task that has been noted already: its trial stands as it was drawn, with the quality that is
    /// known now where it is about the same lane. Returns whether there is such a trial.
    pub(crate) fn settle(&mut self, outcome: &Outcome, counts: bool) -> bool {
        let task = task_of(outcome);
        let Some(noted) = self.noted.iter_mut().rev().find(|noted| noted.task == task) else { return false };
        let trial = &mut noted.trial;
        if trial.offers.get(trial.chosen).is_some_and(|offer| offer.lane == outcome.lane) {
            trial.quality = outcome.quality;
        }
        self.seen += u64::from(counts && !noted.counts);
        noted.counts |= counts;
        true
    }

    /// Those that count.
    pub(crate) fn counted(&self) -> Vec<Trial> {
        self.noted.iter().filter(|noted| noted.counts).map(|noted| noted.trial.clone()).collect()
    }

    /// Whether enough has come since the last look for another one: each is a chance to be taken in by luck.
    pub(crate) fn is_next_look(&self) -> bool {
        is_next_look(self.seen, self.last_look, MAX_TRIALS as u64)
    }

    /// Takes note of a look.
    pub(crate) fn looked(&mut self) {
        self.last_look = self.seen;
    }

    /// How many count.
    pub(crate) fn count(&self) -> usize {
        self.noted.iter().filter(|noted| noted.counts).count()
    }

    /// Forgets the older half. Returns whether there was any.
    pub(crate) fn forget_half(&mut self) -> bool {
        let half = self.noted.len().div_ceil(2);
        self.noted.drain(..half);
        half > 0
    }

    /// Begins anew, because another policy is in force.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn task_of(outcome: &Outcome) -> u64 {
    let Outcome { agent, task_id, task_seq, .. } = outcome;
    hash(&format!("{agent}/{task_id}/{task_seq}"))
}

/// The first eight bytes of a text's SHA-256.
pub(crate) fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
