//! The producers: any NATS client's publishes, each repeated under its message id until it is acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::{ContextBuilder, PublishError};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use trilane_protocol::{Encoding, subjects};
use trilane_trust::Role;

use crate::fleet::url;
use crate::tasks::{Kind, PRODUCERS, PlannedTask};

/// Publishes that one producer has under way.
const PUBLISHES_AT_ONCE: usize = 16;

/// How long an acknowledgement may take before the publish is repeated.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// Between pings; a half-open connection is noticed after two that stay without an answer.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Around which a publish that was refused or not acknowledged is repeated, milliseconds.
const REPEAT_MS: std::ops::Range<u64> = 20..80;

/// JetStream's code for a stream that refuses because it is full.
const CODE_STREAM_FULL: u64 = 10_077;

/// A task that the queue has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its position in the plan.
    pub task: usize,
    /// Its sequence in the stream, as its acknowledgement says.
    pub sequence: u64,
}

/// Where producers come in.
#[derive(Debug, Clone)]
pub struct Door {
    /// The address of the queue, or of what stands before it.
    pub address: SocketAddr,
    /// The key of those that have one.
    pub seed: Option<String>,
}

/// What the producers have seen.
#[derive(Debug, Default)]
pub struct Published {
    acknowledged: Mutex<Vec<Acknowledged>>,
    /// Publishes that were sent, repeats included.
    pub offered: AtomicU64,
    /// Publishes that a full intake refused.
    pub refused: AtomicU64,
    /// Tasks that were repeated because an acknowledgement did not come.
    pub ambiguous: AtomicU64,
}

impl Published {
    /// The tasks that were acknowledged.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, acknowledged: Acknowledged) -> usize {
        let mut all = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(acknowledged);
        all.len()
    }
}

/// What all producers share.
#[derive(Debug, Clone)]
struct Shared {
    tasks: Arc<Vec<PlannedTask>>,
    published: Arc<Published>,
    count: watch::Sender<usize>,
    released: watch::Receiver<usize>,
    stop: CancellationToken,
}

/// Publishes `tasks` as far as they are `released`, and tells `count` how many were acknowledged. When `stop`
/// fires no task is begun any more; those that were are published to their end.
///
/// # Errors
/// Where a producer cannot connect.
pub async fn run(
    tasks: Arc<Vec<PlannedTask>>,
    door: &Door,
    published: Arc<Published>,
    count: watch::Sender<usize>,
    released: watch::Receiver<usize>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let shared = Shared { tasks, published, count, released, stop };
    let mut producing = JoinSet::new();
    for producer in 0..PRODUCERS {
        let context = connect(door, producer).await?;
        producing.spawn(produce(producer, context, shared.clone()));
    }
    producing.join_all().await;
    Ok(())
}

/// Every other producer comes with a key, the rest without any.
async fn connect(door: &Door, producer: usize) -> anyhow::Result<Context> {
    let (options, inbox) = match door.seed.clone().filter(|_| producer.is_multiple_of(2)) {
        Some(seed) => (ConnectOptions::with_nkey(seed), Role::Producer.inbox_prefix()),
        None => (ConnectOptions::new(), "_INBOX".to_owned()),
    };
    let options = options
        .name(format!("producer-{producer}"))
        .custom_inbox_prefix(inbox)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(LONGEST_SILENCE)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|_| Duration::from_millis(100));
    let client = options.connect(url(door.address)).await?;
    Ok(ContextBuilder::new().ack_timeout(LONGEST_SILENCE).build(client))
}

async fn produce(producer: usize, context: Context, shared: Shared) {
    let own = (producer..shared.tasks.len()).step_by(PRODUCERS);
    let publishing = stream::iter(own).for_each_concurrent(PUBLISHES_AT_ONCE, |task| {
        let (context, mut shared) = (context.clone(), shared.clone());
        async move {
            let released = shared.released.wait_for(|released| *released > task);
            let is_released = matches!(shared.stop.run_until_cancelled(released).await, Some(Ok(_)));
            if is_released && !shared.stop.is_cancelled() {
                shared.publish(&context, task).await;
            }
        }
    });
    publishing.await;
}

impl Shared {
    /// Publishes one task until it is acknowledged, and cancels it where the plan says so.
    async fn publish(&self, context: &Context, task: usize) {
        self.publish_task(context, task).await;
        let planned = &self.tasks[task];
        if let (Kind::Cancelled, Some((agent, task_id))) = (planned.kind, &planned.key) {
            // One that is not acknowledged may have come or not; either way the task ends.
            if let Ok(sent) = context.publish(subjects::cancel(agent, task_id), Bytes::new()).await {
                let _ = sent.await;
            }
        }
    }

    async fn publish_task(&self, context: &Context, task: usize) {
        let mut is_ambiguous = false;
        loop {
            self.published.offered.fetch_add(1, Ordering::Relaxed);
            match publish_once(context, &self.tasks[task]).await {
                Ok(sequence) => {
                    let count = self.published.keep(Acknowledged { task, sequence });
                    self.count.send_if_modified(|known| {
                        let is_news = count > *known;
                        *known = count.max(*known);
                        is_news
                    });
                    return;
                }
                Err(error) if is_full(&error) => {
                    self.published.refused.fetch_add(1, Ordering::Relaxed);
                }
                // It may be stored or not: the same id is published again.
                Err(_) if !is_ambiguous => {
                    is_ambiguous = true;
                    self.published.ambiguous.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {}
            }
            let delay = rand::rng().random_range(REPEAT_MS);
            sleep(Duration::from_millis(delay)).await;
        }
    }
}

async fn publish_once(context: &Context, task: &PlannedTask) -> Result<u64, PublishError> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, task.message_id.as_str());
    if let Some(encoding) = task.encoding {
        headers.insert("Content-Type", Encoding::content_type(encoding));
    }
    let payload = task.payload.clone().into();
    let sent = context.publish_with_headers(task.subject.clone(), headers, payload).await?;
    sent.await.map(|stored| stored.sequence)
}

fn is_full(error: &PublishError) -> bool {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    source.is_some_and(|error| error.error_code().0 == CODE_STREAM_FULL)
}
