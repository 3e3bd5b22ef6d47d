//! One task: check, lease a key, call; with another key where the first is refused.

use trilane_broker::ledger::Ticket;
use trilane_protocol::{Decision, Usage, Usd, Work};
use trilane_providers::estimate::typical_prompt_tokens;
use trilane_providers::pool::KeyLease;
use trilane_providers::{Answer, Bill, ChatError, ChatRequest, FailureKind};
use trilane_routing::ledger::Ending;
use trilane_worker::{Assignment, Completion, RunError, RunErrorKind, Runner};

use crate::catalogue::{Catalogue, ServedModel};
use crate::guard;
use crate::spend::{self, Purse, beyond};

/// Answers longer than this are read as a stream even where nobody wants partial text: a stream is given up
/// when it falls silent, a plain answer when its time is over, however much of it has been paid for. Short
/// answers stay plain, since some accounts may not stream every model.
pub const LONGEST_PLAIN_ANSWER: u32 = 2_048;

/// Runs tasks on the models of a [`Catalogue`].
#[derive(Debug)]
pub struct CloudRunner {
    catalogue: Catalogue,
    purse: Purse,
}

/// Why there is no answer.
struct Failure {
    error: RunError,
    /// Whether the ledger was asked, so that it has closed what an earlier delivery left open, and the error says what
    /// the task has cost.
    is_booked: bool,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self { error, is_booked: false }
    }
}

impl CloudRunner {
    /// A runner for `catalogue` that pays from `purse`.
    pub fn new(catalogue: Catalogue, purse: Purse) -> Self {
        Self { catalogue, purse }
    }

    async fn try_run(&self, assignment: &mut Assignment) -> Result<Completion, Failure> {
        let (work, decision) = (&assignment.work, &assignment.decision);
        guard::check_public(work, decision, self.catalogue.policy()).inspect_err(|_| {
            tracing::error!("a private task reached the cloud worker");
        })?;
        let model = self.catalogue.model(&decision.model).ok_or_else(|| {
            let message = format!("`{}` has no API key here; set the key of its provider", decision.model);
            RunError::new(RunErrorKind::LaneUnable, "no_api_key", message)
        })?;
        let max_tokens =
            guard::max_tokens(&work.generation, &model.entry, self.catalogue.default_max_tokens())?;
        self.call(model, assignment, max_tokens).await
    }

    /// Calls until there is an answer, or a failure that another key would meet too. At most one call a key, and one of
    /// them at most is billed: the money that is set aside before the first holds for all.
    async fn call(
        &self,
        model: &ServedModel,
        assignment: &mut Assignment,
        max_tokens: u32,
    ) -> Result<Completion, Failure> {
        let Assignment { work, decision, attempt, partials, cancel } = assignment;
        let request = ChatRequest {
            model: &model.entry.remote_name,
            messages: &work.messages,
            generation: &work.generation,
            max_tokens,
            stream: partials.is_enabled() || max_tokens > LONGEST_PLAIN_ANSWER,
        };
        let price = &model.entry.price;
        let tokens = typical_prompt_tokens(request.messages) + u64::from(max_tokens);
        let mut calls_left = model.keys.len();
        let mut set_aside: Option<Ticket> = None;
        loop {
            let lease = match model.keys.lease(tokens, cancel).await {
                Ok(lease) => lease,
                Err(error) => return Err(give_up(work, set_aside, error).await),
            };
            let ticket = match set_aside.take() {
                Some(ticket) => ticket,
                None => {
                    let reserved = tokio::select! {
                        biased;
                        () = cancel.cancelled() => Err(run_error(ChatError::cancelled()).into()),
                        reserved = self.purse.reserve(work, decision, *attempt, price, max_tokens) => {
                            reserved.map_err(|error| Failure { error, is_booked: true })
                        }
                    };
                    match reserved {
                        Ok(ticket) => ticket,
                        Err(failure) => {
                            lease.give_back();
                            return Err(failure);
                        }
                    }
                }
            };
            let mut on_text = |text: &str| partials.send(text);
            let outcome = model.client.chat(&request, Some(lease.key()), cancel, &mut on_text).await;
            calls_left = calls_left.saturating_sub(1);
            match conclude(lease, outcome) {
                // A call that may have been billed is counted, and its text may be out: the next attempt starts anew.
                Err(Conclusion::AnotherKey(error)) if calls_left > 0 && error.bill == Bill::Refused => {
                    set_aside = Some(ticket);
                }
                Err(Conclusion::AnotherKey(error) | Conclusion::Over(error)) => {
                    let spent = ticket.end(spend::ending(&error, price)).await;
                    return Err(booked(work, error, spent));
                }
                Ok(answer) => {
                    let amount = spend::cost(price, answer.usage);
                    let spent = ticket.end(Ending::Settled { amount, answered: true }).await;
                    return Ok(completion(work, answer, spent));
                }
            }
        }
    }
}

/// No key may be used. Those that were have refused.
async fn give_up(work: &Work, set_aside: Option<Ticket>, error: ChatError) -> Failure {
    match set_aside {
        Some(ticket) => {
            let spent = ticket.end(Ending::Settled { amount: Usd::ZERO, answered: false }).await;
            booked(work, error, spent)
        }
        None => run_error(error).into(),
    }
}

impl Runner for CloudRunner {
    async fn run(&self, mut assignment: Assignment) -> Result<Completion, RunError> {
        match self.try_run(&mut assignment).await {
            Ok(completion) => Ok(completion),
            Err(Failure { error, is_booked: true }) => Err(error),
            Err(Failure { error, is_booked: false }) => {
                let Assignment { work, decision, attempt, .. } = &assignment;
                let cost_usd = self.purse.abandon(work, decision, *attempt).await;
                let usage = error.usage;
                Err(error.with_spent(usage, cost_usd))
            }
        }
    }

    async fn abandon(&self, work: &Work, decision: &Decision, attempt: u32) -> f64 {
        self.purse.abandon(work, decision, attempt).await
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

fn completion(work: &Work, answer: Answer, spent: Usd) -> Completion {
    Completion {
        cost_usd: beyond(work, spent),
        text: answer.text,
        finish: answer.finish,
        usage: answer.usage,
        first_token: answer.first_token,
        mean_logprob: answer.mean_logprob,
        refused: false,
    }
}

fn booked(work: &Work, error: ChatError, spent: Usd) -> Failure {
    let usage = error.usage;
    Failure { error: run_error(error).with_spent(usage, beyond(work, spent)), is_booked: true }
}

fn run_error(error: ChatError) -> RunError {
    let kind = match error.kind {
        FailureKind::Transient | FailureKind::RateLimited => RunErrorKind::Transient,
        FailureKind::Permanent => RunErrorKind::Permanent,
        FailureKind::KeyRefused | FailureKind::OutOfCredit => RunErrorKind::LaneUnable,
        FailureKind::Cancelled => RunErrorKind::Cancelled,
    };
    RunError::new(kind, error.code, error.message).with_retry_after(error.retry_after)
}
