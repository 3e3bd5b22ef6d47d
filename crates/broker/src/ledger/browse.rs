//! The book, and what is set aside, for those who look.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use trilane_protocol::ledger::{Book, LedgerEntry};
use trilane_protocol::subjects;

use crate::connect::Broker;
use crate::ledger::{LedgerError, append};
use crate::logs::{Log, Start};

impl Broker {
    /// The book as it stands.
    ///
    /// # Errors
    /// [`LedgerError`] where it cannot be read.
    pub async fn book(&self) -> Result<Book, LedgerError> {
        append::book(self).await
    }

    /// The entries of tasks with money set aside, as far as they were written at `since` or later; oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] where they cannot be read.
    pub async fn open_reservations(&self, since: Timestamp) -> Result<Vec<LedgerEntry>, LedgerError> {
        let start = Start::At(since);
        let mut entries = pin!(self.stored(Log::Ledger, subjects::SPENDING, start).await.map_err(failed)?);
        let mut open = BTreeMap::new();
        while let Some(stored) = entries.try_next().await.map_err(failed)? {
            let entry: LedgerEntry =
                stored.decode().map_err(|error| LedgerError::Unreadable(error.to_string()))?;
            let is_open = entry.open.is_some() || entry.others.iter().any(|other| other.open.is_some());
            // The last entry of a task is its state.
            match is_open {
                true => drop(open.insert(stored.subject, entry)),
                false => drop(open.remove(&stored.subject)),
            }
        }
        let mut entries: Vec<LedgerEntry> = open.into_values().collect();
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }
}

fn failed(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Unreachable(error.to_string())
}
