//! Whether the books add up: each entry carries the book after it, and moves it by what it says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use trilane_protocol::ledger::{Amounts, Book, DayBook, LedgerEntry, LedgerEvent};
use trilane_protocol::streams::LEDGER;
use trilane_protocol::{AgentName, Usd};

use super::audit::Hop;
use super::findings::{Findings, Kind, place};

/// The ledger as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last: Option<(u64, Book)>,
    spent_nanos: u128,
    ambiguous_calls: u64,
}

/// By how much something has changed, nano-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Change {
    settled: i128,
    reserved: i128,
}

impl Ledger {
    /// Takes an entry; says which hop it was for, and when.
    pub(super) fn take(
        &mut self,
        entry: LedgerEntry,
        sequence: u64,
        findings: &mut Findings,
    ) -> (Hop, Timestamp) {
        let change = change_of(entry.event);
        self.spent_nanos += change.settled.unsigned_abs();
        self.ambiguous_calls += u64::from(matches!(entry.event, LedgerEvent::Ambiguous { .. }));
        let mut add = |kind, message: String| findings.add(kind, place(LEDGER, sequence), message);
        match &self.last {
            Some((before, _)) if sequence > before + 1 => {
                add(Kind::Missing, format!("{} entries before this one are gone", sequence - before - 1));
            }
            Some((_, book)) if !is_moved(book, &entry.book, change) => {
                let event = entry.event.as_str();
                add(Kind::WrongBook, format!("the book does not follow from the one before and `{event}`"));
            }
            _ => {}
        }
        if let Some(day) = entry.book.days.iter().find(|(_, day)| !adds_up(day)).map(|(date, _)| date) {
            add(Kind::WrongBook, format!("the agents of {day} do not add up to its total"));
        }
        self.last = Some((sequence, entry.book));
        ((entry.agent, entry.task_id, entry.hop), entry.at)
    }

    /// Ends with the sequence that the stream had reached when reading began. Of a window, nothing need be there.
    pub(super) fn end(&self, reached: u64, is_window: bool, findings: &mut Findings) {
        let last = self.last.as_ref().map(|(sequence, _)| *sequence);
        let last = last.unwrap_or(if is_window { reached } else { 0 });
        if reached > last {
            let message = format!("{} entries were taken out of the stream", reached - last);
            findings.add(Kind::Missing, format!("{LEDGER} {} to {reached}", last + 1), message);
        }
    }

    /// Dollars that the entries have spent.
    pub(super) fn spent_usd(&self) -> f64 {
        self.spent_nanos as f64 / 1e9
    }

    /// Calls of which nobody knows how they ended.
    pub(super) fn ambiguous_calls(&self) -> u64 {
        self.ambiguous_calls
    }
}

/// What an event does to the book.
fn change_of(event: LedgerEvent) -> Change {
    let nanos = |amount: Usd| i128::from(amount.nanos());
    match event {
        LedgerEvent::Reserved { amount } => Change { settled: 0, reserved: nanos(amount) },
        LedgerEvent::Settled { reserved, amount, .. } => {
            Change { settled: nanos(amount), reserved: -nanos(reserved) }
        }
        LedgerEvent::Ambiguous { amount } => Change { settled: nanos(amount), reserved: -nanos(amount) },
        LedgerEvent::Released { amount } => Change { settled: 0, reserved: -nanos(amount) },
    }
}

/// Whether the event has moved one day by its change, and one of its agents with it, and nothing else. Old days may go.
fn is_moved(before: &Book, after: &Book, change: Change) -> bool {
    let oldest = after.days.keys().next();
    let is_kept = |date: &&Date| oldest.is_none_or(|oldest| *date >= oldest);
    let dates = before.days.keys().filter(is_kept).chain(after.days.keys());
    let dates: BTreeSet<&Date> = dates.collect();
    let day = |book: &Book, date: &Date| book.days.get(date).cloned().unwrap_or_default();
    let moved: Vec<(DayBook, DayBook)> = dates
        .into_iter()
        .map(|date| (day(before, date), day(after, date)))
        .filter(|(before, after)| moved_by(before.total, after.total) != Change::default())
        .collect();
    match moved.as_slice() {
        [] => change == Change::default(),
        [(before, after)] => {
            moved_by(before.total, after.total) == change && agents_moved(before, after, change)
        }
        _ => false,
    }
}

fn agents_moved(before: &DayBook, after: &DayBook, change: Change) -> bool {
    // Of older days only the totals are kept.
    if after.agents.is_empty() {
        return true;
    }
    let names: BTreeSet<&AgentName> = before.agents.keys().chain(after.agents.keys()).collect();
    let of = |agents: &BTreeMap<AgentName, Amounts>, name: &AgentName| {
        agents.get(name).copied().unwrap_or_default()
    };
    let moved: Vec<Change> = names
        .into_iter()
        .map(|name| moved_by(of(&before.agents, name), of(&after.agents, name)))
        .filter(|moved| *moved != Change::default())
        .collect();
    moved == [change]
}

fn moved_by(before: Amounts, after: Amounts) -> Change {
    let by = |before: Usd, after: Usd| i128::from(after.nanos()) - i128::from(before.nanos());
    Change { settled: by(before.settled, after.settled), reserved: by(before.reserved, after.reserved) }
}

fn adds_up(day: &DayBook) -> bool {
    let sum = day.agents.values().fold(Amounts::default(), |sum, amounts| sum.plus(*amounts));
    day.agents.is_empty() || sum == day.total
}
