//! Compare-and-set on the stream: an entry is stored only where nothing was stored since its book was read, so the
//! running book is right whoever writes.
//!
//! The server compares twice: the last message of the whole stream, and the last of the task's subject. The second
//! matters with several replicas, where a direct get may answer from one that lags behind.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::DirectGetErrorKind;
use rand::Rng;
use tokio::time::timeout;
use trilane_protocol::ledger::{Book, LedgerEntry};
use trilane_protocol::{Encoding, subjects};
use trilane_routing::ledger::Call;

use crate::connect::Broker;
use crate::ledger::LedgerError;
use crate::publish::{CODE_WRONG_LAST_SEQUENCE, code};
use crate::topology::LEDGER;

/// Names the subject whose last sequence is compared, where it is not the message's own (nats-server 2.12).
const EXPECTED_LAST_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// The same as [`CODE_WRONG_LAST_SEQUENCE`], from a cluster that has not stored the other message yet.
const CODE_WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10164;

/// The last message of the whole stream: the server answers this one without looking at its subjects.
const WHOLE_STREAM: &str = ">";

/// Times that an entry is made anew because others were quicker.
const MAX_CONFLICTS: u32 = 500;

/// Longest wait for an entry to be read; then it is read again, on a connection that may have come back meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest pause between two such tries.
const MAX_CONFLICT_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between two tries while the server does not answer.
const MAX_SILENCE_PAUSE: Duration = Duration::from_secs(2);

/// A stored entry.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) entry: LedgerEntry,
    sequence: u64,
    /// The event's own id: tells an event that was stored without our hearing of it.
    event_id: String,
}

/// The end of the stream.
#[derive(Debug)]
struct Head {
    /// 0 where nothing is stored.
    sequence: u64,
    book: Book,
}

/// Appends, one event after the other, and remembers the end of the stream meanwhile.
#[derive(Debug)]
pub(super) struct Appender {
    broker: Broker,
    head: Option<Head>,
}

/// What became of one try.
enum Sent {
    Stored(u64),
    /// An earlier try was stored; its acknowledgement was lost.
    Duplicate(u64),
    /// Somebody else was quicker.
    Conflict,
    /// It may be stored or not.
    Unconfirmed(String),
}

/// Why nothing was appended.
#[derive(Debug)]
pub(super) enum NotAppended<E> {
    /// The event was decided against.
    Refused(E),
    /// The ledger cannot be used.
    Failed(LedgerError),
}

impl<E> From<LedgerError> for NotAppended<E> {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error)
    }
}

impl Appender {
    pub(super) fn new(broker: Broker) -> Self {
        Self { broker, head: None }
    }

    /// Appends what `decide` makes of the book and the task's last entry, at most once; `None` where that is
    /// nothing. `last` is the task's last entry as far as it is known; a wrong one costs a try and nothing else.
    /// `max_silences` is how often the server may fail to answer.
    pub(super) async fn append<E>(
        &mut self,
        call: &Call,
        mut last: Option<Option<Page>>,
        max_silences: u32,
        mut decide: impl FnMut(&Book, Option<&LedgerEntry>) -> Result<Option<LedgerEntry>, E>,
    ) -> Result<Option<Page>, NotAppended<E>> {
        let subject = subjects::spend(&call.agent, &call.task_id);
        // One id an event, whatever is made of it in several tries: the server stores one of them at most.
        let event_id = format!("{:032x}", rand::random::<u128>());
        let (mut conflicts, mut silences) = (0, 0);
        loop {
            let tried = self.try_once(&subject, &event_id, last.take(), silences > 0, &mut decide).await?;
            let reason = match tried {
                Tried::Over(page) => return Ok(page.map(|page| *page)),
                Tried::Conflict => {
                    conflicts += 1;
                    if conflicts > MAX_CONFLICTS {
                        return Err(LedgerError::Contended.into());
                    }
                    pause(conflicts, MAX_CONFLICT_PAUSE).await;
                    continue;
                }
                Tried::Outdated => continue,
                Tried::Silence(reason) => reason,
            };
            silences += 1;
            if silences > max_silences {
                return Err(LedgerError::Unreachable(reason).into());
            }
            tracing::warn!(reason, "the spend ledger does not answer; trying again");
            pause(silences + 6, MAX_SILENCE_PAUSE).await;
        }
    }

    async fn try_once<E>(
        &mut self,
        subject: &str,
        event_id: &str,
        last: Option<Option<Page>>,
        may_be_stored: bool,
        decide: &mut impl FnMut(&Book, Option<&LedgerEntry>) -> Result<Option<LedgerEntry>, E>,
    ) -> Result<Tried, NotAppended<E>> {
        let is_remembered = self.head.is_some() || last.is_some();
        // The end of the stream is read before the task's entry: what comes between moves the end, and is noticed.
        let head = match self.head.take() {
            Some(head) => head,
            None => match head(&self.broker).await {
                Ok(head) => head,
                Err(LedgerError::Unreachable(reason)) => return Ok(Tried::Silence(reason)),
                Err(error) => return Err(error.into()),
            },
        };
        let last = match last {
            Some(last) => last,
            None => match page(&self.broker, subject).await {
                Ok(last) => last,
                Err(LedgerError::Unreachable(reason)) => return Ok(Tried::Silence(reason)),
                Err(error) => return Err(error.into()),
            },
        };
        if may_be_stored && last.as_ref().is_some_and(|last| last.event_id == event_id) {
            return Ok(Tried::Over(last.map(Box::new)));
        }
        let entry = match decide(&head.book, last.as_ref().map(|last| &last.entry)) {
            Ok(Some(entry)) => entry,
            // What is remembered may be outdated. An append would notice; where there is none, one has to look.
            Ok(None) | Err(_) if is_remembered => return Ok(Tried::Outdated),
            Ok(None) => return Ok(Tried::Over(None)),
            Err(refused) => return Err(NotAppended::Refused(refused)),
        };
        let known = (head.sequence, last.map_or(0, |last| last.sequence));
        match send(&self.broker, subject, &entry, event_id, known).await {
            Sent::Stored(sequence) => {
                self.head = Some(Head { sequence, book: entry.book.clone() });
                let event_id = event_id.to_owned();
                Ok(Tried::Over(Some(Box::new(Page { entry, sequence, event_id }))))
            }
            Sent::Duplicate(sequence) => match page_at(&self.broker, sequence).await {
                Ok(page) => Ok(Tried::Over(Some(Box::new(page)))),
                Err(LedgerError::Unreachable(reason)) => Ok(Tried::Silence(reason)),
                Err(error) => Err(error.into()),
            },
            Sent::Conflict => Ok(Tried::Conflict),
            Sent::Unconfirmed(reason) => Ok(Tried::Silence(reason)),
        }
    }
}

/// What became of one round of read, decide, send.
enum Tried {
    Over(Option<Box<Page>>),
    /// Nothing is to be appended to what was remembered; it is to be read again.
    Outdated,
    Conflict,
    Silence(String),
}

/// The last entry of a call's task.
pub(super) async fn last_of_task(broker: &Broker, call: &Call) -> Result<Option<Page>, LedgerError> {
    page(broker, &subjects::spend(&call.agent, &call.task_id)).await
}

/// The book as it stands.
pub(super) async fn book(broker: &Broker) -> Result<Book, LedgerError> {
    head(broker).await.map(|head| head.book)
}

async fn head(broker: &Broker) -> Result<Head, LedgerError> {
    let page = page(broker, WHOLE_STREAM).await?;
    Ok(page.map_or_else(
        || Head { sequence: 0, book: Book::default() },
        |page| Head { sequence: page.sequence, book: page.entry.book },
    ))
}

async fn page(broker: &Broker, subject: &str) -> Result<Option<Page>, LedgerError> {
    let stream = broker.context().get_stream_no_info(LEDGER).await.map_err(unreachable)?;
    match timeout(READ_TIMEOUT, stream.direct_get_last_for_subject(subject)).await.map_err(unreachable)? {
        Ok(message) => read(&message).map(Some),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreachable(error)),
    }
}

async fn page_at(broker: &Broker, sequence: u64) -> Result<Page, LedgerError> {
    let stream = broker.context().get_stream_no_info(LEDGER).await.map_err(unreachable)?;
    let message = timeout(READ_TIMEOUT, stream.direct_get(sequence)).await.map_err(unreachable)?;
    read(&message.map_err(unreachable)?)
}

fn read(message: &StreamMessage) -> Result<Page, LedgerError> {
    let entry = Encoding::Json.decode(&message.payload);
    let entry = entry.map_err(|error| LedgerError::Unreadable(error.to_string()))?;
    let event_id = message.headers.get(NATS_MESSAGE_ID).map(|id| id.as_str().to_owned());
    Ok(Page { entry, sequence: message.sequence, event_id: event_id.unwrap_or_default() })
}

async fn send(
    broker: &Broker,
    subject: &str,
    entry: &LedgerEntry,
    event_id: &str,
    (last_of_stream, last_of_subject): (u64, u64),
) -> Sent {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", Encoding::Json.content_type());
    headers.insert(NATS_MESSAGE_ID, event_id);
    if last_of_stream == 0 {
        // Sequences go on when everything has aged away, so an empty stream is told by its subjects.
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        headers.insert(EXPECTED_LAST_SUBJECT, subjects::SPENDING);
    } else {
        headers.insert(NATS_EXPECTED_LAST_SEQUENCE, last_of_stream.to_string().as_str());
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last_of_subject.to_string().as_str());
    }
    let payload = Encoding::Json.encode(entry).into();
    let sent = broker.context().publish_with_headers(subject.to_owned(), headers, payload).await;
    let acknowledged = match sent {
        Ok(sent) => sent.await,
        Err(error) => Err(error),
    };
    match acknowledged {
        Ok(stored) if stored.duplicate => Sent::Duplicate(stored.sequence),
        Ok(stored) => Sent::Stored(stored.sequence),
        Err(error) => match code(&error) {
            Some(CODE_WRONG_LAST_SEQUENCE | CODE_WRONG_LAST_SEQUENCE_CONSTANT) => Sent::Conflict,
            _ => Sent::Unconfirmed(error.to_string()),
        },
    }
}

/// Grows with each try and is drawn at random, so that those who meet do not meet again.
async fn pause(tries: u32, most: Duration) {
    let grown = Duration::from_millis(1 << tries.min(16)).min(most);
    let drawn = rand::rng().random_range(Duration::ZERO..=grown);
    tokio::time::sleep(drawn).await;
}

fn unreachable(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Unreachable(error.to_string())
}
