//! The shape of a text: how long its words and lines are, and how many words of each kind it has.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{BuildIdentity, word_hash};

/// Counts that learned weights see beside those that the hand-made score knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// Capital letters of ASCII.
    pub capitals: u32,
    /// Commas, full stops and semicolons.
    pub stops: u32,
    /// Words of one byte.
    pub single_letters: u32,
    /// Words of at most three bytes.
    pub short_words: u32,
    /// Words of at least nine bytes.
    pub long_words: u32,
    /// Words of at least twelve bytes.
    pub very_long_words: u32,
    /// Words that begin with a capital letter.
    pub capitalised_words: u32,
    /// Words of two or more letters, all of them capital.
    pub shouted_words: u32,
    /// Words that begin with a digit.
    pub numbers: u32,
    /// Numbers of four digits.
    pub years: u32,
    /// Line feeds.
    pub line_feeds: u32,
    /// Size of the longest line, bytes.
    pub longest_line: u32,
    /// Mean size of the lines that are not empty, bytes.
    pub mean_line: u32,
    /// Median of these sizes, bytes.
    pub median_line: u32,
    /// Size of the first line that is not empty, bytes.
    pub first_line: u32,
    /// Size of the last four lines that say something, bytes: the choices of a question, or its last paragraph.
    pub last_lines: u32,
    /// Words of each of [`WORD_KINDS`].
    pub kinds: [u32; WORD_KINDS.len()],
}

/// Kinds of small words, which say what a question asks for. Their order is part of the features.
pub const WORD_KINDS: [(&str, &str); 14] = [
    ("negations", "not except never no false incorrect without cannot"),
    ("which", "which"),
    ("what", "what"),
    ("how", "how"),
    ("why", "why"),
    ("who", "who whom whose"),
    ("persons", "he she his her him i my me you your we"),
    ("statements", "following statement statements true"),
    ("best", "best most likely"),
    ("conditions", "if then suppose let given"),
    ("be", "is are was were"),
    ("particles", "the of and a in to"),
    ("quantifiers", "all none both above every each"),
    ("past", "was were had did"),
];

/// The kinds of a word by its hash, a bit each.
static KINDS: LazyLock<HashMap<u64, u16, BuildIdentity>> = LazyLock::new(|| {
    let mut kinds: HashMap<u64, u16, BuildIdentity> = HashMap::default();
    for (kind, (_, words)) in WORD_KINDS.iter().enumerate() {
        for word in words.split_whitespace() {
            *kinds.entry(word_hash(word.as_bytes())).or_default() |= 1 << kind;
        }
    }
    kinds
});

/// Lines of fewer bytes say nothing.
const LEAST_LINE_BYTES: u32 = 3;

/// Lines that count as the end of a text.
const LAST_LINES: usize = 4;

impl Shape {
    pub(super) fn word(&mut self, word: &[u8], hash: u64) {
        let capitals = word.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        self.capitals += capitals as u32;
        self.single_letters += u32::from(word.len() == 1);
        self.short_words += u32::from(word.len() <= 3);
        self.long_words += u32::from(word.len() >= 9);
        self.very_long_words += u32::from(word.len() >= 12);
        self.capitalised_words += u32::from(word[0].is_ascii_uppercase());
        self.shouted_words += u32::from(word.len() > 1 && capitals == word.len());
        self.numbers += u32::from(word[0].is_ascii_digit());
        self.years += u32::from(word.len() == 4 && word.iter().all(u8::is_ascii_digit));
        let mut kinds = KINDS.get(&hash).copied().unwrap_or_default();
        while kinds != 0 {
            self.kinds[kinds.trailing_zeros() as usize] += 1;
            kinds &= kinds - 1;
        }
    }

    pub(super) fn sign(&mut self, byte: u8) {
        self.stops += u32::from(matches!(byte, b',' | b'.' | b';'));
        self.line_feeds += u32::from(byte == b'\n');
    }

    /// Takes in the sizes of all lines that are not empty, in their order.
    pub(super) fn lines(&mut self, mut lines: Vec<u32>) {
        let Some(first) = lines.first() else { return };
        self.first_line = *first;
        let spoken = lines.iter().rev().filter(|bytes| **bytes >= LEAST_LINE_BYTES);
        self.last_lines = spoken.take(LAST_LINES).fold(0, |sum, bytes| sum.saturating_add(*bytes));
        let bytes: u64 = lines.iter().copied().map(u64::from).sum();
        self.mean_line = u32::try_from(bytes / lines.len() as u64).unwrap_or(u32::MAX);
        lines.sort_unstable();
        self.median_line = lines[lines.len() / 2];
        self.longest_line = lines[lines.len() - 1];
    }
}
