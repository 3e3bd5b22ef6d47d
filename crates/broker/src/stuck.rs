//! What a queue holds and the server will never deliver again: told of by advisories, found by a sweep.
//!
//! JetStream keeps a message that was delivered `max_deliver` times: it is counted, and nobody gets it any more.
//! The topology sets no such bound, so it only comes about where somebody has changed a consumer.

use std::ops::Deref;
use std::time::Duration;

use async_nats::jetstream::consumer;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use trilane_protocol::outcome::{SourceRef, TaskError};
use trilane_protocol::{AgentName, DecodeError, Encoding, TaskId};

use crate::connect::Broker;
use crate::content::Content;
use crate::dead::Dying;
use crate::publish::PublishError;

/// Stuck messages of one consumer that one sweep looks up; the next goes on with what is left.
const MAX_FOUND: usize = 100;

/// The filter of a consumer that has none.
const ALL: &str = ">";

/// Longest wait for all of one queue's sweep, so that a server that falls silent holds nothing up.
const MAX_SWEEP: Duration = Duration::from_secs(60);

/// What the server tells when it has delivered a message as often as its consumer allows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Advisory {
    /// The stream.
    pub stream: String,
    /// The consumer that delivered it.
    pub consumer: String,
    /// The message's sequence in the stream.
    #[serde(rename = "stream_seq")]
    pub sequence: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// When the server said so.
    pub timestamp: Timestamp,
}

impl Advisory {
    /// Reads what the server has written.
    ///
    /// # Errors
    /// What does not read.
    pub fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        Encoding::Json.decode(payload)
    }
}

/// A message that the server will not deliver again.
#[derive(Debug, Clone)]
pub struct Stuck {
    /// Where it lies.
    pub place: Place,
    content: Content,
}

impl Deref for Stuck {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

/// Where a stuck message lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The stream.
    pub stream: String,
    /// The sequence in it.
    pub sequence: u64,
    /// The consumer that has delivered it.
    pub consumer: String,
    /// How often, at least.
    pub deliveries: u64,
}

/// What a sweep over one queue has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Messages that nobody waits for and nobody will get. While the queue moves this may be a few too low.
    pub zombies: u64,
    /// Where those of them lie that are certain by now, at most [`MAX_FOUND`] for each consumer.
    pub found: Vec<Place>,
}

/// Why a stuck message cannot be read, found or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} of stream `{stream}`: {reason}; was the fleet provisioned (`trilane provision`)?")]
pub struct StuckError {
    what: &'static str,
    stream: String,
    reason: String,
}

impl Broker {
    /// The message that an advisory tells of. `None` where there is nothing to be done: it is gone, or the
    /// advisory is of another time, before its consumer was made anew (as with its stream) or began again.
    ///
    /// # Errors
    /// [`StuckError`] where the server does not say.
    pub async fn told_of(&self, advisory: &Advisory) -> Result<Option<Stuck>, StuckError> {
        let failed = |error: String| StuckError::new("look at a consumer", &advisory.stream, error);
        let stream = self.stream_by_name(&advisory.stream).await?;
        let info = match stream.consumer_info(&advisory.consumer).await {
            Ok(info) => info,
            Err(error) => match error.kind() {
                ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound => return Ok(None),
                _ => return Err(failed(error.to_string())),
            },
        };
        let created = timestamp(info.created).map_err(failed)?;
        if created > advisory.timestamp || info.delivered.stream_sequence < advisory.sequence {
            return Ok(None);
        }
        let place = Place {
            stream: advisory.stream.clone(),
            sequence: advisory.sequence,
            consumer: advisory.consumer.clone(),
            deliveries: advisory.deliveries,
        };
        self.stuck_at(&place).await
    }

    /// The message at a place. `None` where it is gone.
    ///
    /// # Errors
    /// [`StuckError`] where the server does not say.
    pub async fn stuck_at(&self, place: &Place) -> Result<Option<Stuck>, StuckError> {
        let failed = |error: String| StuckError::new("read a message", &place.stream, error);
        let stream = self.stream_by_name(&place.stream).await?;
        match stream.get_raw_message(place.sequence).await {
            Ok(message) => stuck(message, place).map(Some).map_err(failed),
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Looks for stuck messages in a queue. What lies where a consumer has been is stuck for certain where that
    /// consumer waits for nothing, or waits only for what comes later. It may still be on its way out, though:
    /// take it for stuck when two sweeps have found it.
    ///
    /// # Errors
    /// [`StuckError`] where the server does not say.
    pub async fn sweep(&self, stream: &str) -> Result<Sweep, StuckError> {
        let silent = |_| StuckError::new("sweep the messages", stream, "no answer in time".into());
        tokio::time::timeout(MAX_SWEEP, self.sweep_once(stream)).await.map_err(silent)?
    }

    async fn sweep_once(&self, name: &str) -> Result<Sweep, StuckError> {
        let failed =
            |error: &dyn std::fmt::Display| StuckError::new("count messages", name, error.to_string());
        let stream = self.context().get_stream(name).await.map_err(|error| failed(&error))?;
        let names: Vec<String> =
            stream.consumer_names().try_collect().await.map_err(|error| failed(&error))?;
        let mut sweep = Sweep::default();
        for consumer in names {
            let looked = async {
                let first = stream.consumer_info(&consumer).await?;
                let before = held(&stream, &first.config).await?;
                let info = stream.consumer_info(&consumer).await?;
                let after = held(&stream, &info.config).await?;
                Ok::<_, async_nats::Error>((zombies(before, waited_for(&info), after), info))
            };
            let (zombies, info) = looked.await.map_err(|error| failed(&error))?;
            sweep.zombies += zombies;
            sweep.found.extend(self.left_behind(name, &info).await?);
        }
        Ok(sweep)
    }

    /// What lies in a consumer's part of the queue, up to where it is done.
    async fn left_behind(&self, name: &str, consumer: &consumer::Info) -> Result<Vec<Place>, StuckError> {
        let stream = self.stream_by_name(name).await?;
        let done = done_up_to(consumer);
        let mut found = Vec::new();
        for subject in filters(&consumer.config) {
            let mut from = 1;
            while found.len() < MAX_FOUND && from <= done {
                let message = match stream.get_first_raw_message_by_subject(subject, from).await {
                    Ok(message) => message,
                    Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => break,
                    Err(error) => return Err(StuckError::new("read a message", name, error.to_string())),
                };
                if message.sequence > done {
                    break;
                }
                from = message.sequence + 1;
                found.push(Place {
                    stream: name.to_owned(),
                    sequence: message.sequence,
                    consumer: consumer.name.clone(),
                    deliveries: u64::try_from(consumer.config.max_deliver).unwrap_or(1).max(1),
                });
            }
        }
        Ok(found)
    }

    /// Keeps a stuck message as a dead letter. Repeating it within the duplicate window stores it once.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored; the message must then stay where it is.
    pub async fn bury_stuck(
        &self,
        stuck: &Stuck,
        place: &str,
        task: Option<(&AgentName, &TaskId)>,
        error: TaskError,
    ) -> Result<(), PublishError> {
        let deliveries = stuck.place.deliveries;
        self.keep_letter(Dying { content: stuck, payload: stuck.payload(), deliveries, place, task, error })
            .await
    }

    /// Takes a stuck message out of its queue. One that is gone already is as good.
    ///
    /// # Errors
    /// [`StuckError`] where the server refuses, or does not answer.
    pub async fn remove_stuck(&self, place: &Place) -> Result<(), StuckError> {
        let failed = |error: String| StuckError::new("remove a message", &place.stream, error);
        let stream = self.stream_by_name(&place.stream).await?;
        let Err(refused) = stream.delete_message(place.sequence).await else { return Ok(()) };
        // The server has one code for whatever goes wrong here, so only a look tells.
        match stream.get_raw_message(place.sequence).await {
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(()),
            _ => Err(failed(refused.to_string())),
        }
    }

    async fn stream_by_name(&self, name: &str) -> Result<Stream<()>, StuckError> {
        let failed =
            |error: &dyn std::fmt::Display| StuckError::new("use a message", name, error.to_string());
        self.context().get_stream_no_info(name).await.map_err(|error| failed(&error))
    }
}

impl StuckError {
    fn new(what: &'static str, stream: &str, reason: String) -> Self {
        Self { what, stream: stream.to_owned(), reason }
    }
}

/// Messages that are counted and that no consumer waits for. The two counts are never of the same moment: one
/// comes before the consumers were asked and one after, and what moved in between makes one of them too low.
fn zombies(before: u64, waited_for: u64, after: u64) -> u64 {
    before.min(after).saturating_sub(waited_for)
}

fn waited_for(consumer: &consumer::Info) -> u64 {
    consumer.num_pending + consumer.num_ack_pending as u64
}

/// The sequence up to which a consumer waits for nothing. A message that was delivered once too often is no longer
/// waited for, and holds the acknowledgement floor below it until nothing at all is waited for.
fn done_up_to(consumer: &consumer::Info) -> u64 {
    match consumer.num_ack_pending {
        0 => consumer.delivered.stream_sequence,
        _ => consumer.ack_floor.stream_sequence,
    }
}

fn filters(config: &consumer::Config) -> Vec<&str> {
    if !config.filter_subjects.is_empty() {
        return config.filter_subjects.iter().map(String::as_str).collect();
    }
    vec![if config.filter_subject.is_empty() { ALL } else { &config.filter_subject }]
}

fn stuck(message: StreamMessage, place: &Place) -> Result<Stuck, String> {
    let StreamMessage { subject, sequence, headers, payload, time } = message;
    let lies = SourceRef { stream: place.stream.clone(), subject: subject.to_string(), sequence };
    let content = Content::new(lies, timestamp(time)?, Some(headers), payload);
    Ok(Stuck { place: place.clone(), content })
}

/// Messages that are a consumer's to deliver: a queue may hold others that nobody is to get yet.
async fn held(stream: &Stream, config: &consumer::Config) -> Result<u64, async_nats::Error> {
    let mut held = 0;
    for filter in filters(config) {
        if filter == ALL {
            return Ok(stream.get_info().await?.state.messages);
        }
        let subjects: Vec<(String, usize)> = stream.info_with_subjects(filter).await?.try_collect().await?;
        held += subjects.iter().map(|(_, messages)| *messages as u64).sum::<u64>();
    }
    Ok(held)
}

fn timestamp(at: async_nats::datetime::DateTime) -> Result<Timestamp, String> {
    Timestamp::from_nanosecond(at.unix_timestamp_nanos()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advisory_reads_as_the_server_writes_it() {
        let written = br#"{"type":"io.nats.jetstream.advisory.v1.max_deliver","id":"z8vJ","timestamp":
            "2026-11-22T16:22:52.067120359Z","stream":"Q","consumer":"c","stream_seq":7,"deliveries":2}"#;
        let advisory = Advisory::read(written).unwrap();
        let expected = Advisory {
            stream: "Q".into(),
            consumer: "c".into(),
            sequence: 7,
            deliveries: 2,
            timestamp: "2026-11-22T16:22:52.067120359Z".parse().unwrap(),
        };
        assert_eq!(advisory, expected);
    }

    #[test]
    fn what_moves_while_it_is_counted_is_no_zombie() {
        assert_eq!(zombies(5, 3, 5), 2, "a queue at rest");
        assert_eq!(zombies(100, 95, 95), 0, "five were done between the counts");
        assert_eq!(zombies(95, 95, 100), 0, "five came between the counts");
        assert_eq!(zombies(3, 5, 3), 0, "and came and went");
    }
}
