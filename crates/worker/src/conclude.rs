//! Carries out a verdict: the durable write first, the acknowledgement after it is confirmed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trilane_broker::publish::PublishError;
use trilane_broker::results::Reported;
use trilane_broker::{Broker, Delivery};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::work::LaneMessage;
use trilane_protocol::{LaneName, Status, TaskResult};

use crate::verdict::{self, Attempt, Verdict};

/// Longest delay between two tries to write an outcome while the server cannot be reached.
const MAX_WRITE_DELAY: Duration = Duration::from_secs(5);

/// What a conclusion needs besides the verdict.
pub(crate) struct Conclusion<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) delivery: &'a Delivery,
    pub(crate) lane: &'a LaneName,
    /// Fires when the drain's grace time is over: what is not written by then is left to another worker.
    pub(crate) drained: &'a CancellationToken,
}

impl Conclusion<'_> {
    /// Carries out `verdict`. The answer is not thrown away because the server is gone for a while: writing
    /// is tried again until it succeeds or this worker has to stop. What the server will never take becomes a
    /// failure that it does take.
    pub(crate) async fn carry_out(&self, message: &LaneMessage, mut verdict: Verdict, attempt: Attempt) {
        let mut delay = Duration::from_millis(200);
        while let Err(error) = self.write(message, &verdict).await {
            tracing::warn!(%error, task_id = %message.work.task_id, "an outcome is not stored yet; trying again");
            if !error.is_retryable() {
                verdict = verdict::refused(message, TaskError::new("too_large", error.to_string()), attempt);
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => delay = (delay * 2).min(MAX_WRITE_DELAY),
                () = self.drained.cancelled() => return self.delivery.hand_back().await,
            }
        }
        self.acknowledge(&verdict).await;
    }

    async fn write(&self, message: &LaneMessage, verdict: &Verdict) -> Result<(), PublishError> {
        match verdict {
            Verdict::Report(result) => self.report(message, result).await,
            Verdict::ReportAndBury(result) => {
                let error =
                    result.error.clone().unwrap_or_else(|| TaskError::new("failed", "no reason was given"));
                let task = Some((&message.work.agent, &message.work.task_id));
                self.broker.bury(self.delivery, self.lane.as_str(), task, error).await?;
                metrics::counter!("trilane_dead_letters_total", "lane" => self.lane.to_string()).increment(1);
                self.report(message, result).await
            }
            Verdict::Reroute(reroute) => {
                self.broker.reroute(reroute, self.delivery.traceparent()).await.map(drop)
            }
            Verdict::Retry(_) | Verdict::HandBack => Ok(()),
        }
    }

    async fn acknowledge(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Report(_) | Verdict::Reroute(_) => drop(self.delivery.ack().await),
            Verdict::ReportAndBury(_) => drop(self.delivery.terminate().await),
            Verdict::Retry(delay) => {
                metrics::counter!("trilane_retries_total", "lane" => self.lane.to_string()).increment(1);
                self.delivery.retry_after(*delay).await;
            }
            Verdict::HandBack => self.delivery.hand_back().await,
        }
    }

    async fn report(&self, message: &LaneMessage, result: &TaskResult) -> Result<(), PublishError> {
        let encoding = message.work.encoding;
        let traceparent = self.delivery.traceparent();
        let reported = match self.broker.report(result, encoding, traceparent).await {
            Err(PublishError::TooLarge { bytes, most, .. }) => {
                self.broker.report(&too_large(result, bytes, most), encoding, traceparent).await?
            }
            other => other?,
        };
        match reported {
            Reported::Stored => count(result),
            // A first delivery cannot have stored it: another task has used the id, and this answer would be
            // gone without a trace.
            Reported::AlreadyThere if self.delivery.deliveries == 1 => {
                let text = "another task of this agent has used the id; its result stands, and this answer is dropped";
                let task = Some((&message.work.agent, &message.work.task_id));
                let error = TaskError::new("id_reused", text);
                self.broker.bury(self.delivery, self.lane.as_str(), task, error).await?;
                tracing::warn!(task_id = %result.task_id, agent = %result.agent, "a task id is used twice");
            }
            Reported::AlreadyThere => {
                tracing::info!(task_id = %result.task_id, agent = %result.agent, "the task has its result already");
            }
        }
        Ok(())
    }
}

fn too_large(result: &TaskResult, bytes: usize, most: usize) -> TaskResult {
    let message =
        format!("the result has {bytes} bytes, the server takes {most}; ask for fewer `max_tokens`");
    TaskResult {
        status: Status::Failed,
        text: None,
        finish: None,
        error: Some(TaskError::new("result_too_large", message)),
        ..result.clone()
    }
}

fn count(result: &TaskResult) {
    let lane = result.lane.as_ref().map_or_else(String::new, LaneName::to_string);
    let run_s = Duration::from_millis(result.timing_ms.run).as_secs_f64();
    let wait_s = Duration::from_millis(result.timing_ms.queued + result.timing_ms.waited).as_secs_f64();
    metrics::counter!("trilane_tasks_total", "lane" => lane.clone(), "outcome" => result.status.as_str())
        .increment(1);
    metrics::histogram!("trilane_task_run_seconds", "lane" => lane.clone()).record(run_s);
    metrics::histogram!("trilane_task_wait_seconds", "lane" => lane.clone()).record(wait_s);
    metrics::counter!("trilane_prompt_tokens_total", "lane" => lane.clone())
        .increment(result.usage.prompt_tokens);
    metrics::counter!("trilane_completion_tokens_total", "lane" => lane)
        .increment(result.usage.completion_tokens);
}
