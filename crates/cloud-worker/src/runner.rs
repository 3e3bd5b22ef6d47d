//! One task: check, lease a key, call; with another key where the first is refused.

use trilane_protocol::Usage;
use trilane_providers::estimate::typical_prompt_tokens;
use trilane_providers::pool::KeyLease;
use trilane_providers::{Answer, ChatError, ChatRequest, FailureKind};
use trilane_routing::registry::Price;
use trilane_worker::{Assignment, Completion, RunError, RunErrorKind, Runner};

use crate::catalogue::{Catalogue, ServedModel};
use crate::guard;

/// Answers longer than this are read as a stream even where nobody wants partial text: a stream is given up
/// when it falls silent, a plain answer when its time is over, however much of it has been paid for. Short
/// answers stay plain, since some accounts may not stream every model.
pub const LONGEST_PLAIN_ANSWER: u32 = 2_048;

/// Runs tasks on the models of a [`Catalogue`].
#[derive(Debug)]
pub struct CloudRunner {
    catalogue: Catalogue,
}

impl CloudRunner {
    /// A runner for `catalogue`.
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue }
    }
}

impl Runner for CloudRunner {
    async fn run(&self, mut assignment: Assignment) -> Result<Completion, RunError> {
        let (work, decision) = (&assignment.work, &assignment.decision);
        guard::check_public(work, decision, self.catalogue.policy()).inspect_err(|_| {
            tracing::error!(agent = %work.agent, task = %work.task_id, "a private task reached the cloud worker");
        })?;
        let model = self.catalogue.model(&decision.model).ok_or_else(|| {
            let message = format!("`{}` has no API key here; set the key of its provider", decision.model);
            RunError::new(RunErrorKind::LaneUnable, "no_api_key", message)
        })?;
        let max_tokens =
            guard::max_tokens(&work.generation, &model.entry, self.catalogue.default_max_tokens())?;
        guard::check_cost(work, &model.entry.price, max_tokens)?;
        let outcome = call(model, &mut assignment, max_tokens).await;
        let price = &model.entry.price;
        outcome.map(|answer| completion(answer, price)).map_err(|error| run_error(error, price))
    }
}

/// Calls until there is an answer, or a failure that another key would meet too. At most one call a key.
async fn call(
    model: &ServedModel,
    assignment: &mut Assignment,
    max_tokens: u32,
) -> Result<Answer, ChatError> {
    let Assignment { work, partials, cancel, .. } = assignment;
    let request = ChatRequest {
        model: &model.entry.remote_name,
        messages: &work.messages,
        generation: &work.generation,
        max_tokens,
        stream: partials.is_enabled() || max_tokens > LONGEST_PLAIN_ANSWER,
    };
    let tokens = typical_prompt_tokens(request.messages) + u64::from(max_tokens);
    let mut calls_left = model.keys.len();
    loop {
        let lease = model.keys.lease(tokens, cancel).await?;
        let mut on_text = |text: &str| partials.send(text);
        let outcome = model.client.chat(&request, Some(lease.key()), cancel, &mut on_text).await;
        calls_left = calls_left.saturating_sub(1);
        match conclude(lease, outcome) {
            // A call that has used tokens is counted, and its text may be out: the next attempt starts anew.
            Err(Conclusion::AnotherKey(error)) if calls_left > 0 && error.usage == Usage::default() => {}
            Err(Conclusion::AnotherKey(error) | Conclusion::Over(error)) => return Err(error),
            Ok(answer) => return Ok(answer),
        }
    }
}

/// What a failed call leads to.
enum Conclusion {
    /// The same call may succeed at once with another key.
    AnotherKey(ChatError),
    /// It may not.
    Over(ChatError),
}

fn conclude(lease: KeyLease, outcome: Result<Answer, ChatError>) -> Result<Answer, Conclusion> {
    match outcome {
        Ok(answer) => {
            lease.finish(total(answer.usage));
            Ok(answer)
        }
        Err(error) if lease.fail(&error) => Err(Conclusion::AnotherKey(error)),
        Err(error) => Err(Conclusion::Over(error)),
    }
}

fn total(usage: Usage) -> u64 {
    usage.prompt_tokens + usage.completion_tokens
}

fn completion(answer: Answer, price: &Price) -> Completion {
    Completion {
        cost_usd: price.cost_usd(answer.usage),
        text: answer.text,
        finish: answer.finish,
        usage: answer.usage,
        first_token: answer.first_token,
    }
}

fn run_error(error: ChatError, price: &Price) -> RunError {
    let kind = match error.kind {
        FailureKind::Transient | FailureKind::RateLimited => RunErrorKind::Transient,
        FailureKind::Permanent => RunErrorKind::Permanent,
        FailureKind::KeyRefused | FailureKind::OutOfCredit => RunErrorKind::LaneUnable,
        FailureKind::Cancelled => RunErrorKind::Cancelled,
    };
    let cost_usd = price.cost_usd(error.usage);
    RunError::new(kind, error.code, error.message)
        .with_retry_after(error.retry_after)
        .with_spent(error.usage, cost_usd)
}
