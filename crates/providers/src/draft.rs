//! An answer while it is read, and what makes it a whole one.

use std::time::Duration;

use trilane_protocol::outcome::Finish;
use trilane_protocol::{Message, Usage};

use crate::chat::{Answer, Bill, ChatError};
use crate::estimate::usage_without_count;

/// What has been read of an answer.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Text so far.
    pub(crate) text: String,
    /// Tokens, as far as the server has said.
    pub(crate) usage: Usage,
    /// Whether `usage` is the final count.
    pub(crate) counted: bool,
    /// Why generation stopped, once the server has said.
    pub(crate) stop: Option<Stop>,
    /// Whether the end marker was read. Without it a stream was cut.
    pub(crate) ended: bool,
    /// From the start of the call to the first text.
    pub(crate) first_token: Option<Duration>,
    /// Log-probabilities of tokens, added up, and how many; none where the server does not tell.
    pub(crate) logprobs: (f64, u32),
}

/// Why generation stopped, in the words of neither API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The model was done, or met a stop sequence.
    Done,
    /// A token limit was reached.
    Length,
    /// The model or a filter of the provider refused.
    Refused,
    /// A reason that this crate does not know.
    Unknown,
}

impl Draft {
    /// The answer, if it is a whole one.
    ///
    /// # Errors
    /// A cut, refused or empty answer, with the tokens that it used all the same.
    pub(crate) fn finish(self, messages: &[Message]) -> Result<Answer, ChatError> {
        let usage = self.usage_so_far(messages);
        let bill = if self.is_counted() { Bill::Counted } else { Bill::Unknown };
        let fail = |error: ChatError| Err(error.with_usage(usage).with_bill(bill));
        if self.stop == Some(Stop::Refused) {
            return fail(ChatError::permanent("refused", "the model refused to answer; rephrase the task"));
        }
        if !self.ended {
            return fail(ChatError::transient(
                "stream_cut",
                "the answer was cut before its end; it is tried again",
            ));
        }
        let finish = match self.stop {
            Some(Stop::Length) if self.text.is_empty() => {
                let message = "max_tokens was used up before any text; set a larger `max_tokens`";
                return fail(ChatError::permanent("empty_answer", message));
            }
            Some(Stop::Length) => Finish::Length,
            Some(Stop::Done) => Finish::Stop,
            Some(Stop::Refused | Stop::Unknown) | None => {
                let message = "the answer ended for a reason that is not known; it is tried again";
                return fail(ChatError::transient("malformed_answer", message));
            }
        };
        if self.text.trim().is_empty() {
            return fail(ChatError::transient("empty_answer", "the answer holds no text; it is tried again"));
        }
        let (sum, count) = self.logprobs;
        let mean_logprob = (count > 0).then(|| sum / f64::from(count)).filter(|mean| mean.is_finite());
        Ok(Answer { text: self.text, finish, usage, first_token: self.first_token, mean_logprob })
    }

    /// Whether the server has said what it bills.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted && self.usage.completion_tokens > 0
    }

    /// Tokens until now: the server's count, or an estimate once text has arrived.
    pub(crate) fn usage_so_far(&self, messages: &[Message]) -> Usage {
        if self.is_counted() {
            return self.usage;
        }
        usage_without_count(self.usage, messages, self.text.len() as u64)
    }
}
