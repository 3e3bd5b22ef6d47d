//! The book, and what is set aside, for those who look.

use std::collections::BTreeMap;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::StreamExt;
use jiff::Timestamp;
use trilane_protocol::Encoding;
use trilane_protocol::ledger::{Book, LedgerEntry};

use crate::connect::Broker;
use crate::ledger::{LedgerError, append};
use crate::topology::LEDGER;

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
        let start_time = async_nats::datetime::DateTime::from_unix_timestamp_nanos(since.as_nanosecond())
            .map_err(failed)?;
        let reader = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartTime { start_time },
            ..pull::OrderedConfig::default()
        };
        let consumer = self.context().create_consumer_on_stream(reader, LEDGER).await.map_err(failed)?;
        let mut left = consumer.cached_info().num_pending;
        let mut open = BTreeMap::new();
        if left == 0 {
            return Ok(Vec::new());
        }
        let mut messages = consumer.messages().await.map_err(failed)?;
        while left > 0 {
            let Some(message) = messages.next().await else { break };
            let message = message.map_err(failed)?;
            left -= 1;
            let entry: LedgerEntry = Encoding::Json
                .decode(&message.payload)
                .map_err(|error| LedgerError::Unreadable(error.to_string()))?;
            let is_open = entry.open.is_some() || entry.others.iter().any(|other| other.open.is_some());
            // The last entry of a task is its state.
            match is_open {
                true => drop(open.insert(message.subject.to_string(), entry)),
                false => drop(open.remove(message.subject.as_str())),
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
