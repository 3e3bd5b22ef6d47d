//! What an attempt has used and how fast it was, for the metrics.

use std::time::Duration;

use trilane_protocol::Usage;
use trilane_protocol::work::{LaneMessage, RerouteCause};
use trilane_service::metrics::catalogue::{
    ANSWER_SPEED, CACHED_TOKENS, COMPLETION_TOKENS, FIRST_TOKEN, NOT_GOOD_ENOUGH, PROMPT_TOKENS, SHADOWS,
};
use trilane_service::metrics::labels::{Lane, Model, Shadow};

use crate::runner::Completion;
use crate::verdict::{Outcome, Verdict};

/// Counts one attempt, which has taken `run`.
pub(crate) fn count_attempt(message: &LaneMessage, outcome: &Outcome, run: Duration) {
    let labels = || (Lane::of(&message.decision.lane), Model::of(&message.decision.model));
    let usage = used(message, outcome);
    PROMPT_TOKENS.add(usage.prompt_tokens, labels());
    CACHED_TOKENS.add(usage.cached_tokens, labels());
    COMPLETION_TOKENS.add(usage.completion_tokens, labels());
    let Outcome::Completed(completion, _) = outcome else { return };
    if let Some(first) = completion.first_token {
        FIRST_TOKEN.record(first.as_secs_f64(), labels());
    }
    if let Some(speed) = speed(completion, run) {
        ANSWER_SPEED.record(speed, labels());
    }
}

/// Counts what becomes of an answer that has a flaw, and of a shadow.
pub(crate) fn count_verdict(message: &LaneMessage, verdict: &Verdict) {
    let lane = || Lane::of(&message.decision.lane);
    let fate = match verdict {
        Verdict::Reroute(_, RerouteCause::Improve { .. }) => return NOT_GOOD_ENOUGH.add(1, lane()),
        Verdict::Shadowed(_) => Shadow::Answered,
        Verdict::Dropped => Shadow::Failed,
        Verdict::HandBack if message.work.shadow => Shadow::Stopped,
        _ => return,
    };
    SHADOWS.add(1, (lane(), fate));
}

/// Tokens of this attempt alone.
fn used(message: &LaneMessage, outcome: &Outcome) -> Usage {
    match outcome {
        Outcome::Completed(completion, _) => completion.usage,
        Outcome::Failed(error) => error.usage,
        Outcome::DeadlinePassed(spent) => {
            let (all, before) = (spent.usage, message.work.spent.usage);
            Usage {
                prompt_tokens: all.prompt_tokens.saturating_sub(before.prompt_tokens),
                completion_tokens: all.completion_tokens.saturating_sub(before.completion_tokens),
                cached_tokens: all.cached_tokens.saturating_sub(before.cached_tokens),
            }
        }
        Outcome::Drained | Outcome::Cancelled => Usage::default(),
    }
}

/// Tokens a second after the first one. None where the backend does not tell when that was, or nothing came after it.
fn speed(completion: &Completion, run: Duration) -> Option<f64> {
    let after_first = completion.usage.completion_tokens.checked_sub(1).filter(|tokens| *tokens > 0)?;
    let length = run.checked_sub(completion.first_token?)?.as_secs_f64();
    (length > 0.0).then(|| after_first as f64 / length)
}

#[cfg(test)]
mod tests {
    use trilane_protocol::outcome::Finish;

    use super::*;

    fn answer(completion_tokens: u64, first_token_s: Option<u64>) -> Completion {
        Completion {
            text: String::new(),
            finish: Finish::Stop,
            usage: Usage { completion_tokens, ..Usage::default() },
            cost_usd: 0.0,
            first_token: first_token_s.map(Duration::from_secs),
            mean_logprob: None,
            refused: false,
        }
    }

    #[test]
    fn the_speed_is_that_after_the_first_token_and_is_not_made_up() {
        let run = Duration::from_secs(4);
        assert_eq!(speed(&answer(31, Some(1)), run), Some(10.0));
        for unknown in [
            answer(31, None),
            answer(1, Some(1)),
            answer(0, Some(1)),
            answer(31, Some(4)),
            answer(31, Some(5)),
        ] {
            assert_eq!(speed(&unknown, run), None);
        }
    }
}
