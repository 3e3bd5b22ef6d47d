//! Cancelled tasks: what producers ask for, what classifiers announce, and what workers hear.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::{CancellationToken, DropGuard};
use trilane_protocol::{AgentName, Encoding, TaskId, Work, subjects};

use crate::connect::Broker;
use crate::publish::{Outgoing, PublishError};
use crate::topology::CANCELLED;

/// Cancelled tasks that one process remembers; it asks the server about older ones.
const MAX_REMEMBERED: usize = 10_000;

/// How far the clocks of two hosts may be apart.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

/// Announcements that a running task may be behind; one that is further behind looks at all that was heard.
const MAX_UNHEARD: usize = 256;

/// Delay before the announcements are subscribed to again.
const SUBSCRIBE_RETRY_DELAY: Duration = Duration::from_secs(1);

impl Broker {
    /// Asks for a task to be cancelled.
    ///
    /// # Errors
    /// [`PublishError`] where the wish could not be stored.
    pub async fn cancel(&self, agent: &AgentName, task_id: &TaskId) -> Result<(), PublishError> {
        let subject = subjects::cancel(agent, task_id);
        self.publish(Outgoing::new(subject, Bytes::new(), Encoding::Json)).await.map(drop)
    }

    /// Tells all workers that a task has ended as cancelled.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored.
    pub async fn announce_cancelled(&self, agent: &AgentName, task_id: &TaskId) -> Result<(), PublishError> {
        let subject = subjects::cancelled(agent, task_id);
        self.publish(Outgoing::new(subject, Bytes::new(), Encoding::Json)).await.map(drop)
    }

    /// Listens to what is cancelled, for as long as the returned value lives.
    pub fn cancellations(&self) -> Cancellations {
        let heard = Arc::new(Heard { state: Mutex::default(), told: broadcast::channel(MAX_UNHEARD).0 });
        let stopped = CancellationToken::new();
        let listening = listen(self.clone(), Arc::clone(&heard));
        let stop = stopped.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = listening => {}
                () = stop.cancelled() => {}
            }
        });
        Cancellations { broker: self.clone(), heard, _listening: Arc::new(stopped.drop_guard()) }
    }
}

/// What has been cancelled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cancellations {
    broker: Broker,
    heard: Arc<Heard>,
    _listening: Arc<DropGuard>,
}

/// What one process has heard.
#[derive(Debug)]
struct Heard {
    state: Mutex<State>,
    /// Tells those that run something now.
    told: broadcast::Sender<String>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when nothing was missed, and at which connection: one that was cut may have missed something.
    since: Option<(Timestamp, u64)>,
    subjects: HashSet<String>,
    oldest_first: VecDeque<String>,
}

/// A task that is watched while it runs.
#[derive(Debug)]
pub struct Watched {
    subject: String,
    told: broadcast::Receiver<String>,
    heard: Arc<Heard>,
}

impl Cancellations {
    /// Whether the task is cancelled already. Asks the server only where this process may have missed it.
    pub async fn has(&self, work: &Work) -> bool {
        let subject = subjects::cancelled(&work.agent, &work.task_id);
        if let Some(answer) = self.heard.knows(&subject, work.published_at, connects(&self.broker)) {
            return answer;
        }
        match self.look_up(subject).await {
            Ok(is_cancelled) => is_cancelled,
            Err(error) => {
                tracing::warn!(error, "cannot tell whether a task is cancelled; it is run");
                false
            }
        }
    }

    /// Watches a task while it runs.
    pub fn watch(&self, work: &Work) -> Watched {
        Watched {
            subject: subjects::cancelled(&work.agent, &work.task_id),
            // Before the first look, so that nothing is told between the two.
            told: self.heard.told.subscribe(),
            heard: Arc::clone(&self.heard),
        }
    }

    async fn look_up(&self, subject: String) -> Result<bool, String> {
        let stream = self.broker.context().get_stream_no_info(CANCELLED).await;
        let stream = stream.map_err(|error| error.to_string())?;
        match stream.direct_get_last_for_subject(subject).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Watched {
    /// Resolves when the task is cancelled.
    pub async fn cancelled(mut self) {
        while !self.heard.state().subjects.contains(&self.subject) {
            // One that lags behind looks at everything that was heard; the sender lives as long as `heard`.
            if let Err(RecvError::Closed) = self.told.recv().await {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the task is cancelled, where that is known here.
    fn knows(&self, subject: &str, published_at: Timestamp, connects: u64) -> Option<bool> {
        let mut state = self.state();
        if state.subjects.contains(subject) {
            return Some(true);
        }
        let (since, connection) = state.since?;
        if connection != connects {
            state.since = Some((Timestamp::now(), connects));
            return None;
        }
        let has_heard_all = published_at.duration_since(since) > CLOCK_ALLOWANCE;
        has_heard_all.then_some(false)
    }

    fn hear(&self, subject: String) {
        let mut state = self.state();
        if state.subjects.insert(subject.clone()) {
            state.oldest_first.push_back(subject.clone());
        }
        if state.oldest_first.len() > MAX_REMEMBERED {
            let oldest = state.oldest_first.pop_front().unwrap_or_default();
            state.subjects.remove(&oldest);
            // What is forgotten here can only be told by the server.
            state.since = state.since.map(|(_, connection)| (Timestamp::now(), connection));
        }
        drop(state);
        // Nobody may be listening, and then nobody needs to know.
        let _ = self.told.send(subject);
    }
}

async fn listen(broker: Broker, heard: Arc<Heard>) {
    loop {
        match broker.client().subscribe(subjects::CANCELLED).await {
            Ok(mut announced) => {
                heard.state().since = Some((Timestamp::now(), connects(&broker)));
                while let Some(message) = announced.next().await {
                    heard.hear(message.subject.to_string());
                }
            }
            Err(error) => tracing::warn!(%error, "cannot hear what is cancelled; trying again"),
        }
        heard.state().since = None;
        tokio::time::sleep(SUBSCRIBE_RETRY_DELAY).await;
    }
}

/// How often this process has connected.
fn connects(broker: &Broker) -> u64 {
    broker.client().statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
}
