//! The neutral request, answer and error of a chat call.

use std::time::Duration;

use trilane_protocol::outcome::Finish;
use trilane_protocol::{Generation, Message, Usage};

/// One call. Every setting of `generation` is honoured or refused; none is ignored.
#[derive(Debug, Clone, Copy)]
pub struct ChatRequest<'a> {
    /// The server's own name for the model.
    pub model: &'a str,
    /// The conversation; a `system` message may come first.
    pub messages: &'a [Message],
    /// How to generate. `max_tokens` in it is not read: the resolved one stands below.
    pub generation: &'a Generation,
    /// Most tokens to generate.
    pub max_tokens: u32,
    /// Whether to read the answer as a stream: partial text, and a time limit for each piece of the
    /// answer instead of for the whole.
    pub stream: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The whole text, never empty.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens, as the server counted them; estimated where it does not count.
    pub usage: Usage,
    /// From the start of the call to the first text; only known for streams.
    pub first_token: Option<Duration>,
    /// Mean natural logarithm of the probability of each token, 0 or less, where the server tells without being asked.
    pub mean_logprob: Option<f64>,
}

/// Why there is no answer. Messages say what to do; they repeat nothing of the prompt and nothing of the
/// server's own message, which may quote the prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ChatError {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// Stable code, such as `prompt_too_long`.
    pub code: &'static str,
    /// One sentence that says what to do.
    pub message: String,
    /// The server's own wish for the delay before the next call.
    pub retry_after: Option<Duration>,
    /// Tokens that were used all the same: what the server reported, or an estimate once text had arrived.
    pub usage: Usage,
    /// What is known of its price.
    pub bill: Bill,
}

/// What is known of the price of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bill {
    /// Nothing was sent.
    NotSent,
    /// The server refused it with a status of its own, and without a count.
    Refused,
    /// The server has counted it: `usage` is final.
    Counted,
    /// It was sent, and nobody knows what the server makes of it.
    Unknown,
}

/// What kind of failure a [`ChatError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Another call may succeed: overload, a cut connection, a crash of the server.
    Transient,
    /// The key has run into a limit of its provider; another key may succeed at once.
    RateLimited,
    /// No call will succeed: the request asks for what this model cannot do.
    Permanent,
    /// The provider does not accept the key.
    KeyRefused,
    /// The account behind the key has no money left.
    OutOfCredit,
    /// The caller no longer wants the answer.
    Cancelled,
}

impl ChatError {
    /// An error without usage and without a wish for the delay. Its price is not known, until somebody says more.
    pub fn new(kind: FailureKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            retry_after: None,
            usage: Usage::default(),
            bill: Bill::Unknown,
        }
    }

    /// A failure that another call may not meet.
    pub fn transient(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Transient, code, message)
    }

    /// A failure that every call would meet.
    pub fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Permanent, code, message)
    }

    /// A setting that the server cannot honour, and what to do.
    pub fn unsupported(setting: &str, advice: &str) -> Self {
        Self::permanent("unsupported_setting", format!("setting `{setting}` is not supported here: {advice}"))
    }

    /// The end of a call whose answer is no longer wanted.
    pub fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "cancelled", "the answer is no longer wanted; the call was aborted")
    }

    /// The same with the tokens that were used all the same.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The same with what is known of its price.
    #[must_use]
    pub fn with_bill(mut self, bill: Bill) -> Self {
        self.bill = bill;
        self
    }

    /// The same with the server's wish for the delay.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Whether another call with the same key may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, FailureKind::Transient | FailureKind::RateLimited)
    }
}
