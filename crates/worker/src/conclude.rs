//! Carries out a verdict: the durable write first, the acknowledgement after it is confirmed.
//!
//! A worker of the local zone writes results and dead letters itself. One of the cloud zone may not: it hands in how the
//! task ended, and a classifier writes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trilane_broker::lanes::hop_key;
use trilane_broker::publish::PublishError;
use trilane_broker::results::Reported;
use trilane_broker::{Broker, Delivery};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::task::Metadata;
use trilane_protocol::work::{Ending, LaneMessage, RerouteCause, Return};
use trilane_protocol::{AgentName, LaneName, TaskId, TaskResult, Zone};
use trilane_service::metrics::catalogue::{DEAD_LETTERS, RETRIES};
use trilane_service::metrics::count_finished;
use trilane_service::metrics::labels::{Code, Lane};

use crate::verdict::{self, Attempt, Verdict};

/// Longest delay between two tries to write an outcome while the server cannot be reached.
const MAX_WRITE_DELAY: Duration = Duration::from_secs(5);

/// What a conclusion needs besides the verdict.
pub(crate) struct Conclusion<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) delivery: &'a Delivery,
    pub(crate) lane: &'a LaneName,
    pub(crate) zone: Zone,
    /// Fires when the drain's grace time is over: what is not written by then is left to another worker.
    pub(crate) drained: &'a CancellationToken,
}

impl Conclusion<'_> {
    /// Carries out `verdict`. The answer is not thrown away because the server is gone for a while: writing
    /// is tried again until it succeeds or this worker has to stop. What the server will never take becomes a
    /// failure that it does take.
    pub(crate) async fn carry_out(&self, message: &LaneMessage, mut verdict: Verdict, attempt: Attempt) {
        let mut delay = Duration::from_millis(200);
        let mut is_first_look = true;
        while let Err(error) = self.write(message, &verdict).await {
            tracing::warn!(%error, "an outcome is not stored yet; trying again");
            if !error.is_retryable() {
                let error = TaskError::new("too_large", error.to_string());
                verdict = instead(message, verdict, error, attempt, std::mem::take(&mut is_first_look));
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => delay = (delay * 2).min(MAX_WRITE_DELAY),
                () = self.drained.cancelled() => return self.delivery.hand_back().await,
            }
        }
        tracing::info!(lane = %self.lane, fate = fate(&verdict), attempt = attempt.deliveries, "an attempt has ended");
        self.acknowledge(&verdict).await;
    }

    async fn write(&self, message: &LaneMessage, verdict: &Verdict) -> Result<(), PublishError> {
        match (verdict, self.zone) {
            (Verdict::Report(result), Zone::Local) => self.report(message, result).await,
            (Verdict::ReportAndBury(result), Zone::Local) => {
                let error =
                    result.error.clone().unwrap_or_else(|| TaskError::new("failed", "no reason was given"));
                self.bury(task(message), error).await?;
                self.report(message, result).await
            }
            (Verdict::Report(result), Zone::Cloud) => self.hand_in(message, result, false).await,
            (Verdict::ReportAndBury(result), Zone::Cloud) => self.hand_in(message, result, true).await,
            (Verdict::Reroute(spent, cause), _) => {
                let ending = Ending::Reroute { spent: spent.clone(), cause: cause.clone() };
                self.give_back(&message.work.agent, &hop_key(&message.work), ending).await
            }
            (Verdict::Shadowed(answer), _) => self.broker.keep_shadow_answer(answer).await,
            (Verdict::Retry(_) | Verdict::HandBack | Verdict::Over | Verdict::Dropped, _) => Ok(()),
        }
    }

    async fn acknowledge(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Report(_)
            | Verdict::Reroute(..)
            | Verdict::Over
            | Verdict::Shadowed(_)
            | Verdict::Dropped => drop(self.delivery.ack().await),
            Verdict::ReportAndBury(_) => drop(self.delivery.terminate().await),
            Verdict::Retry(delay) => {
                RETRIES.add(1, Lane::of(self.lane));
                self.delivery.retry_after(*delay).await;
            }
            Verdict::HandBack => self.delivery.hand_back().await,
        }
    }

    async fn report(&self, message: &LaneMessage, result: &TaskResult) -> Result<(), PublishError> {
        let traceparent = self.delivery.traceparent();
        match self.broker.report(result, message.work.encoding, traceparent).await? {
            Reported::Stored => count_finished(result),
            // This answer would be gone without a trace.
            Reported::AnotherTasks => {
                let text = "another task of this agent has used the id; its result stands, and this answer is dropped";
                self.bury(task(message), TaskError::new("id_reused", text)).await?;
                tracing::warn!("a task id is used twice");
            }
            Reported::AlreadyThere => {
                tracing::info!("the task has its result already");
            }
        }
        Ok(())
    }

    /// Keeps what was delivered as a dead letter.
    pub(crate) async fn bury(
        &self,
        task: Option<(&AgentName, &TaskId)>,
        error: TaskError,
    ) -> Result<(), PublishError> {
        let code = Code::of(&error.code);
        self.broker.bury(self.delivery, self.lane.as_str(), task, error).await?;
        DEAD_LETTERS.add(1, (Lane::of(self.lane), code));
        Ok(())
    }

    /// The classifier has the lane message inside; what it can take from there is not sent twice.
    async fn hand_in(
        &self,
        message: &LaneMessage,
        result: &TaskResult,
        is_dead: bool,
    ) -> Result<(), PublishError> {
        let slim = TaskResult { decision: None, earlier: None, metadata: Metadata::new(), ..result.clone() };
        let key = hop_key(&message.work);
        let ended = |result| Ending::Ended { result: Box::new(result), is_dead };
        match self.give_back(&message.work.agent, &key, ended(slim.clone())).await {
            Err(PublishError::TooLarge { bytes, most, .. }) => {
                self.give_back(&message.work.agent, &key, ended(slim.too_large(bytes, most))).await?;
            }
            other => other?,
        }
        Ok(())
    }

    /// Gives the lane message back as it came, and says what became of it.
    pub(crate) async fn give_back(
        &self,
        agent: &AgentName,
        key: &str,
        ending: Ending,
    ) -> Result<(), PublishError> {
        let returned = Return {
            message: self.delivery.payload().to_vec(),
            seal: self.delivery.seal().unwrap_or_default().to_owned(),
            lane: self.lane.clone(),
            deliveries: u32::try_from(self.delivery.deliveries).unwrap_or(u32::MAX),
            ending,
        };
        self.broker.hand_in(self.zone, agent, key, &returned, self.delivery.traceparent()).await.map(drop)
    }
}

/// What takes the place of an outcome that the server will never take: an answer that was to be improved stands, and so
/// does the one before a failure, unless that is what was too large.
fn instead(
    message: &LaneMessage,
    verdict: Verdict,
    error: TaskError,
    attempt: Attempt,
    is_first_look: bool,
) -> Verdict {
    match verdict {
        Verdict::Reroute(_, RerouteCause::Improve { result, .. }) if message.work.is_last_step() => {
            Verdict::Report(result)
        }
        _ if is_first_look => verdict::refused(message, error, attempt),
        _ => {
            let mut bare = message.clone();
            bare.work.earlier = message.work.told_earlier();
            verdict::refused(&bare, error, attempt)
        }
    }
}

/// What becomes of the task, one word.
fn fate(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Report(result) | Verdict::ReportAndBury(result) => result.status.as_str(),
        Verdict::Reroute(..) => "rerouted",
        Verdict::Retry(_) => "retried",
        Verdict::HandBack => "handed_back",
        Verdict::Over => "cancelled",
        Verdict::Shadowed(_) => "shadowed",
        Verdict::Dropped => "dropped",
    }
}

fn task(message: &LaneMessage) -> Option<(&AgentName, &TaskId)> {
    Some((&message.work.agent, &message.work.task_id))
}
