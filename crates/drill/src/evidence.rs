//! Collects what the queue holds after a drill, by any client's means: ordered consumers and raw messages.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use trilane_broker::topology::{
    CANCELS, DEAD, LANE_CLOUD, LANE_LOCAL, LATER, LEDGER, RESULTS, RETURNS, TASKS,
};
use trilane_protocol::ledger::LedgerEntry;
use trilane_protocol::outcome::DeadLetter;
use trilane_protocol::work::{LaneMessage, Return};
use trilane_protocol::{AgentName, Encoding, TaskId, TaskResult};
use trilane_trust::{Keys, Role};

use crate::audit::{Buried, Key, QueueState, Queued, StoredResult};
use crate::fleet::url;
use crate::money::Booked;

/// The work queues.
const QUEUES: [&str; 6] = [TASKS, RETURNS, LATER, CANCELS, LANE_LOCAL, LANE_CLOUD];

/// Longest wait for the next message of a stream that is not read to its end yet.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// Between two looks at the queues.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Looks in a row at which the queues must be empty: a task may be on its way from one to the next, or be published once
/// more by a process that has not heard that it was stored.
const EMPTY_LOOKS: u32 = 8;

/// How long the queues may take to get empty once nothing goes wrong any more. Generous: a task may be at the
/// longest delay between two attempts, behind a lease that has to run out.
const LONGEST_DRAIN: Duration = Duration::from_secs(120);

/// Messages that are read of a queue which did not get empty.
const MOST_QUEUED: u64 = 10_000;

/// Reads the queue.
#[derive(Debug)]
pub struct Reader {
    context: Context,
}

/// Hears results as they are announced.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<Mutex<Vec<Announcement>>>,
    count: watch::Receiver<usize>,
    listening: JoinHandle<()>,
}

/// A result as it was announced.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The subject, which names agent and task.
    pub subject: String,
    /// The result.
    pub payload: Bytes,
    /// When it was heard.
    pub at: Instant,
}

impl Reader {
    /// Connects with the key of the admin: whoever audits must be able to see everything.
    ///
    /// # Errors
    /// Where the queue cannot be reached.
    pub async fn connect(address: SocketAddr, keys: &Keys) -> anyhow::Result<Self> {
        let seed = keys.user_seed(&Role::Admin)?.context("the admin has no key")?;
        let client =
            async_nats::ConnectOptions::with_nkey(seed).max_reconnects(None).connect(url(address)).await?;
        Ok(Self { context: jetstream::new(client) })
    }

    /// Begins to count announcements. Those of a moment without a connection are not heard, so this can find a
    /// second one, and not miss the first.
    ///
    /// # Errors
    /// Where the queue refuses.
    pub async fn listen(&self) -> anyhow::Result<Listener> {
        let mut announcements = self.context.client().subscribe("results.>").await?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (counting, count) = watch::channel(0);
        let hearing = Arc::clone(&heard);
        let listening = tokio::spawn(async move {
            while let Some(message) = announcements.next().await {
                let (subject, at) = (message.subject.to_string(), Instant::now());
                let mut heard = hearing.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push(Announcement { subject, payload: message.payload, at });
                counting.send_replace(heard.len());
            }
        });
        Ok(Listener { heard, count, listening })
    }

    /// Waits until every queue is empty, or it has taken too long. Says how long it took and whether they are.
    pub async fn drained(&self) -> (Duration, bool) {
        let begun = Instant::now();
        let mut looks = 0;
        loop {
            let left =
                self.queues().await.map(|queues| queues.iter().map(|queue| queue.messages).sum::<u64>());
            looks = if matches!(left, Ok(0)) { looks + 1 } else { 0 };
            if looks == EMPTY_LOOKS {
                return (begun.elapsed(), true);
            }
            if begun.elapsed() > LONGEST_DRAIN {
                return (begun.elapsed(), false);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// The state of every queue.
    ///
    /// # Errors
    /// Where the server does not say.
    pub async fn queues(&self) -> anyhow::Result<Vec<QueueState>> {
        let mut queues = Vec::new();
        for name in QUEUES {
            let stream = self.context.get_stream(name).await?;
            let (mut waiting, mut in_hand) = (0, 0);
            let mut consumers = stream.consumers();
            while let Some(consumer) = consumers.try_next().await? {
                waiting += consumer.num_pending;
                in_hand += consumer.num_ack_pending as u64;
            }
            let messages = stream.get_info().await?.state.messages;
            queues.push(QueueState { stream: name.to_owned(), messages, waiting, in_hand });
        }
        Ok(queues)
    }

    /// What is left in the queues.
    ///
    /// # Errors
    /// Where a queue cannot be read.
    pub async fn queued(&self) -> anyhow::Result<Vec<Queued>> {
        let mut queued = Vec::new();
        for QueueState { stream: name, .. } in self.queues().await?.iter().filter(|queue| queue.messages > 0)
        {
            let stream = self.context.get_stream(name).await?;
            let state = stream.cached_info().state.clone();
            let last = state.last_sequence.min(state.first_sequence + MOST_QUEUED);
            for sequence in state.first_sequence..=last {
                // What is gone by now or was never there is not queued.
                let Ok(message) = stream.get_raw_message(sequence).await else { continue };
                let key = key_of_work(&message.payload);
                queued.push(Queued { key, source: (name.clone(), sequence) });
            }
        }
        Ok(queued)
    }

    /// All stored results.
    ///
    /// # Errors
    /// Where the stream cannot be read to its end.
    pub async fn results(&self) -> anyhow::Result<Vec<StoredResult>> {
        let messages = self.messages(RESULTS).await?;
        Ok(messages.iter().map(|(subject, payload)| stored_result(subject, payload)).collect())
    }

    /// All dead letters.
    ///
    /// # Errors
    /// Where the stream cannot be read to its end.
    pub async fn buried(&self) -> anyhow::Result<Vec<Buried>> {
        let messages = self.messages(DEAD).await?;
        let read = |(_, payload): &(String, Bytes)| {
            let letter: DeadLetter =
                serde_json::from_slice(payload).context("a dead letter does not read")?;
            Ok(Buried {
                key: letter.agent.zip(letter.task_id),
                source: (letter.source.stream, letter.source.sequence),
                code: letter.error.code,
            })
        };
        messages.iter().map(read).collect()
    }

    /// What the ledger says of each task in the end.
    ///
    /// # Errors
    /// Where the stream cannot be read to its end.
    pub async fn booked(&self) -> anyhow::Result<BTreeMap<Key, Booked>> {
        let mut booked = BTreeMap::new();
        // The last entry of a task holds all that went before.
        for (_, payload) in self.messages(LEDGER).await? {
            let entry: LedgerEntry =
                serde_json::from_slice(&payload).context("an entry of the ledger does not read")?;
            booked.insert((entry.agent.clone(), entry.task_id.clone()), Booked::of(&entry));
        }
        Ok(booked)
    }

    /// How much later the message at one position of a stream was stored than that at another, by the server's clock.
    /// Positions count from 0, the oldest message that is there; none may be missing in between.
    ///
    /// # Errors
    /// Where the stream does not have them.
    pub async fn stored_apart(&self, name: &str, first: u64, second: u64) -> anyhow::Result<Duration> {
        let stream = self.context.get_stream(name).await?;
        let oldest = stream.cached_info().state.first_sequence;
        let one = stream.get_raw_message(oldest + first).await?;
        let other = stream.get_raw_message(oldest + second).await?;
        Ok((other.time - one.time).unsigned_abs())
    }

    /// Every message of a stream that is not written to any more.
    async fn messages(&self, name: &str) -> anyhow::Result<Vec<(String, Bytes)>> {
        let stream = self.context.get_stream(name).await?;
        let count = stream.cached_info().state.messages;
        let mut messages = Vec::new();
        if count == 0 {
            return Ok(messages);
        }
        let reader =
            pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..pull::OrderedConfig::default() };
        let mut reading = stream.create_consumer(reader).await?.messages().await?;
        while (messages.len() as u64) < count {
            match timeout(LONGEST_SILENCE, reading.next()).await {
                Ok(Some(Ok(message))) => {
                    messages.push((message.subject.to_string(), message.payload.clone()));
                }
                // The reader makes itself a new consumer.
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => bail!("{name} has {count} messages, {} could be read", messages.len()),
            }
        }
        Ok(messages)
    }
}

impl Listener {
    /// The subjects that were heard until now, and how often.
    pub fn heard(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for Announcement { subject, .. } in self.announcements() {
            *counts.entry(subject).or_default() += 1;
        }
        counts
    }

    /// All that was heard until now, in the order in which it was.
    pub fn announcements(&self) -> Vec<Announcement> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many have been heard. Says whether they were, before `patience` was over.
    pub async fn wait_for(&self, wanted: usize, patience: Duration) -> bool {
        let mut count = self.count.clone();
        matches!(timeout(patience, count.wait_for(|count| *count >= wanted)).await, Ok(Ok(_)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn stored_result(subject: &str, payload: &[u8]) -> StoredResult {
    let key = key_of_subject(subject);
    let read =
        Encoding::detect(None, payload).and_then(|encoding| encoding.decode::<TaskResult>(payload)).ok();
    // A result that names another task than its subject is no result of it.
    let read = read.filter(|result| key == Some((result.agent.clone(), result.task_id.clone())));
    StoredResult {
        key,
        status: read.as_ref().map(|result| result.status),
        code: read.as_ref().and_then(|result| Some(result.error.as_ref()?.code.clone())),
        text: read.and_then(|result| result.text),
    }
}

fn key_of_subject(subject: &str) -> Option<Key> {
    let (agent, task_id) = subject.strip_prefix("result.")?.split_once('.')?;
    Some((AgentName::new(agent).ok()?, TaskId::new(task_id).ok()?))
}

/// The task of a lane message, or of one that a worker has handed back. A task itself is known by its sequence.
fn key_of_work(payload: &[u8]) -> Option<Key> {
    let returned = Encoding::Msgpack.decode::<Return>(payload).ok();
    let payload = returned.as_ref().map_or(payload, |returned| returned.message.as_slice());
    let message = Encoding::Msgpack.decode::<LaneMessage>(payload).ok()?;
    Some((message.work.agent, message.work.task_id))
}
