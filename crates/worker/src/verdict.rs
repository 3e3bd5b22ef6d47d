//! What becomes of a task after an attempt. A pure function: everything it rests on is an argument.

use std::time::Duration;

use jiff::Timestamp;
use trilane_protocol::learning::{ShadowAnswer, Signs};
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::work::{LaneMessage, MAX_HOPS, RerouteCause, Spent};
use trilane_protocol::{Status, TaskResult, Usage, Zone};
use trilane_routing::policy::ImprovePolicy;

use crate::runner::{Completion, RunError, RunErrorKind};

/// The error code of a prompt that does not fit the model's window: a stronger lane may have a larger one.
pub const PROMPT_TOO_LONG: &str = "prompt_too_long";

/// Least time that a stronger lane must have until the deadline, seconds.
const MIN_TIME_TO_IMPROVE_S: i64 = 5;

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// With an answer, and what was seen of it.
    Completed(Completion, Box<Signs>),
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
    /// It was a shadow, and this is what it has answered.
    Shadowed(Box<ShadowAnswer>),
    /// It was a shadow, and there is nothing to tell.
    Dropped,
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
pub fn verdict(
    message: &LaneMessage,
    outcome: Outcome,
    attempt: Attempt,
    improve: &ImprovePolicy,
) -> Verdict {
    if message.work.shadow {
        return of_shadow(message, outcome, attempt);
    }
    match outcome {
        Outcome::Drained => Verdict::HandBack,
        Outcome::Cancelled => Verdict::Over,
        Outcome::DeadlinePassed(used) => {
            let error = TaskError::new("deadline_passed", "the deadline passed before there was an answer");
            last_word(message, without_answer(message, attempt, Status::Expired, error, &used))
        }
        Outcome::Completed(completion, signs) => completed(message, completion, *signs, attempt, improve),
        Outcome::Failed(error) => failed(message, &error, attempt),
    }
}

fn completed(
    message: &LaneMessage,
    completion: Completion,
    signs: Signs,
    attempt: Attempt,
    improve: &ImprovePolicy,
) -> Verdict {
    let spent = spent(message, attempt, completion.usage, completion.cost_usd);
    let flaw = improve.flaw(&signs).filter(|_| may_improve(message, attempt));
    let reason = flaw.map(|flaw| flaw.tell(&signs));
    let result = Box::new(TaskResult {
        status: Status::Done,
        text: Some(completion.text),
        finish: Some(completion.finish),
        error: None,
        signs: Some(signs),
        timing_ms: Timing {
            first_token: completion.first_token.map(|length| length.as_millis() as u64),
            ..timing(message, attempt)
        },
        ..base(message, attempt, &spent)
    });
    match (reason, &message.work.step) {
        (Some(reason), _) => Verdict::Reroute(spent, RerouteCause::Improve { result, reason }),
        (None, Some(step)) if !step.is_last() => {
            Verdict::Reroute(spent, RerouteCause::StepDone { text: result.text.unwrap_or_default() })
        }
        (None, _) => Verdict::Report(result),
    }
}

/// Whether a stronger lane may be asked at all: once, of what is free to move, and in time.
fn may_improve(message: &LaneMessage, attempt: Attempt) -> bool {
    let LaneMessage { work, decision } = message;
    let is_first = work.earlier.is_none() && work.hop < MAX_HOPS;
    let is_free = decision.zone == Zone::Local && work.model.is_none();
    // A stronger lane will not be faster.
    let took_s = attempt.ended_at.duration_since(attempt.started_at).as_secs();
    let needed_s = took_s.saturating_mul(2).max(MIN_TIME_TO_IMPROVE_S);
    let left_s = work.deadline.map(|deadline| deadline.duration_since(attempt.ended_at).as_secs());
    is_first && is_free && left_s.is_none_or(|left_s| left_s >= needed_s)
}

/// A shadow has no result, whatever becomes of it, and nobody waits for it.
fn of_shadow(message: &LaneMessage, outcome: Outcome, attempt: Attempt) -> Verdict {
    let LaneMessage { work, decision } = message;
    match outcome {
        Outcome::Completed(completion, signs) => Verdict::Shadowed(Box::new(ShadowAnswer {
            task_id: work.task_id.clone(),
            agent: work.agent.clone(),
            task_seq: work.task_seq,
            lane: decision.lane.clone(),
            model: decision.model.clone(),
            text: completion.text,
            finish: completion.finish,
            usage: completion.usage,
            signs: *signs,
            finished_at: attempt.ended_at,
        })),
        Outcome::Drained => Verdict::HandBack,
        Outcome::Failed(error) if error.is_retryable() && attempt.deliveries < attempt.max_attempts => {
            Verdict::Retry(attempt.retry_delay)
        }
        Outcome::Failed(_) | Outcome::DeadlinePassed(_) | Outcome::Cancelled => Verdict::Dropped,
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
            last_word(message, without_answer(message, attempt, Status::Failed, task_error, &spent))
        }
    }
}

/// A result for a task that may not be run at all.
pub fn refused(message: &LaneMessage, error: TaskError, attempt: Attempt) -> Verdict {
    if message.work.shadow {
        return Verdict::Dropped;
    }
    let spent = spent(message, attempt, Usage::default(), 0.0);
    last_word(message, without_answer(message, attempt, Status::Failed, error, &spent))
}

/// The end without an answer, or what stands in its place. What the cloud zone hands in is for a classifier to judge.
fn last_word(message: &LaneMessage, result: TaskResult) -> Verdict {
    let LaneMessage { work, decision } = message;
    let spent = Spent { attempts: result.attempts, usage: result.usage, cost_usd: result.cost_usd };
    let result = match decision.zone {
        Zone::Local => Box::new(result.or_earlier(work)),
        Zone::Cloud => Box::new(result),
    };
    match result.status {
        Status::Done if !work.is_last_step() => {
            Verdict::Reroute(spent, RerouteCause::StepDone { text: result.text.unwrap_or_default() })
        }
        Status::Failed => Verdict::ReportAndBury(result),
        _ => Verdict::Report(result),
    }
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
        earlier: work.told_earlier(),
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
    use trilane_protocol::learning::EarlierAnswer;
    use trilane_protocol::outcome::Finish;
    use trilane_protocol::validator::ValidatorKind;
    use trilane_protocol::work::StepRef;

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
        word(&verdict(&message(zone, model), failure(kind, code), attempt(deliveries), &improve()))
    }

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Report(_) => "report",
            Verdict::ReportAndBury(_) => "bury",
            Verdict::Retry(_) => "retry",
            Verdict::HandBack => "hand back",
            Verdict::Over => "over",
            Verdict::Shadowed(_) => "shadowed",
            Verdict::Dropped => "dropped",
            Verdict::Reroute(_, cause) => match cause {
                RerouteCause::Degrade { .. } => "degrade",
                RerouteCause::Escalate { .. } => "escalate",
                RerouteCause::Improve { .. } => "improve",
                RerouteCause::StepDone { .. } => "next step",
            },
        }
    }

    fn improve() -> ImprovePolicy {
        let (max_repetition, min_mean_logprob) = (0.6, -2.5);
        ImprovePolicy { enabled: true, refused: true, truncated: false, max_repetition, min_mean_logprob }
    }

    fn completion() -> Completion {
        Completion {
            text: "answer".into(),
            finish: Finish::Stop,
            usage: Usage { prompt_tokens: 3, completion_tokens: 4, cached_tokens: 2 },
            cost_usd: 0.25,
            first_token: Some(Duration::from_millis(9)),
            mean_logprob: None,
            refused: false,
        }
    }

    /// What an answer that shows these signs leads to.
    fn fate_of_answer(message: &LaneMessage, signs: Signs) -> &'static str {
        word(&verdict(message, Outcome::Completed(completion(), signs.into()), attempt(1), &improve()))
    }

    fn failed_one() -> Signs {
        Signs { failed: vec![ValidatorKind::Regex], ..Signs::default() }
    }

    #[test]
    fn a_first_answer_of_a_local_lane_that_is_not_good_enough_goes_up() {
        let of = |change: fn(&mut LaneMessage), signs: Signs| {
            let mut message = message("local", None);
            change(&mut message);
            fate_of_answer(&message, signs)
        };
        let step = |message: &mut LaneMessage, index| {
            message.work.step = Some(StepRef { index, count: 2, name: "s".parse().unwrap() });
        };
        let table = [
            (of(|_| {}, Signs::default()), "report"),
            (of(|_| {}, failed_one()), "improve"),
            (of(|_| {}, Signs { refused: true, ..Signs::default() }), "improve"),
            (of(|_| {}, Signs { repetition: 0.9, ..Signs::default() }), "improve"),
            (of(|_| {}, Signs { mean_logprob: Some(-3.0), ..Signs::default() }), "improve"),
            (of(|_| {}, Signs { truncated: true, ..Signs::default() }), "report"),
            (of(|message| message.work.model = Some("m".parse().unwrap()), failed_one()), "report"),
            (of(|message| message.work.hop = MAX_HOPS, failed_one()), "report"),
            (of(|message| message.work.earlier = Some(Box::new(earlier())), failed_one()), "report"),
            (
                of(|message| message.work.deadline = Some(Timestamp::from_second(14).unwrap()), failed_one()),
                "report",
            ),
            (
                of(|message| message.work.deadline = Some(Timestamp::from_second(15).unwrap()), failed_one()),
                "improve",
            ),
            (of(|message| message.decision.zone = Zone::Cloud, failed_one()), "report"),
        ];
        for (row, (found, expected)) in table.into_iter().enumerate() {
            assert_eq!(found, expected, "row {row}");
        }
        for (index, signs, expected) in [
            (0, Signs::default(), "next step"),
            (0, failed_one(), "improve"),
            (1, Signs::default(), "report"),
            (1, failed_one(), "improve"),
        ] {
            let mut message = message("local", None);
            step(&mut message, index);
            assert_eq!(fate_of_answer(&message, signs), expected, "step {index}");
        }
    }

    #[test]
    fn what_is_handed_back_to_be_improved_holds_the_answer_as_it_would_stand() {
        let outcome = Outcome::Completed(completion(), failed_one().into());
        let Verdict::Reroute(spent, RerouteCause::Improve { result, reason }) =
            verdict(&message("local", None), outcome, attempt(1), &improve())
        else {
            panic!("it goes up");
        };
        assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("answer")));
        assert_eq!((spent.usage, spent.attempts), (result.usage, result.attempts));
        assert!(
            (spent.cost_usd - 0.75).abs() < 1e-12 && result.cost_usd.to_bits() == spent.cost_usd.to_bits()
        );
        assert!(reason.contains("1 of the 1 validators") && !reason.contains("answer\""), "{reason}");
        assert_eq!(result.signs, Some(failed_one()));
    }

    #[test]
    fn a_shadow_has_no_result_whatever_becomes_of_it() {
        let mut shadow = message("local", None);
        shadow.work.shadow = true;
        assert_eq!(fate_of_answer(&shadow, failed_one()), "shadowed");
        let fate = |outcome, deliveries| word(&verdict(&shadow, outcome, attempt(deliveries), &improve()));
        assert_eq!(fate(failure(RunErrorKind::Transient, "x"), 1), "retry");
        assert_eq!(fate(failure(RunErrorKind::Transient, "x"), 3), "dropped");
        assert_eq!(fate(failure(RunErrorKind::Permanent, PROMPT_TOO_LONG), 1), "dropped");
        assert_eq!(fate(Outcome::DeadlinePassed(Spent::default()), 1), "dropped");
        assert_eq!(fate(Outcome::Cancelled, 1), "dropped");
        assert_eq!(fate(Outcome::Drained, 1), "hand back");
        assert_eq!(word(&refused(&shadow, TaskError::new("x", "y"), attempt(1))), "dropped");
    }

    fn earlier() -> EarlierAnswer {
        EarlierAnswer {
            lane: "local-fast".parse().unwrap(),
            model: "m".parse().unwrap(),
            usage: Usage::default(),
            cost_usd: 0.0,
            signs: Signs::default(),
            reason: String::new(),
            propensity: 1.0,
            policy_version: String::new(),
            text: None,
            finish: None,
        }
    }

    #[test]
    fn an_earlier_answer_stands_where_a_local_lane_has_none() {
        let of = |zone: &str, step: Option<u16>, text: Option<&str>, outcome: Outcome| {
            let mut message = message(zone, None);
            let text = text.map(str::to_owned);
            message.work.earlier =
                Some(Box::new(EarlierAnswer { text, finish: Some(Finish::Stop), ..earlier() }));
            message.work.step = step.map(|index| StepRef { index, count: 2, name: "s".parse().unwrap() });
            verdict(&message, outcome, attempt(3), &improve())
        };
        let broken = || failure(RunErrorKind::Permanent, "x");
        let late = || Outcome::DeadlinePassed(Spent::default());
        let status = |verdict: Verdict| match verdict {
            Verdict::Report(result) => result.status.as_str(),
            other => word(&other),
        };
        let table = [
            (of("local", None, Some("first"), broken()), "done"),
            (of("local", None, Some("first"), late()), "done"),
            (of("local", Some(1), Some("first"), broken()), "done"),
            (of("local", Some(0), Some("first"), broken()), "next step"),
            (of("local", Some(0), Some("first"), late()), "expired"),
            (of("local", None, Some("first"), Outcome::Cancelled), "over"),
            (of("local", None, None, broken()), "bury"),
            (of("cloud", None, Some("first"), broken()), "bury"),
            (of("cloud", None, Some("first"), late()), "expired"),
        ];
        for (row, (found, expected)) in table.into_iter().enumerate() {
            assert_eq!(status(found), expected, "row {row}");
        }
        let Verdict::Report(result) = of("local", None, Some("first"), broken()) else { panic!("it stands") };
        assert_eq!((result.text.as_deref(), result.finish), (Some("first"), Some(Finish::Stop)));
        assert!(result.error.is_none() && result.earlier.is_none(), "{result:?}");
        assert!((result.cost_usd - 0.75).abs() < 1e-12, "both attempts are paid for");
        let answered = of("local", None, Some("first"), Outcome::Completed(completion(), Box::default()));
        let Verdict::Report(result) = answered else { panic!("it is answered") };
        assert_eq!(
            result.earlier.unwrap().text,
            None,
            "no result repeats an answer that was not good enough"
        );
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
        let ended = verdict(&message, failure(RunErrorKind::LaneUnable, "x"), attempt(3), &improve());
        assert!(matches!(ended, Verdict::ReportAndBury(_)));
    }

    #[test]
    fn a_result_adds_up_what_all_hops_have_used() {
        let outcome = Outcome::Completed(completion(), Box::default());
        let Verdict::Report(result) = verdict(&message("cloud", None), outcome, attempt(2), &improve())
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
        let fate = |outcome| verdict(&message("local", None), outcome, attempt(1), &improve());
        assert!(matches!(fate(Outcome::Drained), Verdict::HandBack));
        let late = fate(Outcome::DeadlinePassed(Spent::default()));
        let Verdict::Report(result) = late else { panic!("a late task gets its result") };
        assert_eq!(result.status, Status::Expired);
        assert_eq!(result.error.unwrap().code, "deadline_passed");
    }
}
