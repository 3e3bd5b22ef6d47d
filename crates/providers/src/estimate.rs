//! Tokens of a text, before (or without) a provider that counts them.

use trilane_protocol::{Message, Usage};

/// Bytes of a token in running text; the providers' own rule of thumb for English.
const TYPICAL_BYTES: u64 = 4;

/// Tokens of the envelope around each message (role, separators), rounded up.
const MESSAGE_TOKENS: u64 = 8;

/// What a text of so many bytes probably has, tokens.
pub fn typical_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(TYPICAL_BYTES)
}

/// What a conversation probably has, tokens; for rate limits.
pub fn typical_prompt_tokens(messages: &[Message]) -> u64 {
    typical_tokens(bytes(messages)) + envelope(messages)
}

/// Tokens of a call that ended without a count of its own. A server bills what it has generated, so text
/// that arrived counts; `reported` is what the server had said until then.
pub fn usage_without_count(reported: Usage, messages: &[Message], answer_bytes: u64) -> Usage {
    if answer_bytes == 0 {
        return reported;
    }
    let prompt_tokens = match reported.prompt_tokens {
        0 => typical_prompt_tokens(messages),
        counted => counted,
    };
    let completion_tokens = reported.completion_tokens.max(typical_tokens(answer_bytes));
    Usage { prompt_tokens, completion_tokens, cached_tokens: reported.cached_tokens }
}

fn bytes(messages: &[Message]) -> u64 {
    messages.iter().map(|message| message.content.len() as u64).sum()
}

fn envelope(messages: &[Message]) -> u64 {
    messages.len() as u64 * MESSAGE_TOKENS
}

#[cfg(test)]
mod tests {
    use trilane_protocol::Role;

    use super::*;

    #[test]
    fn a_call_without_text_cost_only_what_the_server_said() {
        let messages = [Message { role: Role::User, content: "x".repeat(400) }];
        assert_eq!(usage_without_count(Usage::default(), &messages, 0), Usage::default());
        let estimated = usage_without_count(Usage::default(), &messages, 40);
        assert_eq!((estimated.prompt_tokens, estimated.completion_tokens), (108, 10));
        let reported = Usage { prompt_tokens: 7, completion_tokens: 90, cached_tokens: 3 };
        assert_eq!(usage_without_count(reported, &messages, 40), reported);
    }
}
