//! One task: make sure that the server runs the model itself, then call it.

use trilane_protocol::Zone;
use trilane_providers::{Answer, ChatError, ChatRequest, FailureKind};
use trilane_worker::{Assignment, Completion, RunError, RunErrorKind, Runner};

use crate::catalogue::{Catalogue, LocalModel};
use crate::remote::check_runs_here;

/// Runs tasks on the models of a [`Catalogue`].
#[derive(Debug)]
pub struct EndpointRunner {
    catalogue: Catalogue,
}

impl EndpointRunner {
    /// A runner for `catalogue`.
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue }
    }
}

impl Runner for EndpointRunner {
    async fn run(&self, mut assignment: Assignment) -> Result<Completion, RunError> {
        let decision = &assignment.decision;
        let model = self.catalogue.model(&decision.model).filter(|_| decision.zone == Zone::Local);
        let model = model.ok_or_else(|| {
            let message =
                format!("`{}` is not a model of this worker; check the lane's models", decision.model);
            RunError::new(RunErrorKind::Permanent, "unknown_model", message)
        })?;
        let checking = check_runs_here(&model.http, &model.show_url, &model.remote_name);
        let cancelled = || run_error(ChatError::cancelled());
        assignment.cancel.run_until_cancelled(checking).await.ok_or_else(cancelled)??;
        let default = self.catalogue.default_max_tokens();
        call(model, &mut assignment, default).await.map(completion).map_err(run_error)
    }
}

/// Always as a stream: a slow machine may take long for an answer, but it is never silent for long.
async fn call(model: &LocalModel, assignment: &mut Assignment, default: u32) -> Result<Answer, ChatError> {
    let Assignment { work, partials, cancel, .. } = assignment;
    let request = ChatRequest {
        model: &model.remote_name,
        messages: &work.messages,
        generation: &work.generation,
        max_tokens: work.generation.max_tokens.unwrap_or(default),
        stream: true,
    };
    model.client.chat(&request, None, cancel, &mut |text: &str| partials.send(text)).await
}

/// Local models cost nothing.
fn completion(answer: Answer) -> Completion {
    Completion {
        text: answer.text,
        finish: answer.finish,
        usage: answer.usage,
        cost_usd: 0.0,
        first_token: answer.first_token,
        mean_logprob: answer.mean_logprob,
        refused: false,
    }
}

/// A server that wants a key is permanent here: there is none to give, and a private task has no other zone.
fn run_error(error: ChatError) -> RunError {
    let kind = match error.kind {
        FailureKind::Transient | FailureKind::RateLimited => RunErrorKind::Transient,
        FailureKind::Permanent | FailureKind::KeyRefused | FailureKind::OutOfCredit => {
            RunErrorKind::Permanent
        }
        FailureKind::Cancelled => RunErrorKind::Cancelled,
    };
    RunError::new(kind, error.code, error.message)
        .with_retry_after(error.retry_after)
        .with_spent(error.usage, 0.0)
}
