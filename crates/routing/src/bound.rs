//! The most that one call may cost: what is set aside before it, and what a lane is held against.

use trilane_protocol::{Message, Usage, Usd, Work};

use crate::policy::Policy;
use crate::registry::{CloudModel, Price};

/// Bytes of a token in a bound that is meant to hold: code and other languages have shorter tokens than English.
const SHORT_BYTES: u64 = 3;

/// Tokens of the envelope around each message (role, separators), rounded up.
const MESSAGE_TOKENS: u64 = 8;

/// What a conversation and the schema of its answer hardly exceed, tokens.
pub fn upper_prompt_tokens(messages: &[Message], schema_bytes: u64) -> u64 {
    let bytes: u64 = messages.iter().map(|message| message.content.len() as u64).sum();
    (bytes + schema_bytes).div_ceil(SHORT_BYTES) + messages.len() as u64 * MESSAGE_TOKENS
}

/// Money that one call hardly exceeds: a generous count of the prompt, nothing of it cached, and every token
/// that may be generated. Rounded up; [`Usd::MAX`] where it cannot be counted, so that no budget allows it.
pub fn upper_cost(work: &Work, price: &Price, max_tokens: u32) -> Usd {
    let schema_bytes = work.generation.json_schema.as_ref().map_or(0, |schema| schema.to_string().len());
    let prompt_tokens = upper_prompt_tokens(&work.messages, schema_bytes as u64);
    let usage = Usage { prompt_tokens, completion_tokens: max_tokens.into(), cached_tokens: 0 };
    Usd::rounded_up(price.cost_usd(usage)).unwrap_or(Usd::MAX)
}

/// Most tokens that a call generates: what the task says, else the policy's number as far as the model goes.
pub fn max_tokens(work: &Work, model: &CloudModel, policy: &Policy) -> u32 {
    work.generation.max_tokens.unwrap_or(policy.default_max_tokens).min(model.max_output_tokens)
}

#[cfg(test)]
mod tests {
    use trilane_protocol::Role;

    use super::*;

    #[test]
    fn the_envelope_of_each_message_and_the_schema_count() {
        let message = |bytes: usize| Message { role: Role::User, content: "x".repeat(bytes) };
        assert_eq!(upper_prompt_tokens(&[message(400)], 0), 142);
        assert_eq!(upper_prompt_tokens(&[message(300), message(100)], 0), 150);
        assert_eq!(upper_prompt_tokens(&[message(400)], 300), 242);
    }
}
