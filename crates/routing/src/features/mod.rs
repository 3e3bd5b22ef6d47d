//! Hand-made features of a conversation, and hashed word n-grams for learned weights: one pass, no text kept.

mod dense;
mod names;
mod shape;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use trilane_protocol::{Generation, Message};

pub(crate) use dense::DENSE;
pub(crate) use names::name_buckets;
pub use shape::{Shape, WORD_KINDS};

/// What a scorer sees of a task. Holds counts, shares and hashes, never text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Features {
    /// Size of all messages, bytes.
    pub bytes: u64,
    /// Estimated tokens of all messages, see [`estimated_tokens`].
    pub tokens: u32,
    /// Messages.
    pub turns: u32,
    /// Runs of letters and digits.
    pub words: u32,
    /// Sentence ends.
    pub sentences: u32,
    /// Question marks.
    pub question_marks: u32,
    /// Triple back-ticks.
    pub code_fences: u32,
    /// Brackets, semicolons and the like that code has and prose has not.
    pub code_marks: u32,
    /// Digits.
    pub digits: u32,
    /// Operators and mathematical signs, LaTeX commands among them.
    pub math_symbols: u32,
    /// Characters beyond ASCII.
    pub non_ascii: u32,
    /// Letters in words, for the mean word length.
    pub word_bytes: u64,
    /// Words that ask for thought, such as `prove`, `compare`, `why`, `design`.
    pub reasoning_words: u32,
    /// Words that ask for routine work, such as `translate`, `rewrite`, `extract`.
    pub routine_words: u32,
    /// Words that bind the answer, such as `must`, `exactly`, `without`.
    pub constraint_words: u32,
    /// Lines that open with a bullet or a number.
    pub list_items: u32,
    /// Length asked for in the text (`500 words`) or by `max_tokens`, tokens; 0 where nothing says.
    pub answer_tokens: u32,
    /// Whether the answer must satisfy a JSON Schema.
    pub json_schema: bool,
    /// The shape of the text.
    pub shape: Shape,
    /// Buckets below [`BUCKETS`] of the first [`MAX_HASHED_WORDS`] words and of their pairs, each once, ascending.
    pub hashed: Vec<u32>,
    /// How many those are; stays where they are left out.
    pub distinct: u32,
}

/// Number of buckets that word 1-2-grams are hashed into.
pub const BUCKETS: u32 = 1 << 16;

/// Most words that are hashed; what a longer text says behind them no longer changes its learned score.
pub const MAX_HASHED_WORDS: usize = 2048;

/// Says what the numbers in [`Features`] mean. It changes whenever hashing, vocabulary or a feature changes, and
/// weights learned under another version are refused.
pub const FEATURES_VERSION: u32 = 2;

/// Features of `messages`, to be answered as `generation` says.
pub fn extract(messages: &[Message], generation: &Generation) -> Features {
    let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
    let mut pass = Pass { features: Features::default(), last_hash: None, last_number: 0, lines: Vec::new() };
    pass.features.hashed.reserve((bytes / 3).min(2 * MAX_HASHED_WORDS));
    for message in messages {
        pass.read(&message.content);
    }
    let mut features = pass.features;
    features.shape.lines(pass.lines);
    features.hashed.sort_unstable();
    features.hashed.dedup();
    features.distinct = saturated(features.hashed.len());
    features.bytes = bytes as u64;
    features.turns = saturated(messages.len());
    features.tokens = messages
        .iter()
        .map(|message| estimated_tokens(&message.content).saturating_add(TOKENS_PER_MESSAGE))
        .fold(0, u32::saturating_add);
    features.answer_tokens = features.answer_tokens.max(generation.max_tokens.unwrap_or_default());
    features.json_schema = generation.json_schema.is_some();
    features
}

/// What a chat template adds to each message, tokens.
const TOKENS_PER_MESSAGE: u32 = 4;

/// Estimated tokens of `text`, rather too many than too few, because a prompt must fit a context window.
///
/// An ASCII letter or space counts a quarter of a token, a digit or sign a half, a character of Chinese, Japanese or
/// Korean a whole one, other characters beyond ASCII three quarters. English prose comes out at about bytes / 4 and
/// code at about bytes / 3, which is what byte-pair vocabularies of 32,000 to 200,000 entries need.
pub fn estimated_tokens(text: &str) -> u32 {
    let ascii: u64 = text.bytes().map(|byte| u64::from(QUARTERS[usize::from(byte)])).sum();
    let beyond: u64 = if text.is_ascii() { 0 } else { text.chars().map(quarters_beyond_ascii).sum() };
    u32::try_from((ascii + beyond).div_ceil(4)).unwrap_or(u32::MAX)
}

fn quarters_beyond_ascii(letter: char) -> u64 {
    match u32::from(letter) {
        0..=0x7f => 0,
        0x80..=0x2e7f => 3,
        0x2e80..=0xffff => 4,
        _ => 8,
    }
}

/// Quarter tokens by ASCII byte; bytes of longer characters count in [`quarters_beyond_ascii`].
const QUARTERS: [u8; 256] = {
    let mut quarters = [0; 256];
    let mut byte = 0;
    while byte < 0x80 {
        quarters[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b' ' => 1,
            _ => 2,
        };
        byte += 1;
    }
    quarters
};

impl Features {
    /// The counts alone, for what may not be looked up in a dictionary.
    #[must_use]
    pub fn without_words(self) -> Self {
        Self { hashed: Vec::new(), ..self }
    }

    /// Estimated tokens of the prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.tokens
    }

    /// Every feature but the hashes by name, as learned weights and the routing log know it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let words = f64::from(self.words).max(1.0);
        let characters = (self.bytes as f64).max(1.0);
        [
            ("log_tokens", f64::from(self.tokens).ln_1p()),
            ("turns", f64::from(self.turns)),
            ("sentences", f64::from(self.sentences).ln_1p()),
            ("question_marks", f64::from(self.question_marks).ln_1p()),
            ("code_fences", f64::from(self.code_fences).ln_1p()),
            ("code_share", f64::from(self.code_marks) / characters),
            ("digit_share", f64::from(self.digits) / characters),
            ("math_symbols", f64::from(self.math_symbols).ln_1p()),
            ("non_ascii_share", f64::from(self.non_ascii) / characters),
            ("mean_word_bytes", self.word_bytes as f64 / words),
            ("reasoning_words", f64::from(self.reasoning_words).ln_1p()),
            ("routine_words", f64::from(self.routine_words).ln_1p()),
            ("constraint_words", f64::from(self.constraint_words).ln_1p()),
            ("list_items", f64::from(self.list_items).ln_1p()),
            ("log_answer_tokens", f64::from(self.answer_tokens).ln_1p()),
            ("json_schema", f64::from(u8::from(self.json_schema))),
        ]
        .into_iter()
    }
}

/// What a word of the vocabulary says.
#[derive(Debug, Clone, Copy)]
enum Says {
    Reasoning,
    Routine,
    Constraint,
    /// Follows a number that tells the length asked for, tokens each.
    Length(u32),
}

const VOCABULARY: &[(&str, Says)] = &[
    (
        "prove proof derive derivation why compare contrast design analyse analyze analysis evaluate assess critique \
         argue justify optimise optimize architecture architect debug diagnose implications tradeoffs tradeoff \
         trade hypothesis theorem lemma integral equilibrium asymptotic complexity algorithm investigate reason \
         reasoning strategy strategies plan refactor implement invent infer deduce calculate solve determine \
         consequences failure failures fault concurrent distributed consistent rigorous rigorously formally step steps",
        Says::Reasoning,
    ),
    (
        "translate translation rewrite rephrase paraphrase summarise summarize summary extract format reformat classify \
         categorize categorise list label tag convert correct proofread spell capitalise capitalize capitals uppercase \
         lowercase shorten bullet bullets title headline greet greeting sort count copy replace fill tl tldr \
         keywords sentiment polite friendly email subject tweet slogan",
        Says::Routine,
    ),
    (
        "must exactly without only except least most never always ensure avoid including exclude unless between \
         constraint constraints requirement requirements following",
        Says::Constraint,
    ),
    ("word words", Says::Length(2)),
    ("sentence sentences", Says::Length(30)),
    ("paragraph paragraphs", Says::Length(120)),
    ("page pages", Says::Length(600)),
];

/// The vocabulary by hash of the word, so that the pass never builds a word.
static SAYS: LazyLock<HashMap<u64, Says, BuildIdentity>> = LazyLock::new(|| {
    let words =
        VOCABULARY.iter().flat_map(|(words, says)| words.split_whitespace().map(|word| (word, *says)));
    words.map(|(word, says)| (word_hash(word.as_bytes()), says)).collect()
});

type BuildIdentity = std::hash::BuildHasherDefault<Identity>;

/// Words are hashed already; hashing them again would only cost time.
#[derive(Debug, Default)]
struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash_byte(hash, *byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// FNV-1a, 64 bits. Learned weights are stored by bucket, so it must never change.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

fn hash_byte(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

/// The hash of a word, whatever its case.
fn word_hash(word: &[u8]) -> u64 {
    word.iter().fold(HASH_START, |hash, byte| hash_byte(hash, byte.to_ascii_lowercase()))
}

/// Whether a byte belongs to a word: a letter or digit, or a part of a character beyond ASCII.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Where the word that begins at `start` ends.
fn word_end(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|byte| is_word_byte(**byte)).count()
}

/// The bucket of two words that follow each other, by their hashes.
fn pair_bucket(first: u64, second: u64) -> u32 {
    bucket(hash_byte(first, b' ') ^ second.rotate_left(1))
}

/// One pass over the messages.
struct Pass {
    features: Features,
    last_hash: Option<u64>,
    /// The number that the last word was, 0 where it was none.
    last_number: u32,
    /// Sizes of the lines that are not empty, bytes.
    lines: Vec<u32>,
}

impl Pass {
    fn read(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.last_hash = None;
        let mut line_start = true;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if is_word_byte(byte) {
                let end = word_end(bytes, at);
                self.word(&bytes[at..end]);
                let is_item = line_start && matches!(bytes.get(end), Some(b'.' | b')')) && end - at <= 2;
                self.features.list_items += u32::from(is_item);
                line_start = false;
                at = end;
                continue;
            }
            self.sign(bytes, at, line_start);
            line_start = byte == b'\n' || line_start && byte.is_ascii_whitespace();
            at += 1;
        }
        let lines = text.lines().map(str::len).filter(|bytes| *bytes > 0);
        self.lines.extend(lines.map(saturated));
        self.features.non_ascii += saturated(text.bytes().filter(|byte| *byte >= 0xc0).count());
    }

    fn word(&mut self, word: &[u8]) {
        let features = &mut self.features;
        let mut hash = HASH_START;
        let mut digits = 0;
        for byte in word {
            hash = hash_byte(hash, byte.to_ascii_lowercase());
            digits += u32::from(byte.is_ascii_digit());
        }
        features.words += 1;
        features.word_bytes += word.len() as u64;
        features.digits += digits;
        features.shape.word(word, hash);
        match SAYS.get(&hash) {
            Some(Says::Reasoning) => features.reasoning_words += 1,
            Some(Says::Routine) => features.routine_words += 1,
            Some(Says::Constraint) => features.constraint_words += 1,
            Some(Says::Length(tokens)) => {
                features.answer_tokens = features.answer_tokens.max(self.last_number.saturating_mul(*tokens));
            }
            None => {}
        }
        self.last_number = if digits > 0 { number(word) } else { 0 };
        if (features.words as usize) <= MAX_HASHED_WORDS {
            features.hashed.push(bucket(hash));
            if let Some(last) = self.last_hash {
                features.hashed.push(pair_bucket(last, hash));
            }
        }
        self.last_hash = Some(hash);
    }

    fn sign(&mut self, bytes: &[u8], at: usize, line_start: bool) {
        let features = &mut self.features;
        let next = bytes.get(at + 1);
        features.shape.sign(bytes[at]);
        match bytes[at] {
            b'?' => {
                features.question_marks += 1;
                features.sentences += 1;
            }
            b'.' | b'!' if next.is_none_or(u8::is_ascii_whitespace) => features.sentences += 1,
            b'-' | b'*' if line_start && next == Some(&b' ') => features.list_items += 1,
            b'`' if bytes[at..].starts_with(b"```") && (at == 0 || bytes[at - 1] != b'`') => {
                features.code_fences += 1;
            }
            b'{' | b'}' | b';' | b'[' | b']' | b'_' => features.code_marks += 1,
            b'\\' if next.is_some_and(u8::is_ascii_alphabetic) => features.math_symbols += 1,
            b'=' | b'+' | b'<' | b'>' | b'^' | b'*' | b'%' => features.math_symbols += 1,
            _ => {}
        }
    }
}

/// Spreads the hash over the buckets by its high bits as well.
fn bucket(hash: u64) -> u32 {
    ((hash ^ (hash >> 32)) % u64::from(BUCKETS)) as u32
}

/// Value of a short run of digits; 0 for anything else.
fn number(word: &[u8]) -> u32 {
    std::str::from_utf8(word)
        .ok()
        .filter(|word| word.len() <= 5)
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use trilane_protocol::Role;

    use super::*;

    fn features(text: &str) -> Features {
        extract(&[Message { role: Role::User, content: text.to_owned() }], &Generation::default())
    }

    #[test]
    fn one_pass_counts_what_it_should() {
        let found = features(
            "1. Prove x = 1?\n- Translate it, exactly.\n```\nlet a = b[0];\n```\nAnswer in 50 words.",
        );
        assert_eq!(found.list_items, 2);
        assert_eq!(found.question_marks, 1);
        assert_eq!(found.code_fences, 2);
        assert_eq!(found.reasoning_words, 1);
        assert_eq!(found.routine_words, 1);
        assert_eq!(found.constraint_words, 1);
        assert_eq!(found.answer_tokens, 100);
        assert_eq!(found.math_symbols, 2);
        assert_eq!(found.digits, 5);
    }

    #[test]
    fn tokens_follow_the_kind_of_text() {
        let prose = "the quick brown fox jumps over the lazy dog and runs away ";
        assert_eq!(estimated_tokens(prose), prose.len().div_ceil(4) as u32);
        let code = "if(x[0]==1){y+=2;}";
        assert!(estimated_tokens(code) > code.len() as u32 / 3);
        assert_eq!(estimated_tokens("漢字"), 2);
        assert_eq!(estimated_tokens(""), 0);
    }

    #[test]
    fn hashes_are_stable_bounded_and_ignore_case() {
        assert_eq!(features("Hello World").hashed, features("hello world").hashed);
        assert_eq!(features("hello world").hashed.len(), 3);
        assert!(features(&"word ".repeat(10_000)).hashed.len() <= 2 * MAX_HASHED_WORDS);
        // Stored weights refer to these numbers.
        assert_eq!(features("hello").hashed, [features("Hello").hashed[0]]);
        assert_eq!("a".bytes().fold(HASH_START, hash_byte), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn shapes_are_counted() {
        let shape = features("The NATO treaty, of 1949;\nwas it extraordinarily\nnot\na good one?").shape;
        assert_eq!((shape.capitals, shape.capitalised_words, shape.shouted_words), (5, 2, 1));
        assert_eq!((shape.numbers, shape.years, shape.stops, shape.line_feeds), (1, 1, 2, 3));
        assert_eq!((shape.single_letters, shape.short_words), (1, 7));
        assert_eq!((shape.long_words, shape.very_long_words), (1, 1));
        assert_eq!(
            (shape.first_line, shape.longest_line, shape.median_line, shape.mean_line),
            (25, 25, 22, 15)
        );
        assert_eq!(shape.last_lines, 25 + 22 + 3 + 11);
        let kinds: Vec<&str> = WORD_KINDS
            .iter()
            .zip(shape.kinds)
            .filter(|(_, count)| *count > 0)
            .map(|((name, _), _)| *name)
            .collect();
        assert_eq!(kinds, ["negations", "be", "particles", "past"]);
    }

    #[test]
    fn buckets_are_ascending_and_all_have_names() {
        let texts = ["a b a c", "größer als 12", &"many words ".repeat(3_000), "", "one"];
        let messages: Vec<Message> =
            texts.iter().map(|text| Message { role: Role::User, content: (*text).to_owned() }).collect();
        for messages in [&messages[..], &messages[..2], &messages[2..]] {
            let hashed = extract(messages, &Generation::default()).hashed;
            assert!(hashed.is_sorted_by(|left, right| left < right));
            assert_eq!(name_buckets(messages).into_keys().collect::<Vec<_>>(), hashed);
        }
    }

    #[test]
    fn dense_numbers_are_bounded_and_as_many_as_promised() {
        for text in ["", "x", "A", "=".repeat(5_000).as_str(), "\n\n\n", "é", "9 9 9"] {
            let numbers: Vec<f64> = features(text).dense().map(|(_, number)| number).collect();
            assert_eq!(numbers.len(), DENSE);
            assert!(numbers.iter().all(|number| number.abs() <= 2.5), "{text}: {numbers:?}");
        }
    }

    #[test]
    fn features_survive_being_stored() {
        let found = features("Compare 3 ways to prove it; why?");
        let stored = serde_json::to_vec(&found).unwrap();
        assert_eq!(serde_json::from_slice::<Features>(&stored).unwrap(), found);
    }

    #[test]
    fn names_are_unique_and_settings_count() {
        let names: std::collections::BTreeSet<_> = features("x").iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), features("x").iter().count());
        let generation = Generation {
            max_tokens: Some(700),
            json_schema: Some(serde_json::json!({})),
            ..Default::default()
        };
        let found = extract(&[], &generation);
        assert_eq!((found.answer_tokens, found.json_schema, found.turns), (700, true, 0));
    }
}
