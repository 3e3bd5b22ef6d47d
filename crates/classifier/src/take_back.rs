//! What workers hand back. Everything is taken from the lane message inside, and only where its seal is ours: a worker
//! can say how its task ended, and nothing about any other.

use jiff::Timestamp;
use trilane_broker::Delivery;
use trilane_broker::dead::Dying;
use trilane_broker::publish::PublishError;
use trilane_broker::results::Reported;
use trilane_protocol::alert::Alert;
use trilane_protocol::learning::EarlierAnswer;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::work::{LaneMessage, Return};
use trilane_protocol::{AgentName, Encoding, LaneName, Status, TaskResult, Usage, Work, subjects};
use trilane_service::metrics::catalogue::DEAD_LETTERS;
use trilane_service::metrics::count_finished;
use trilane_service::metrics::labels::{Code, Lane};
use trilane_trust::Seal;

use crate::shared::Shared;

/// A message that was not handed back by anybody who had it from a lane.
pub(crate) struct Forged {
    pub(crate) lane: Option<LaneName>,
    pub(crate) payload: Vec<u8>,
    pub(crate) error: TaskError,
}

impl Shared {
    /// Reads what a worker has handed back.
    pub(crate) fn read_return(
        &self,
        delivery: &Delivery,
        agent: &AgentName,
        now: Timestamp,
    ) -> Result<(Return, LaneMessage), Forged> {
        let returned: Return = Encoding::Msgpack.decode(delivery.payload()).map_err(|error| Forged {
            lane: None,
            payload: delivery.payload().to_vec(),
            error: TaskError::new("malformed_return", error.to_string()),
        })?;
        let seal = Seal::read(&returned.seal);
        let verified = self.trusted.verify(seal.as_ref(), &returned.lane, &returned.message, now);
        let read = verified.map_err(|error| TaskError::new(error.code(), error.to_string())).and_then(|()| {
            let message: LaneMessage = Encoding::Msgpack
                .decode(&returned.message)
                .map_err(|error| TaskError::new("malformed_lane_message", error.to_string()))?;
            let is_its_own = message.decision.lane == returned.lane && message.work.agent == *agent;
            is_its_own.then_some(message).ok_or_else(|| {
                TaskError::new(
                    "forged_return",
                    "the subject or the lane is not that of the lane message inside",
                )
            })
        });
        match read {
            Ok(message) => Ok((returned, message)),
            Err(error) => Err(Forged { lane: Some(returned.lane), payload: returned.message, error }),
        }
    }

    /// Keeps what was forged for the operator, and tells whoever listens.
    pub(crate) async fn refuse_forged(
        &self,
        delivery: &Delivery,
        forged: Forged,
    ) -> Result<(), PublishError> {
        let Forged { lane, payload, error } = forged;
        let place = lane.as_ref().map_or(subjects::INTAKE, LaneName::as_str);
        tracing::error!(place, code = error.code, "something was handed back that was never on a lane");
        self.broker.alert(&Alert::new(&error.code, place, error.message.clone(), Timestamp::now())).await;
        let code = Code::of(&error.code);
        self.broker
            .keep_letter(Dying {
                content: delivery,
                payload: &payload,
                deliveries: delivery.deliveries,
                place,
                task: None,
                error,
            })
            .await?;
        DEAD_LETTERS.add(1, (Lane::place(place), code));
        Ok(())
    }

    /// Ends a task of a worker that writes no results itself.
    pub(crate) async fn end(
        &self,
        delivery: &Delivery,
        returned: &Return,
        message: LaneMessage,
        result: TaskResult,
        is_dead: bool,
    ) -> Result<(), PublishError> {
        let (agent, task_id) = (message.work.agent.clone(), message.work.task_id.clone());
        let (lane, encoding) = (message.decision.lane.clone(), message.work.encoding);
        let bury = async |error: TaskError| {
            let task = Some((&agent, &task_id));
            let dying = Dying {
                content: delivery,
                payload: &returned.message,
                deliveries: delivery.deliveries,
                place: lane.as_str(),
                task,
                error,
            };
            let code = Code::of(&dying.error.code);
            self.broker.keep_letter(dying).await?;
            DEAD_LETTERS.add(1, (Lane::of(&lane), code));
            Ok(())
        };
        let result = bound(result, message);
        if is_dead {
            let error = result.error.clone();
            bury(error.unwrap_or_else(|| TaskError::new("failed", "no reason was given"))).await?;
        }
        let reported = self.broker.report(&result, encoding, delivery.traceparent()).await?;
        tracing::info!(%lane, outcome = result.status.as_str(), attempts = result.attempts, "a task has ended in the cloud zone");
        match reported {
            Reported::Stored => count_finished(&result),
            Reported::AnotherTasks => bury(id_reused()).await?,
            Reported::AlreadyThere => {}
        }
        Ok(())
    }
}

/// The result of a task that its worker would not run although its seal holds.
pub(crate) fn refused(work: &Work, error: TaskError) -> TaskResult {
    let (agent, task_id, task_seq) = (work.agent.clone(), work.task_id.clone(), Some(work.task_seq));
    TaskResult {
        usage: work.spent.usage,
        cost_usd: work.spent.cost_usd,
        attempts: work.spent.attempts,
        earlier: work.told_earlier(),
        ..TaskResult::without_answer(agent, task_id, task_seq, Status::Failed, error, Timestamp::now())
    }
}

/// The result with everything that is not the worker's to say taken from the lane message.
pub(crate) fn bound(result: TaskResult, message: LaneMessage) -> TaskResult {
    let LaneMessage { work, decision } = message;
    let earlier = work.told_earlier();
    TaskResult {
        cost_usd: booked_usd(&result, work.spent.cost_usd),
        // A share that is no number could not be written as JSON and read again.
        signs: result.signs.clone().filter(|signs| signs.repetition.is_finite()),
        task_id: work.task_id,
        agent: work.agent,
        task_seq: Some(work.task_seq),
        lane: Some(decision.lane.clone()),
        model: Some(decision.model.clone()),
        decision: Some(decision),
        metadata: work.metadata,
        earlier,
        ..result
    }
}

/// What a task has cost by its worker's word; where that is no sum of money, what its hops before are known to have cost:
/// the result must be written all the same, in numbers that can be read again.
fn booked_usd(result: &TaskResult, before_usd: f64) -> f64 {
    if result.cost_usd.is_finite() && result.cost_usd >= 0.0 {
        return result.cost_usd;
    }
    tracing::warn!(task = %result.task_id, "a worker hands in a cost that is no sum of money; it is not booked");
    before_usd
}

/// What is kept of an answer that was not good enough. What it has used is what was used beyond the hops before it.
pub(crate) fn earlier_answer(message: &LaneMessage, result: &TaskResult, reason: String) -> EarlierAnswer {
    let LaneMessage { work, decision } = message;
    let (all, before) = (result.usage, work.spent.usage);
    EarlierAnswer {
        lane: decision.lane.clone(),
        model: decision.model.clone(),
        usage: Usage {
            prompt_tokens: all.prompt_tokens.saturating_sub(before.prompt_tokens),
            completion_tokens: all.completion_tokens.saturating_sub(before.completion_tokens),
            cached_tokens: all.cached_tokens.saturating_sub(before.cached_tokens),
        },
        cost_usd: (booked_usd(result, work.spent.cost_usd) - work.spent.cost_usd).max(0.0),
        signs: result.signs.clone().unwrap_or_default(),
        reason,
        propensity: decision.propensity,
        policy_version: decision.policy_version.clone(),
        text: result.text.clone(),
        finish: result.finish,
    }
}

fn id_reused() -> TaskError {
    let text = "another task of this agent has used the id; its result stands, and this answer is dropped";
    TaskError::new("id_reused", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(cost_usd: f64) -> TaskResult {
        let error = TaskError::new("failed", "no reason");
        let (agent, task_id) = ("sample".parse().unwrap(), "t".parse().unwrap());
        let failed =
            TaskResult::without_answer(agent, task_id, None, Status::Failed, error, Timestamp::UNIX_EPOCH);
        TaskResult { cost_usd, ..failed }
    }

    #[test]
    fn a_cost_that_is_no_sum_of_money_is_not_booked() {
        for (said, booked) in [(0.5, 0.5), (0.0, 0.0), (f64::NAN, 0.25), (f64::INFINITY, 0.25), (-1.0, 0.25)]
        {
            assert_eq!(booked_usd(&result(said), 0.25), booked, "{said}");
        }
    }
}
