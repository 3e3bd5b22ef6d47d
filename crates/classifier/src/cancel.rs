//! Ends what producers cancel: the result first, then every worker is told.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::Instrument;
use trilane_broker::Delivery;
use trilane_broker::content::name_task;
use trilane_broker::publish::PublishError;
use trilane_broker::pull::Slotted;
use trilane_broker::results::Reported;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::{Encoding, Status, TaskResult, subjects};
use trilane_service::metrics::count_finished;

use crate::shared::Shared;

impl Shared {
    /// Takes cancellations until the channel closes.
    pub(crate) async fn take_cancels(&self, mut messages: mpsc::Receiver<Slotted>) {
        while let Some(Slotted { delivery, slot, .. }) = messages.recv().await {
            let span = delivery.span();
            self.take_cancel(&delivery).instrument(span).await;
            drop(slot);
        }
    }

    async fn take_cancel(&self, delivery: &Delivery) {
        match self.cancel(delivery).await {
            Ok(()) => drop(delivery.ack().await),
            Err(error) => {
                tracing::warn!(%error, "a task is not cancelled yet; trying again");
                delivery.retry_after(self.delay(delivery.deliveries)).await;
            }
        }
    }

    async fn cancel(&self, delivery: &Delivery) -> Result<(), PublishError> {
        let Some((agent, task_id)) = subjects::cancelled_task(&delivery.source.subject) else {
            tracing::warn!("a cancellation names no task; publish on cancel.<agent>.<task id>");
            return Ok(());
        };
        name_task(&agent, &task_id);
        // Nobody here knows the task, or whether there is one. What a call has cost meanwhile is in the ledger.
        let error = TaskError::new("cancelled", "its producer has cancelled it");
        let (status, now) = (Status::Cancelled, Timestamp::now());
        let result = TaskResult::without_answer(agent.clone(), task_id.clone(), None, status, error, now);
        let reported = self.broker.report(&result, Encoding::Json, delivery.traceparent()).await?;
        if reported == Reported::AnotherTasks {
            tracing::info!("a task had ended before it was cancelled");
            return Ok(());
        }
        self.broker.announce_cancelled(&agent, &task_id).await?;
        tracing::info!("a task is cancelled");
        // Asked for twice, it is cancelled once.
        if reported == Reported::Stored {
            count_finished(&result);
        }
        Ok(())
    }
}
