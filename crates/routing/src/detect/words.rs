//! Splits a text into words with their shape and what stands between, for the detectors of names and addresses.

/// One run of letters and digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Where it starts, bytes.
    pub(super) start: usize,
    pub(super) shape: Shape,
    /// What stands between the word before and this one.
    pub(super) gap: Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Lower,
    /// A capital, and small letters behind it.
    Capital,
    /// Two capitals or more, and nothing else.
    Upper,
    /// A single capital.
    Initial,
    /// Digits.
    Number,
    /// Letters and digits.
    Mixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// Spaces.
    Space,
    /// A full stop, and maybe a space.
    Dot,
    Comma,
    Hyphen,
    Apostrophe,
    /// A line end, with whatever signs and spaces around it.
    Line,
    /// A blank line, or the start of the text.
    Paragraph,
    Other,
}

impl Word<'_> {
    /// Whether it starts with a capital and may be part of a name.
    pub(super) fn is_capitalised(&self) -> bool {
        matches!(self.shape, Shape::Capital | Shape::Upper)
    }

    /// Whether it stands first on its line.
    pub(super) fn opens_line(&self) -> bool {
        matches!(self.gap, Gap::Line | Gap::Paragraph)
    }

    pub(super) fn is_number(&self, digits: std::ops::RangeInclusive<usize>) -> bool {
        self.shape == Shape::Number && digits.contains(&self.text.len())
    }
}

/// The words of `text`, in order.
pub(super) fn split(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::with_capacity(text.len() / 5);
    let mut end = 0;
    let mut started: Option<usize> = None;
    for (index, letter) in text.char_indices() {
        if letter.is_alphanumeric() {
            started.get_or_insert(index);
        } else if let Some(start) = started.take() {
            words.push(word(text, end, start, index));
            end = index;
        }
    }
    if let Some(start) = started {
        words.push(word(text, end, start, text.len()));
    }
    words
}

fn word(text: &str, last_end: usize, start: usize, end: usize) -> Word<'_> {
    let between = &text.as_bytes()[last_end..start];
    let gap = if last_end == 0 { Gap::Paragraph } else { gap(between) };
    let text = &text[start..end];
    Word { text, start, shape: shape(text), gap }
}

fn shape(text: &str) -> Shape {
    let (mut upper, mut lower, mut digits) = (0, 0, 0);
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits += 1;
        } else if letter.is_uppercase() {
            upper += 1;
        } else {
            lower += 1;
        }
    }
    let starts_upper = text.chars().next().is_some_and(char::is_uppercase);
    match (digits, upper, lower) {
        (1.., 0, 0) => Shape::Number,
        (1.., ..) => Shape::Mixed,
        (0, 1, 0) => Shape::Initial,
        (0, _, 0) => Shape::Upper,
        _ if starts_upper => Shape::Capital,
        _ => Shape::Lower,
    }
}

fn gap(between: &[u8]) -> Gap {
    if between.contains(&b'\n') {
        let lines = between.iter().filter(|byte| **byte == b'\n').count();
        return if lines > 1 { Gap::Paragraph } else { Gap::Line };
    }
    match between {
        b" " | b"  " => Gap::Space,
        b"." | b". " => Gap::Dot,
        b"," | b", " => Gap::Comma,
        b"-" => Gap::Hyphen,
        b"'" => Gap::Apostrophe,
        _ => Gap::Other,
    }
}
