//! What becomes of a task that goes nowhere: a result that says why, and a dead letter for the operator.

use jiff::Timestamp;
use trilane_broker::Delivery;
use trilane_broker::publish::PublishError;
use trilane_broker::results::Reported;
use trilane_protocol::learning::EarlierAnswer;
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::work::Spent;
use trilane_protocol::{AgentName, Encoding, Status, TaskId, TaskResult, Work, subjects};
use trilane_service::metrics::catalogue::DEAD_LETTERS;
use trilane_service::metrics::count_finished;
use trilane_service::metrics::labels::{Code, Lane};

use crate::read::Unreadable;
use crate::shared::Shared;

/// A task that ends at the intake.
pub(crate) struct Refusal {
    agent: AgentName,
    task_id: TaskId,
    encoding: Encoding,
    published_at: Timestamp,
    spent: Spent,
    metadata: trilane_protocol::task::Metadata,
    status: Status,
    error: TaskError,
    task_seq: u64,
    earlier: Option<Box<EarlierAnswer>>,
}

impl Refusal {
    /// Work that no lane may serve, or that is past its deadline.
    pub(crate) fn of_work(work: &Work, status: Status, error: TaskError) -> Self {
        Self {
            agent: work.agent.clone(),
            task_id: work.task_id.clone(),
            encoding: work.encoding,
            published_at: work.published_at,
            spent: work.spent.clone(),
            metadata: work.metadata.clone(),
            status,
            error,
            task_seq: work.task_seq,
            earlier: work.told_earlier(),
        }
    }

    pub(crate) fn result(&self) -> TaskResult {
        let now = Timestamp::now();
        let queued = now.as_millisecond() - self.published_at.as_millisecond();
        let (agent, task_id) = (self.agent.clone(), self.task_id.clone());
        let error = self.error.clone();
        TaskResult {
            usage: self.spent.usage,
            cost_usd: self.spent.cost_usd,
            timing_ms: Timing { queued: u64::try_from(queued).unwrap_or(0), ..Timing::default() },
            attempts: self.spent.attempts,
            metadata: self.metadata.clone(),
            earlier: self.earlier.clone(),
            ..TaskResult::without_answer(agent, task_id, Some(self.task_seq), self.status, error, now)
        }
    }
}

impl Shared {
    /// Ends a message that does not read. Without an agent there is nobody to tell, so only the dead letter
    /// remains.
    pub(crate) async fn refuse_unreadable(
        &self,
        delivery: &Delivery,
        unreadable: Unreadable,
    ) -> Result<(), PublishError> {
        let Unreadable { agent, task_id, task_seq, encoding, published_at, spent, error } = unreadable;
        match agent {
            None => self.bury(delivery, None, error).await,
            Some(agent) => {
                let status = Status::Rejected;
                let metadata = trilane_protocol::task::Metadata::new();
                let refusal = Refusal {
                    agent,
                    task_id,
                    encoding,
                    published_at,
                    spent,
                    metadata,
                    status,
                    error,
                    task_seq,
                    earlier: None,
                };
                self.refuse(delivery, &refusal).await
            }
        }
    }

    /// Ends a task with a result that says why and a dead letter. Only after both are stored is it over.
    pub(crate) async fn refuse(&self, delivery: &Delivery, refusal: &Refusal) -> Result<(), PublishError> {
        let task = Some((&refusal.agent, &refusal.task_id));
        if refusal.status != Status::Expired {
            self.bury(delivery, task, refusal.error.clone()).await?;
        }
        let result = refusal.result();
        let reported = self.broker.report(&result, refusal.encoding, delivery.traceparent()).await?;
        // Another's result stands in its place, so the letter tells; one that has expired has none yet.
        if reported == Reported::AnotherTasks && refusal.status == Status::Expired {
            self.bury(delivery, task, id_reused(&refusal.agent, &refusal.task_id)).await?;
        }
        let outcome = refusal.status.as_str();
        tracing::info!(outcome, code = refusal.error.code, "a task ends at the intake");
        if reported == Reported::Stored {
            count_finished(&result);
        }
        Ok(())
    }

    /// Ends a task whose id has been used: its result is there already, so only the dead letter tells.
    pub(crate) async fn refuse_reused_id(
        &self,
        delivery: &Delivery,
        work: &Work,
    ) -> Result<(), PublishError> {
        tracing::warn!("a task id is used twice; the second task is a dead letter");
        self.bury(delivery, Some((&work.agent, &work.task_id)), id_reused(&work.agent, &work.task_id)).await
    }

    async fn bury(
        &self,
        delivery: &Delivery,
        task: Option<(&AgentName, &TaskId)>,
        error: TaskError,
    ) -> Result<(), PublishError> {
        let code = Code::of(&error.code);
        self.broker.bury(delivery, subjects::INTAKE, task, error).await?;
        DEAD_LETTERS.add(1, (Lane::intake(), code));
        Ok(())
    }
}

fn id_reused(agent: &AgentName, task_id: &TaskId) -> TaskError {
    let message = format!(
        "agent `{agent}` has used the id `{task_id}` before; the result of that id is the first task's. Publish again under \
         another id, or without one"
    );
    TaskError::new("id_reused", message)
}
