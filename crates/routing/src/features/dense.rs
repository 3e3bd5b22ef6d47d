//! The counts as numbers of about the same size, for learned weights.

use super::{Features, WORD_KINDS};

/// How many numbers [`Features::dense`] gives.
pub(crate) const DENSE: usize = PLAIN + FINE + 2 * WORD_KINDS.len();

/// Numbers that say much, and are shrunk little.
const PLAIN: usize = 23;

/// Numbers that say little each.
const FINE: usize = 5;

/// Scale of the first kind. The prior of a weight is the same for every number, so a larger number is shrunk less.
/// Scales and offsets come from cross-validation on MMLU, RouterBench and a mixed set.
const PLAIN_SCALE: f64 = 0.5;

/// Scale of the second kind, and of the kinds of words.
const FINE_SCALE: f64 = 0.2;

/// No share is larger and no other number, before it is scaled, so that no odd text decides by one count alone.
const MOST_SHARE: f64 = 3.0;
const MOST: f64 = 5.0;

impl Features {
    /// The counts by name, scaled for learned weights: none is beyond 2.5 in either direction.
    pub(crate) fn dense(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let scaled = |scale: f64| move |(name, value): (_, f64)| (name, scale * value.clamp(-MOST, MOST));
        let plain = self.plain().into_iter().map(scaled(PLAIN_SCALE));
        let fine = self.fine().into_iter().chain(self.kinds());
        plain.chain(fine.map(scaled(FINE_SCALE)))
    }

    /// Each less its usual value, and divided by its usual spread, roughly.
    fn plain(&self) -> [(&'static str, f64); PLAIN] {
        let shape = &self.shape;
        let bytes = (self.bytes as f64).max(1.0);
        let words = f64::from(self.words).max(1.0);
        let hashes = (2.0 * words - f64::from(self.turns)).max(1.0);
        let share = |count: u32, factor: f64| (f64::from(count) / bytes * factor).min(MOST_SHARE);
        let of_words = |count: u32, factor: f64| f64::from(count) / words * factor;
        let log = |count: u32, usual: f64| f64::from(count).ln_1p() - usual;
        [
            ("length", bytes.ln() - 6.0),
            ("digits", share(self.digits, 10.0)),
            ("mathematical signs", share(self.math_symbols, 20.0)),
            ("signs of code", share(self.code_marks, 20.0)),
            ("question marks", f64::from(self.question_marks.min(5)) / 2.0),
            ("capitals", share(shape.capitals, 10.0)),
            ("length of words", (self.word_bytes as f64 / words - 4.5) / 1.5),
            ("line feeds", log(shape.line_feeds, 1.5)),
            ("beyond ASCII", share(self.non_ascii, 10.0)),
            ("commas and stops", share(shape.stops, 30.0)),
            ("length of the end", log(shape.last_lines, 4.0)),
            ("distinct words", (f64::from(self.distinct) / hashes).min(1.0) * 2.0),
            ("long words", of_words(shape.long_words, 5.0)),
            ("short words", of_words(shape.short_words, 4.0) - 1.5),
            ("very long words", of_words(shape.very_long_words, 10.0)),
            ("single letters", of_words(shape.single_letters, 5.0)),
            ("longest line", log(shape.longest_line, 4.5)),
            ("mean line", log(shape.mean_line, 3.5)),
            ("first line", log(shape.first_line, 4.5)),
            ("median line", log(shape.median_line, 3.0)),
            ("answer length", f64::from(self.answer_tokens).ln_1p() / 3.0),
            ("JSON Schema", f64::from(u8::from(self.json_schema))),
            ("turns", f64::from(self.turns.max(1)).ln()),
        ]
    }

    fn fine(&self) -> [(&'static str, f64); FINE] {
        let words = f64::from(self.words).max(1.0);
        let shape = &self.shape;
        [
            ("capitalised words", f64::from(shape.capitalised_words) / words * 4.0 - 1.0),
            ("numbers", f64::from(shape.numbers).ln_1p()),
            ("share of numbers", f64::from(shape.numbers) / words * 5.0),
            ("words in capitals", f64::from(shape.shouted_words).ln_1p()),
            ("years", f64::from(shape.years).ln_1p()),
        ]
    }

    /// How many words of each kind there are, and which share.
    fn kinds(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let words = f64::from(self.words).max(1.0);
        let counts =
            WORD_KINDS.iter().zip(self.shape.kinds).map(|((name, _), count)| (*name, f64::from(count)));
        counts.flat_map(move |(name, count)| {
            [(name, count.ln_1p()), (name, (count / words * 10.0).min(MOST_SHARE))]
        })
    }
}
