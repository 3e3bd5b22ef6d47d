//! Runs of digits and how they are linked, the raw material of every number detector.

use std::ops::Range;

use super::kind::Kind;

/// A kind, and the group behind its number.
pub(super) type Found = Option<(Kind, usize)>;

/// One run of digits.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Where it stands, bytes.
    pub(super) place: Range<usize>,
    /// How it hangs on the run before it.
    pub(super) link: Link,
}

/// What stands between two runs of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// More than a separator, or the start of the text.
    None,
    Space,
    Hyphen,
    Dot,
    Slash,
    /// A bracket, as in `(0)69`.
    Bracket,
}

/// All runs of digits in a text.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) list: Vec<Group>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let mut list: Vec<Group> = Vec::new();
        let mut at = 0;
        while let Some(ahead) = bytes[at..].iter().position(u8::is_ascii_digit) {
            let start = at + ahead;
            let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let link = if list.is_empty() { Link::None } else { link(&bytes[at..start]) };
            list.push(Group { place: start..start + length, link });
            at = start + length;
        }
        Self { bytes, list }
    }

    /// Values of the digits in these groups, at most [`MAX_DIGITS`]; more come back as none.
    pub(super) fn digits(&self, groups: Range<usize>) -> Digits {
        let mut digits = Digits { values: [0; MAX_DIGITS], length: 0 };
        for group in &self.list[groups] {
            if digits.length + group.place.len() > MAX_DIGITS {
                digits.length = 0;
                return digits;
            }
            for byte in &self.bytes[group.place.clone()] {
                digits.values[digits.length] = byte - b'0';
                digits.length += 1;
            }
        }
        digits
    }

    /// Lengths of the groups that hang together from `first` on, at most [`MAX_CHAIN`].
    pub(super) fn chain(&self, first: usize) -> Range<usize> {
        let more =
            self.list[first + 1..].iter().take(MAX_CHAIN - 1).take_while(|group| group.link != Link::None);
        first..first + 1 + more.count()
    }

    /// Whether the groups have these lengths and hang together by `link`.
    pub(super) fn has_shape(&self, first: usize, lengths: &[usize], link: Link) -> bool {
        let Some(groups) = self.list.get(first..first + lengths.len()) else { return false };
        groups.iter().zip(lengths).all(|(group, length)| group.place.len() == *length)
            && groups[1..].iter().all(|group| group.link == link)
    }

    pub(super) fn length(&self, group: usize) -> usize {
        self.list[group].place.len()
    }

    pub(super) fn link(&self, group: usize) -> Link {
        self.list.get(group).map_or(Link::None, |group| group.link)
    }

    pub(super) fn place(&self, groups: &Range<usize>) -> Range<usize> {
        self.list[groups.start].place.start..self.list[groups.end - 1].place.end
    }

    /// The byte ahead of `place`; a space at the start of the text.
    pub(super) fn before(&self, place: usize) -> u8 {
        place.checked_sub(1).map_or(b' ', |index| self.bytes[index])
    }

    /// The byte behind `place`; a space at the end of the text.
    pub(super) fn after(&self, place: usize) -> u8 {
        self.bytes.get(place).copied().unwrap_or(b' ')
    }

    /// Whether neither a letter nor `_` touches the place.
    pub(super) fn stands_alone(&self, place: &Range<usize>) -> bool {
        let is_word = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        !is_word(self.before(place.start)) && !is_word(self.after(place.end))
    }
}

/// Longest number that a detector knows, digits; one more than a card's, so that longer ones are seen as longer.
pub(super) const MAX_DIGITS: usize = 20;

/// Most groups that one number is written in.
pub(super) const MAX_CHAIN: usize = MAX_DIGITS;

/// The digits of one number.
#[derive(Debug)]
pub(super) struct Digits {
    values: [u8; MAX_DIGITS],
    length: usize,
}

impl std::ops::Deref for Digits {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.values[..self.length]
    }
}

/// Longest separator inside a number, bytes: ` - ` and `) (`.
const MAX_SEPARATOR_BYTES: usize = 3;

fn link(between: &[u8]) -> Link {
    if between.len() > MAX_SEPARATOR_BYTES {
        return Link::None;
    }
    let mut found = Link::Space;
    for byte in between {
        let link = match byte {
            b' ' => Link::Space,
            b'-' => Link::Hyphen,
            b'.' => Link::Dot,
            b'/' => Link::Slash,
            b'(' | b')' => Link::Bracket,
            _ => return Link::None,
        };
        if found != Link::Bracket && link != Link::Space {
            found = link;
        }
    }
    // A full stop and a space end a sentence.
    if found == Link::Dot && between.len() > 1 { Link::None } else { found }
}
