//! What operators do with dead letters: look through them, read one, take one away.

use std::collections::VecDeque;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::{DirectGetErrorKind, RawMessageErrorKind};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use trilane_protocol::outcome::DeadLetter;
use trilane_protocol::{AgentName, Encoding, TaskId, subjects};

use crate::connect::Broker;
use crate::later::ORIGIN_ID;
use crate::logs::{Log, ReadError, Start};
use crate::topology::{DEAD, LATER, TASKS};

/// A dead letter where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its sequence in the stream DEAD: what an operator names it by.
    pub sequence: u64,
    /// When the server stored it.
    pub stored_at: Timestamp,
    /// What it says. Without its payload where letters are listed.
    pub letter: DeadLetter,
    /// Whether its payload is kept: where the letter would have been larger than the server takes, it is not.
    pub has_payload: bool,
}

/// Which dead letters are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LettersWanted<'a> {
    /// Of this agent; absent: of all, those without a valid agent too.
    pub agent: Option<&'a AgentName>,
    /// From this place, a lane or `intake`; absent: from all.
    pub place: Option<&'a str>,
    /// With this error code; absent: with any.
    pub code: Option<&'a str>,
    /// Stored at this time or later; absent: all that are kept.
    pub since: Option<Timestamp>,
}

impl LettersWanted<'_> {
    fn fits(&self, letter: &DeadLetter) -> bool {
        self.agent.is_none_or(|agent| letter.agent.as_ref() == Some(agent))
            && self.code.is_none_or(|code| letter.error.code == code)
    }
}

/// Why a dead letter cannot be taken away.
#[derive(Debug, thiserror::Error)]
#[error("cannot delete dead letter {sequence}: {reason}; may this role do so?")]
pub struct DiscardError {
    sequence: u64,
    reason: String,
}

/// Why it cannot be told whether a task waits.
#[derive(Debug, thiserror::Error)]
#[error("cannot look through the stream {stream}: {reason}; may this role do so?")]
pub struct WaitingError {
    stream: &'static str,
    reason: String,
}

impl Broker {
    /// The newest `most` dead letters that are wanted, oldest first and without their payloads. Those that do not
    /// read are left out and logged.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn letters(&self, wanted: LettersWanted<'_>, most: usize) -> Result<Vec<Letter>, ReadError> {
        let filter = subjects::dead(wanted.place.unwrap_or("*"));
        let start = wanted.since.map_or(Start::Oldest, Start::At);
        let mut entries = std::pin::pin!(self.stored(Log::Dead, &filter, start).await?);
        let mut found = VecDeque::new();
        while let Some(entry) = entries.try_next().await? {
            match entry.decode::<DeadLetter>() {
                Ok(letter) if wanted.fits(&letter) => {
                    let listed = Letter::new(entry.sequence, entry.stored_at, letter);
                    let letter = DeadLetter { payload: Vec::new(), ..listed.letter };
                    found.push_back(Letter { letter, ..listed });
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, entry.sequence, "a dead letter does not read"),
            }
            if found.len() > most {
                found.pop_front();
            }
        }
        Ok(found.into())
    }

    /// One dead letter with its payload; `None` where there is none of this sequence any more.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read, or the letter does not.
    pub async fn letter(&self, sequence: u64) -> Result<Option<Letter>, ReadError> {
        let failed = |error: &dyn std::fmt::Display| ReadError::new(Log::Dead, error);
        let stream = self.context().get_stream_no_info(DEAD).await.map_err(|error| failed(&error))?;
        match stream.direct_get(sequence).await {
            Ok(message) => {
                let letter = Encoding::Json.decode(&message.payload).map_err(|error| failed(&error))?;
                let stored_at = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
                Ok(Some(Letter::new(sequence, stored_at.map_err(|error| failed(&error))?, letter)))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Takes a dead letter away for good; its bytes are overwritten. One that is gone already is no error.
    ///
    /// # Errors
    /// [`DiscardError`] where the server refuses.
    pub async fn discard(&self, sequence: u64) -> Result<(), DiscardError> {
        let failed = |error: &dyn std::fmt::Display| DiscardError { sequence, reason: error.to_string() };
        let stream = self.context().get_stream_no_info(DEAD).await.map_err(|error| failed(&error))?;
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(refused) => match self.letter(sequence).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) | Err(_) => Err(failed(&refused)),
            },
        }
    }

    /// Whether a task that was published under its id as message id waits for a classifier, at the intake or until it
    /// is due.
    ///
    /// # Errors
    /// [`WaitingError`] where the streams cannot be read.
    pub async fn is_waiting(&self, agent: &AgentName, task_id: &TaskId) -> Result<bool, WaitingError> {
        let id = NATS_MESSAGE_ID.as_ref();
        Ok(self.holds(TASKS, &subjects::task(agent), id, task_id).await?
            || self.holds(LATER, ">", ORIGIN_ID, task_id).await?)
    }

    /// Whether a queue holds a message with this header. Queues are bounded, and so is this walk: each message is asked
    /// for once.
    async fn holds(
        &self,
        stream: &'static str,
        subject: &str,
        header: &str,
        task_id: &TaskId,
    ) -> Result<bool, WaitingError> {
        let failed = |error: &dyn std::fmt::Display| WaitingError { stream, reason: error.to_string() };
        let queue = self.context().get_stream_no_info(stream).await.map_err(|error| failed(&error))?;
        let mut from = 1;
        loop {
            match queue.get_first_raw_message_by_subject(subject, from).await {
                Ok(message) => {
                    if message.headers.get(header).is_some_and(|id| id.as_str() == task_id.as_str()) {
                        return Ok(true);
                    }
                    from = message.sequence + 1;
                }
                Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => {
                    return Ok(false);
                }
                Err(error) => return Err(failed(&error)),
            }
        }
    }
}

impl Letter {
    fn new(sequence: u64, stored_at: Timestamp, letter: DeadLetter) -> Self {
        let has_payload = letter.payload_bytes == 0 || !letter.payload.is_empty();
        Self { sequence, stored_at, letter, has_payload }
    }
}
