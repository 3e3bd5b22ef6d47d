//! Ends what is stuck: dead letter, result, and only when both are stored out of the queue.
//!
//! Every step bears being done twice, by the same janitor or by two at once: the letter has an id, the server
//! refuses a second result, and a message that is gone is gone.
//!
//! * [`fate`]: what becomes of a stuck message, a pure function
//! * [`sweep`]: finds what no advisory told of

mod fate;
pub(crate) mod sweep;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::Instrument;
use trilane_broker::content::name_task;
use trilane_broker::logs::ReadError;
use trilane_broker::publish::PublishError;
use trilane_broker::pull::Puller;
use trilane_broker::results::Reported;
use trilane_broker::stuck::{Advisory, Place, Stuck, StuckError};
use trilane_broker::{Broker, Delivery};
use trilane_protocol::alert::Alert;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::{AgentName, TaskId, subjects};
use trilane_service::Shutdown;
use trilane_service::metrics::catalogue::DEAD_LETTERS;
use trilane_service::metrics::count_finished;
use trilane_service::metrics::labels::{Code, Lane};
use trilane_trust::Trusted;

use fate::{Failure, Fate};

/// Advisories in hand at once: one after the other is fast enough for what should never happen.
const AT_ONCE: usize = 1;

/// Delay before an advisory that could not be followed is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Ends stuck messages.
#[derive(Debug)]
pub(crate) struct Janitor {
    broker: Broker,
    trusted: Trusted,
}

/// Why a stuck message stays where it is for now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNow {
    /// A write that is not confirmed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The message itself.
    #[error(transparent)]
    Stuck(#[from] StuckError),
    /// The result that the task may have.
    #[error(transparent)]
    Result(#[from] ReadError),
}

impl Janitor {
    pub(crate) fn new(broker: Broker, trusted: Trusted) -> Self {
        Self { broker, trusted }
    }

    /// What a sweep sees in one queue.
    pub(crate) async fn look_at(&self, queue: &str) -> Result<trilane_broker::stuck::Sweep, StuckError> {
        self.broker.sweep(queue).await
    }

    /// Follows advisories until shutdown has begun.
    pub(crate) async fn follow(&self, advisories: Puller, shutdown: &Shutdown) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut messages = advisories.start(slots, shutdown.begun());
        while let Some(slotted) = messages.recv().await {
            self.heed(&slotted.delivery).await;
        }
    }

    async fn heed(&self, delivery: &Delivery) {
        let advisory = match Advisory::read(delivery.payload()) {
            Ok(advisory) => advisory,
            Err(error) => {
                tracing::error!(%error, "an advisory does not read; the sweep finds what it told of");
                delivery.terminate().await;
                return;
            }
        };
        match self.act_on(&advisory).await {
            Ok(()) => drop(delivery.ack().await),
            Err(error) => {
                tracing::warn!(%error, advisory.stream, advisory.sequence, "a stuck message is not ended yet; trying again");
                delivery.retry_after(RETRY_DELAY).await;
            }
        }
    }

    async fn act_on(&self, advisory: &Advisory) -> Result<(), NotNow> {
        match self.broker.told_of(advisory).await? {
            Some(stuck) => self.end(&stuck).await,
            None => Ok(()),
        }
    }

    /// Ends what two sweeps have found.
    pub(crate) async fn end_at(&self, place: &Place) -> Result<(), NotNow> {
        match self.broker.stuck_at(place).await? {
            Some(stuck) => self.end(&stuck).await,
            None => Ok(()),
        }
    }

    async fn end(&self, stuck: &Stuck) -> Result<(), NotNow> {
        self.end_once(stuck).instrument(stuck.span()).await
    }

    async fn end_once(&self, stuck: &Stuck) -> Result<(), NotNow> {
        match fate::of(stuck, &self.trusted, Timestamp::now()) {
            Fate::Fail(failure) => self.fail(stuck, &failure).await?,
            Fate::Bury { place, error } => self.bury(stuck, &place, None, error).await?,
            Fate::Remove => tracing::debug!("a shadow was stuck in its queue and is dropped"),
            Fate::Leave => {
                let Place { stream, sequence, .. } = &stuck.place;
                let message = format!(
                    "message {sequence} of stream {stream} is stuck, and this version does not know its kind; look at \
                     it with `nats stream get {stream} {sequence}`"
                );
                tracing::error!(stream, sequence, message);
                self.alert(subjects::INTAKE, message).await;
                return Ok(());
            }
        }
        self.broker.remove_stuck(&stuck.place).await?;
        Ok(())
    }

    /// A task that has its result already needs no letter: whoever stored it died before saying so to its queue.
    /// Where it is another task's, the letter is all that is left of this one.
    async fn fail(&self, stuck: &Stuck, failure: &Failure) -> Result<(), NotNow> {
        let Failure { place, result, encoding } = failure;
        let task = Some((&result.agent, &result.task_id));
        name_task(&result.agent, &result.task_id);
        if let Some(earlier) = self.broker.result(&result.agent, &result.task_id).await? {
            if earlier.is_of(result.task_seq) {
                tracing::info!("a stuck message had its result already");
                return Ok(());
            }
            let message = "another task of this agent has used the id, and this one got stuck before it was told; \
                           publish it again under another id";
            return self.bury(stuck, place, task, TaskError::new("id_reused", message)).await;
        }
        if let Some(error) = &result.error {
            self.bury(stuck, place, task, error.clone()).await?;
        }
        if self.broker.report(result, *encoding, stuck.traceparent()).await? == Reported::Stored {
            let deliveries = stuck.place.deliveries;
            let outcome = result.status.as_str();
            tracing::warn!(place, deliveries, outcome, "a task was stuck in its queue and ends");
            count_finished(result);
        }
        Ok(())
    }

    async fn bury(
        &self,
        stuck: &Stuck,
        place: &str,
        task: Option<(&AgentName, &TaskId)>,
        error: TaskError,
    ) -> Result<(), NotNow> {
        let (message, code) = (error.message.clone(), Code::of(&error.code));
        self.broker.bury_stuck(stuck, place, task, error).await?;
        self.alert(place, message).await;
        DEAD_LETTERS.add(1, (Lane::place(place), code));
        Ok(())
    }

    async fn alert(&self, place: &str, message: String) {
        self.broker.alert(&Alert::new(fate::MAX_DELIVERIES, place, message, Timestamp::now())).await;
    }
}
