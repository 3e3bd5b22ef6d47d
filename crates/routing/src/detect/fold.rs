//! Undoes disguises: full-width and mathematical letters, foreign digits, invisible characters, odd spaces and dashes.

use std::borrow::Cow;

/// `text` as the detectors read it. ASCII is returned as it is.
///
/// The part of NFKC (Unicode annex 15) that maps to ASCII letters, digits and punctuation, decimal digits of other
/// scripts as ASCII digits, and without zero-width and combining characters. Look-alike letters of other alphabets
/// are left alone.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let Some(first) = text.char_indices().find(|(_, letter)| folded(*letter) != Some(*letter)) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first.0]);
    out.extend(text[first.0..].chars().filter_map(folded));
    Cow::Owned(out)
}

/// What stands for `letter`; `None` where it is invisible.
fn folded(letter: char) -> Option<char> {
    let code = u32::from(letter);
    if code < 0x80 {
        return Some(letter);
    }
    if is_invisible(code) {
        return None;
    }
    Some(as_ascii(code).map_or(letter, char::from))
}

/// Soft hyphen, combining marks, zero-width and direction marks, variation selectors, byte-order mark, tags.
fn is_invisible(code: u32) -> bool {
    matches!(
        code,
        0xad | 0x300..=0x36f
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xe0000..=0xe01ef
    )
}

fn as_ascii(code: u32) -> Option<u8> {
    let at = |base: u8, offset: u32| u8::try_from(offset).ok().map(|offset| base + offset);
    match code {
        0xff01..=0xff5e => at(b'!', code - 0xff01),
        0xa0 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Some(b' '),
        0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 => Some(b'-'),
        0x2018 | 0x2019 | 0x201b => Some(b'\''),
        0x201c | 0x201d => Some(b'"'),
        0x2024 | 0x3002 | 0xfe52 | 0xff61 => Some(b'.'),
        0x2044 | 0x2215 => Some(b'/'),
        0xfe55 | 0x2236 => Some(b':'),
        0xfe6b => Some(b'@'),
        0x2028 | 0x2029 => Some(b'\n'),
        0x24b6..=0x24cf => at(b'A', code - 0x24b6),
        0x24d0..=0x24e9 => at(b'a', code - 0x24d0),
        0x1d400..=0x1d6a3 => mathematical_letter(code - 0x1d400),
        0x1d7ce..=0x1d7ff => at(b'0', (code - 0x1d7ce) % 10),
        _ => foreign_digit(code),
    }
}

/// The mathematical alphabets stand one behind the other, 26 capitals and 26 small letters each.
fn mathematical_letter(offset: u32) -> Option<u8> {
    let place = u8::try_from(offset % 52).ok()?;
    Some(if place < 26 { b'A' + place } else { b'a' + place - 26 })
}

/// First digits of the scripts whose digits people type, each followed by the other nine.
const ZEROS: [u32; 11] = [0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xbe6, 0xe50, 0x17e0, 0x1fbf0];

fn foreign_digit(code: u32) -> Option<u8> {
    let zero = ZEROS.into_iter().find(|zero| (*zero..*zero + 10).contains(&code))?;
    u8::try_from(code - zero).ok().map(|digit| b'0' + digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_are_undone_and_plain_text_is_not_copied() {
        assert!(matches!(fold("plain"), Cow::Borrowed("plain")));
        assert!(matches!(fold("größer"), Cow::Borrowed("größer")));
        assert_eq!(fold("４１１１\u{200b}１１"), "411111");
        assert_eq!(fold("ｊｏｈｎ＠ｅｘａｍｐｌｅ．ｃｏｍ"), "john@example.com");
        assert_eq!(fold("𝐀𝗓𝟘𝟿"), "Az09");
        assert_eq!(fold("٠١٢ ९"), "012 9");
        assert_eq!(fold("e\u{301}—x\u{a0}y"), "e-x y");
    }
}
