//! The spend ledger: one entry an event, each with the running book, so that the last entry is the book.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::money::Usd;
use crate::names::{AgentName, ModelName, TaskId};

/// One event of the ledger. Holds no text of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    /// Whose task the call was for.
    pub agent: AgentName,
    /// The task.
    pub task_id: TaskId,
    /// Sequence of the task in the TASKS stream: tells two tasks of the same id apart.
    pub task_seq: u64,
    /// How many lanes the task had been on before.
    pub hop: u16,
    /// Which delivery of the hop, from 1.
    pub attempt: u32,
    /// The process that called.
    pub worker: String,
    /// The model that was called.
    pub model: ModelName,
    /// What happened.
    pub event: LedgerEvent,
    /// What the task has cost until now, all hops and deliveries together. What is reserved is not in it.
    pub task_spent: Usd,
    /// What is set aside for the task now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Reservation>,
    /// Other tasks that have used the same id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherTask>,
    /// When.
    pub at: Timestamp,
    /// The book after the event.
    pub book: Book,
}

/// What happened to the money of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LedgerEvent {
    /// Set aside before the call.
    Reserved {
        /// The most that the call may cost.
        amount: Usd,
    },
    /// The call has ended and was counted.
    Settled {
        /// What had been set aside.
        reserved: Usd,
        /// What it cost.
        amount: Usd,
        /// Whether it brought an answer.
        answered: bool,
    },
    /// Nobody knows how the call ended: it counts as spent in full.
    Ambiguous {
        /// What had been set aside, and now counts as spent.
        amount: Usd,
    },
    /// The call was never made.
    Released {
        /// What had been set aside, and is free again.
        amount: Usd,
    },
}

impl LedgerEvent {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved { .. } => "reserved",
            Self::Settled { .. } => "settled",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Released { .. } => "released",
        }
    }
}

/// Money set aside for one call, until it is known what the call cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The most that the call may cost.
    pub amount: Usd,
    /// The UTC day on which it is booked, whenever the call ends.
    pub day: Date,
    /// The agent under which it is booked.
    pub account: AgentName,
    /// The hop of its call.
    pub hop: u16,
    /// The delivery of its call.
    pub attempt: u32,
    /// Who calls.
    pub worker: String,
    /// When it was set aside.
    pub at: Timestamp,
}

/// Another task of the same agent and id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherTask {
    /// Its sequence in the TASKS stream.
    pub task_seq: u64,
    /// What it has cost until now.
    pub spent: Usd,
    /// What is set aside for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Reservation>,
}

/// Spend by UTC day, of the last days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// By day; days without any spend have no entry.
    pub days: BTreeMap<Date, DayBook>,
}

/// Spend of one UTC day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayBook {
    /// All agents together.
    pub total: Amounts,
    /// By agent; those without an entry in the registry are booked under `default`.
    pub agents: BTreeMap<AgentName, Amounts>,
}

/// What was spent, and what is set aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// Spent.
    pub settled: Usd,
    /// Set aside for calls that have not ended.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub reserved: Usd,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_nothing(amount: &Usd) -> bool {
    *amount == Usd::ZERO
}

impl Amounts {
    /// Both together: what is no longer free.
    pub fn taken(self) -> Usd {
        self.settled.plus(self.reserved)
    }

    /// The sum of both kinds.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { settled: self.settled.plus(other.settled), reserved: self.reserved.plus(other.reserved) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries outlive the version that wrote them, so their bytes are fixed.
    const GOLDEN: &str = r#"{"agent":"a","task_id":"t","task_seq":7,"hop":1,"attempt":2,"worker":"w","model":"m","event":{"settled":{"reserved":9,"amount":5,"answered":true}},"task_spent":5,"open":{"amount":9,"day":"2026-11-22","account":"default","hop":1,"attempt":2,"worker":"w","at":"2026-11-22T10:00:00Z"},"at":"2026-11-22T10:00:01Z","book":{"days":{"2026-11-22":{"total":{"settled":5,"reserved":9},"agents":{"default":{"settled":5,"reserved":9}}}}}}"#;

    #[test]
    fn an_entry_reads_and_writes_the_same_bytes() {
        let entry: LedgerEntry = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(entry.open.as_ref().unwrap().amount, Usd::from_nanos(9));
        assert_eq!(serde_json::to_string(&entry).unwrap(), GOLDEN);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let unknown = GOLDEN.replacen("\"task_spent\"", "\"spent\"", 1);
        assert!(serde_json::from_str::<LedgerEntry>(&unknown).is_err());
    }
}
