//! What a worker binary supplies: a [`Runner`] that turns one piece of work into an answer.
//!
//! The runtime around it owns everything else: pulling, leases, deadlines, retries, results and drain.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trilane_protocol::outcome::Finish;
use trilane_protocol::{Decision, Usage, Work};

use crate::partials::PartialSender;

/// Runs work on one lane's models.
pub trait Runner: Send + Sync + 'static {
    /// Runs `assignment` to its end. Must return soon after `assignment.cancel` fires: the runtime fires it
    /// at the task's deadline and at the end of the drain's grace time.
    fn run(&self, assignment: Assignment) -> impl Future<Output = Result<Completion, RunError>> + Send;

    /// Told instead of [`Runner::run`] that a delivery is not run: its task ends without it. What an earlier delivery
    /// has left open is to be closed. Returns the dollars that earlier deliveries of this hop have cost.
    fn abandon(&self, work: &Work, decision: &Decision, attempt: u32) -> impl Future<Output = f64> + Send {
        let _ = (work, decision, attempt);
        std::future::ready(0.0)
    }
}

/// One piece of work, handed to a [`Runner`].
#[derive(Debug)]
pub struct Assignment {
    /// What to run; `decision.model` says on which model.
    pub work: Work,
    /// Where, and why.
    pub decision: Decision,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    /// Takes partial text; does nothing where the task did not ask for it.
    pub partials: PartialSender,
    /// Fires when the answer is no longer wanted.
    pub cancel: CancellationToken,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of this attempt.
    pub usage: Usage,
    /// Dollars of this attempt, and of earlier deliveries of this hop as far as the runner knows of them.
    pub cost_usd: f64,
    /// From the start of the run to the first token, where the backend tells.
    pub first_token: Option<Duration>,
    /// Mean natural logarithm of the probability of each token, 0 or less, where the backend tells.
    pub mean_logprob: Option<f64>,
    /// Whether the backend says that the model refused, and `text` is how.
    pub refused: bool,
}

/// Why there is no answer. Messages say what to do and repeat nothing of the prompt.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// What kind of failure it is; decides what happens next.
    pub kind: RunErrorKind,
    /// Stable code of the result's error, such as `prompt_too_long`.
    pub code: &'static str,
    /// One sentence that says what to do.
    pub message: String,
    /// The backend's own wish for the delay before the next attempt.
    pub retry_after: Option<Duration>,
    /// Tokens that the failed attempt used all the same.
    pub usage: Usage,
    /// Dollars that the failed attempt cost all the same; earlier deliveries as in [`Completion::cost_usd`].
    pub cost_usd: f64,
}

/// What happens after a [`RunError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunErrorKind {
    /// Another attempt may succeed: overload, a cut connection, a crash of the backend.
    Transient,
    /// No attempt will succeed: the task asks for what this model cannot do.
    Permanent,
    /// This lane cannot serve public tasks for now (a bad key, a spent budget); the classifier is to degrade it.
    LaneUnable,
    /// `cancel` fired.
    Cancelled,
}

impl RunError {
    /// An error without usage and without a wish for the delay.
    pub fn new(kind: RunErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            retry_after: None,
            usage: Usage::default(),
            cost_usd: 0.0,
        }
    }

    /// The same with the backend's wish for the delay.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// The same with what the attempt used.
    #[must_use]
    pub fn with_spent(mut self, usage: Usage, cost_usd: f64) -> Self {
        self.usage = usage;
        self.cost_usd = cost_usd;
        self
    }

    /// Whether another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        self.kind == RunErrorKind::Transient
    }
}
