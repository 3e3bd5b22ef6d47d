//! The text of an answer while it grows: whole characters, stop sequences, and what may be shown already.

/// Text put together from the bytes of tokens.
#[derive(Debug, Default)]
pub struct AnswerText {
    text: String,
    /// Beginning of a character whose end is still to come.
    unfinished: Vec<u8>,
    stop: Vec<String>,
    /// Bytes of `text` that have been shown.
    shown: usize,
    stopped: bool,
}

impl AnswerText {
    /// An empty answer that ends at the first of `stop`.
    pub fn new(stop: Vec<String>) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Adds the bytes of a token. Returns whether a stop sequence has been met; it is cut off.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let before = self.text.len();
        self.unfinished.extend_from_slice(bytes);
        self.take_whole_characters();
        self.cut_at_stop(before)
    }

    /// Text that can be shown and has not been: all but what may turn out to be a stop sequence.
    pub fn take_new(&mut self) -> &str {
        let end = if self.stopped { self.text.len() } else { self.text.len() - self.possible_stop() };
        let start = self.shown.min(end);
        self.shown = end.max(self.shown);
        &self.text[start..end]
    }

    /// Ends the answer: nothing is held back any longer. Call [`AnswerText::take_new`] once more after it.
    pub fn finish(&mut self) {
        if !self.stopped && !self.unfinished.is_empty() {
            self.unfinished.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        self.stopped = true;
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Moves whole characters over; bytes that can never be one become a replacement character.
    fn take_whole_characters(&mut self) {
        let mut rest = self.unfinished.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    self.text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (whole, tail) = rest.split_at(error.valid_up_to());
                    self.text.push_str(&String::from_utf8_lossy(whole));
                    rest = tail;
                    let Some(invalid) = error.error_len() else { break };
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[invalid..];
                }
            }
        }
        self.unfinished = rest.to_vec();
    }

    /// Looks for a stop sequence that ends in the text after byte `before`.
    fn cut_at_stop(&mut self, before: usize) -> bool {
        let longest = self.stop.iter().map(String::len).max().unwrap_or(0);
        let mut from = before.saturating_sub(longest);
        while !self.text.is_char_boundary(from) {
            from -= 1;
        }
        let found = self.stop.iter().filter_map(|stop| self.text[from..].find(stop.as_str())).min();
        if let Some(at) = found {
            self.text.truncate(from + at);
            self.unfinished.clear();
            self.stopped = true;
        }
        self.stopped
    }

    /// Length of the longest end of the text that is the beginning of a stop sequence.
    fn possible_stop(&self) -> usize {
        let begins = |stop: &str| {
            let most = stop.len().min(self.text.len());
            (1..=most)
                .rev()
                .find(|length| stop.is_char_boundary(*length) && self.text.ends_with(&stop[..*length]))
        };
        self.stop.iter().filter_map(|stop| begins(stop)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(stop: &[&str]) -> AnswerText {
        AnswerText::new(stop.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_character_split_over_tokens_is_shown_whole() {
        let mut text = answer(&[]);
        let mut shown = Vec::new();
        for byte in "é🙂".bytes() {
            text.push(&[byte]);
            shown.push(text.take_new().to_owned());
        }
        assert_eq!(shown, ["", "é", "", "", "", "🙂"]);
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced() {
        let mut text = answer(&[]);
        text.push(b"a\xffb\xe2\x82");
        text.finish();
        assert_eq!(text.into_text(), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn what_may_become_a_stop_sequence_is_held_back() {
        let mut text = answer(&["\n\nEND"]);
        assert!(!text.push(b"one\n\nE"));
        assert_eq!(text.take_new(), "one");
        assert!(!text.push(b"lse\n"));
        assert_eq!(text.take_new(), "\n\nElse");
        assert!(text.push(b"\nEND and more"));
        assert_eq!(text.take_new(), "");
        assert_eq!(text.into_text(), "one\n\nElse");
    }

    #[test]
    fn an_end_without_stop_shows_what_was_held_back() {
        let mut text = answer(&["END"]);
        text.push(b"the E");
        assert_eq!(text.take_new(), "the ");
        text.finish();
        assert_eq!(text.take_new(), "E");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text_and_shows_it_once(
            whole in "[ab\né🙂]{0,40}",
            stop in prop::collection::vec("[ab\né]{1,4}", 0..3),
            cuts in prop::collection::vec(1usize..5, 0..60),
        ) {
            let end = stop.iter().filter_map(|stop| whole.find(stop.as_str())).min();
            let mut text = AnswerText::new(stop);
            let (mut rest, mut cuts, mut shown) = (whole.as_bytes(), cuts.into_iter().cycle(), String::new());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                rest = tail;
                let stopped = text.push(piece);
                shown.push_str(text.take_new());
                if stopped {
                    break;
                }
            }
            text.finish();
            shown.push_str(text.take_new());
            let text = text.into_text();
            prop_assert_eq!(&shown, &text);
            // With several stop sequences the one whose end is seen first wins, so the text may be cut there.
            match end {
                Some(end) => prop_assert!(text.len() <= whole.len() && whole.starts_with(&text) && text.len() >= end.min(text.len())),
                None => prop_assert_eq!(text, whole),
            }
        }
    }
}
