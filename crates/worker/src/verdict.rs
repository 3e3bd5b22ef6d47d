//! What becomes of a task after an attempt. A pure function: everything it rests on is an argument.

use std::time::Duration;

use jiff::Timestamp;
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::work::{LaneMessage, MAX_HOPS, RerouteCause, Spent};
use trilane_protocol::{Status, TaskResult, Usage, Zone};

use crate::runner::{Completion, RunError, RunErrorKind};

/// The error code of a prompt that does not fit the model's window: a stronger lane may have a larger one.
pub const PROMPT_TOO_LONG: &str = "prompt_too_long";

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// With an answer.
    Completed(Completion),
    /// Without one.
    Failed(RunError),
    /// The task's deadline passed, before or while it ran.
    DeadlinePassed(Spent),
    /// The worker stops and the grace time is over.
    Drained,
    /// Its producer has cancelled it; it has its result already.
    Cancelled,
}

/// What becomes of the task.
#[derive(Debug)]
pub enum Verdict {
    /// It has its result.
    Report(Box<TaskResult>),
    /// It has its result, and the operator a dead letter.
    ReportAndBury(Box<TaskResult>),
    /// The classifier is to put it on a lane again.
    Reroute(Spent, RerouteCause),
    /// Another attempt, not before this delay is over.
    Retry(Duration),
    /// Another worker, at once.
    HandBack,
    /// Nothing: it has its result.
    Over,
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Which delivery this is, from 1.
    pub deliveries: u32,
    /// Deliveries that the lane allows.
    pub max_attempts: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Delay before the next one, if there is to be one.
    pub retry_delay: Duration,
}

/// Decides what becomes of the task.
pub fn verdict(message: &LaneMessage, outcome: Outcome, attempt: Attempt) -> Verdict {
    match outcome {
        Outcome::Drained => Verdict::HandBack,
        Outcome::Cancelled => Verdict::Over,
        Outcome::DeadlinePassed(used) => {
            let error = TaskError::new("deadline_passed", "the deadline passed before there was an answer");
            Verdict::Report(Box::new(without_answer(message, attempt, Status::Expired, error, &used)))
        }
        Outcome::Completed(completion) => completed(message, completion, attempt),
        Outcome::Failed(error) => failed(message, &error, attempt),
    }
}

fn completed(message: &LaneMessage, completion: Completion, attempt: Attempt) -> Verdict {
    let spent = spent(message, attempt, completion.usage, completion.cost_usd);
    match &message.work.step {
        Some(step) if !step.is_last() => {
            Verdict::Reroute(spent, RerouteCause::StepDone { text: completion.text })
        }
        Some(_) | None => Verdict::Report(Box::new(TaskResult {
            status: Status::Done,
            text: Some(completion.text),
            finish: Some(completion.finish),
            error: None,
            timing_ms: Timing {
                first_token: completion.first_token.map(|length| length.as_millis() as u64),
                ..timing(message, attempt)
            },
            ..base(message, attempt, &spent)
        })),
    }
}

fn failed(message: &LaneMessage, error: &RunError, attempt: Attempt) -> Verdict {
    let spent = spent(message, attempt, error.usage, error.cost_usd);
    let reason = || error.message.clone();
    let may_move = message.work.hop < MAX_HOPS;
    match error.kind {
        RunErrorKind::LaneUnable if may_move && message.decision.zone == Zone::Cloud => {
            Verdict::Reroute(spent, RerouteCause::Degrade { reason: reason() })
        }
        RunErrorKind::Permanent
            if may_move && error.code == PROMPT_TOO_LONG && message.work.model.is_none() =>
        {
            Verdict::Reroute(spent, RerouteCause::Escalate { reason: reason() })
        }
        RunErrorKind::Transient | RunErrorKind::LaneUnable | RunErrorKind::Cancelled
            if attempt.deliveries < attempt.max_attempts =>
        {
            Verdict::Retry(attempt.retry_delay)
        }
        _ => {
            let task_error = TaskError::new(error.code, reason());
            let result = without_answer(message, attempt, Status::Failed, task_error, &spent);
            Verdict::ReportAndBury(Box::new(result))
        }
    }
}

/// A result for a task that may not be run at all.
pub fn refused(message: &LaneMessage, error: TaskError, attempt: Attempt) -> Verdict {
    let spent = spent(message, attempt, Usage::default(), 0.0);
    Verdict::ReportAndBury(Box::new(without_answer(message, attempt, Status::Failed, error, &spent)))
}

/// What the task has used with this attempt. Each delivery is an attempt.
pub(crate) fn spent(message: &LaneMessage, attempt: Attempt, usage: Usage, cost_usd: f64) -> Spent {
    message.work.spent.plus(attempt.deliveries, usage, cost_usd)
}

fn without_answer(
    message: &LaneMessage,
    attempt: Attempt,
    status: Status,
    error: TaskError,
    spent: &Spent,
) -> TaskResult {
    TaskResult { status, error: Some(error), ..base(message, attempt, spent) }
}

fn base(message: &LaneMessage, attempt: Attempt, spent: &Spent) -> TaskResult {
    let LaneMessage { work, decision } = message;
    TaskResult {
        task_id: work.task_id.clone(),
        agent: work.agent.clone(),
        task_seq: Some(work.task_seq),
        status: Status::Failed,
        text: None,
        finish: None,
        error: None,
        signs: None,
        earlier: work.earlier.clone(),
        lane: Some(decision.lane.clone()),
        model: Some(decision.model.clone()),
        usage: spent.usage,
        cost_usd: spent.cost_usd,
        timing_ms: timing(message, attempt),
        attempts: spent.attempts,
        decision: Some(decision.clone()),
        metadata: work.metadata.clone(),
        finished_at: attempt.ended_at,
    }
}

fn timing(message: &LaneMessage, attempt: Attempt) -> Timing {
    Timing {
        queued: milliseconds(message.work.published_at, message.decision.decided_at),
        waited: milliseconds(message.decision.decided_at, attempt.started_at),
        first_token: None,
        run: milliseconds(attempt.started_at, attempt.ended_at),
    }
}

/// Clocks of different hosts may disagree; a negative span counts as none.
fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trilane_protocol::Encoding;
    use trilane_protocol::outcome::Finish;

    use super::*;

    fn message(zone: &str, model: Option<&str>) -> LaneMessage {
        let lane = if zone == "cloud" { "cloud" } else { "local-fast" };
        let json = serde_json::json!({
            "work": {
                "task_id": "t", "agent": "a", "task_seq": 9, "hop": 2, "encoding": "json",
                "published_at": "1970-01-01T00:00:00Z", "messages": [], "generation": {},
                "sensitivity": "public", "tags": [], "priority": "normal", "stream": false, "model": model,
                "spent": {"attempts": 1, "cost_usd": 0.5,
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 0}},
            },
            "decision": {
                "lane": lane, "zone": zone, "model": "m", "reason": "good_enough", "explanation": "",
                "screen": {"sensitivity": "public", "findings": []},
                "score": {"complexity": 0.1, "source": "producer", "contributions": [], "prompt_tokens": 1},
                "threshold": 0.5, "candidates": [], "adjustments": [], "propensity": 1.0,
                "policy_version": "v", "decided_at": "1970-01-01T00:00:01Z",
            },
        });
        Encoding::Json.decode(json.to_string().as_bytes()).unwrap()
    }

    fn attempt(deliveries: u32) -> Attempt {
        Attempt {
            deliveries,
            max_attempts: 3,
            started_at: Timestamp::from_second(3).unwrap(),
            ended_at: Timestamp::from_second(7).unwrap(),
            retry_delay: Duration::from_millis(5),
        }
    }

    fn failure(kind: RunErrorKind, code: &'static str) -> Outcome {
        let used = Usage { prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0 };
        Outcome::Failed(RunError::new(kind, code, "m").with_spent(used, 0.25))
    }

    /// What a failure leads to, as one word.
    fn fate(
        zone: &str,
        model: Option<&str>,
        kind: RunErrorKind,
        code: &'static str,
        deliveries: u32,
    ) -> &'static str {
        match verdict(&message(zone, model), failure(kind, code), attempt(deliveries)) {
            Verdict::Report(_) => "report",
            Verdict::ReportAndBury(_) => "bury",
            Verdict::Retry(_) => "retry",
            Verdict::HandBack => "hand back",
            Verdict::Over => "over",
            Verdict::Reroute(_, cause) => match cause {
                RerouteCause::Degrade { .. } => "degrade",
                RerouteCause::Escalate { .. } => "escalate",
                RerouteCause::Improve { .. } => "improve",
                RerouteCause::StepDone { .. } => "next step",
            },
        }
    }

    #[test]
    fn each_kind_of_failure_has_one_fate() {
        use RunErrorKind::{Cancelled, LaneUnable, Permanent, Transient};
        let table = [
            (fate("local", None, Transient, "x", 1), "retry"),
            (fate("local", None, Transient, "x", 2), "retry"),
            (fate("local", None, Transient, "x", 3), "bury"),
            (fate("local", None, Permanent, "x", 1), "bury"),
            (fate("local", None, Permanent, PROMPT_TOO_LONG, 1), "escalate"),
            (fate("local", Some("m"), Permanent, PROMPT_TOO_LONG, 1), "bury"),
            (fate("cloud", None, LaneUnable, "x", 1), "degrade"),
            (fate("cloud", None, LaneUnable, "x", 99), "degrade"),
            (fate("local", None, LaneUnable, "x", 1), "retry"),
            (fate("local", None, Cancelled, "x", 1), "retry"),
        ];
        for (row, (found, expected)) in table.into_iter().enumerate() {
            assert_eq!(found, expected, "row {row}");
        }
    }

    #[test]
    fn a_task_that_goes_round_in_circles_ends() {
        let mut message = message("cloud", None);
        message.work.hop = MAX_HOPS;
        let ended = verdict(&message, failure(RunErrorKind::LaneUnable, "x"), attempt(3));
        assert!(matches!(ended, Verdict::ReportAndBury(_)));
    }

    #[test]
    fn a_result_adds_up_what_all_hops_have_used() {
        let completion = Completion {
            text: "answer".into(),
            finish: Finish::Stop,
            usage: Usage { prompt_tokens: 3, completion_tokens: 4, cached_tokens: 2 },
            cost_usd: 0.25,
            first_token: Some(Duration::from_millis(9)),
        };
        let Verdict::Report(result) =
            verdict(&message("cloud", None), Outcome::Completed(completion), attempt(2))
        else {
            panic!("an answer is reported");
        };
        assert_eq!((result.status, result.attempts), (Status::Done, 3));
        assert!((result.cost_usd - 0.75).abs() < 1e-12);
        assert_eq!(result.usage, Usage { prompt_tokens: 13, completion_tokens: 9, cached_tokens: 2 });
        let expected = Timing { queued: 1000, waited: 2000, first_token: Some(9), run: 4000 };
        assert_eq!(result.timing_ms, expected);
    }

    #[test]
    fn a_drained_task_is_handed_back_and_a_late_one_expires() {
        assert!(matches!(verdict(&message("local", None), Outcome::Drained, attempt(1)), Verdict::HandBack));
        let late = verdict(&message("local", None), Outcome::DeadlinePassed(Spent::default()), attempt(1));
        let Verdict::Report(result) = late else { panic!("a late task gets its result") };
        assert_eq!(result.status, Status::Expired);
        assert_eq!(result.error.unwrap().code, "deadline_passed");
    }
}
