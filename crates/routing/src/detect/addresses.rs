//! Postal addresses: a number and a street in the word order of several languages, boxes, flats, postal codes.

use super::cues::{Context, Contexts};
use super::kind::{Kind, Tally};
use super::street_words::{
    MONTHS, NOT_IN_STREETS, PLAIN_STREET_WORDS, SMALL_OPENERS, SMALL_TYPES, STATES, STREET_ENDINGS,
    STREET_OPENERS, STREET_WORDS, is_one_of,
};
use super::words::{Gap, Shape, Word};

/// Counts addresses in `words`. The parts of one address (street, flat, postal code) may count each.
pub(super) fn count_addresses(words: &[Word<'_>], contexts: &Contexts, tally: &mut Tally) {
    let (mut next, mut number) = (0, 0);
    while next < words.len() {
        number = number.max(next.saturating_sub(1));
        number += words[number..].iter().take_while(|word| !has_digit(word)).count();
        if number == words.len() {
            break;
        }
        next = next.max(number.saturating_sub(REACH));
        let end = RULES.iter().find_map(|rule| rule(words, next));
        if end.is_some() {
            tally.add(Kind::PostalAddress);
        }
        next = end.unwrap_or(next + 1);
    }
    let named = contexts.places(Context::Address).filter(|place| follows_address(words, place.end)).count();
    (0..named).for_each(|_| tally.add(Kind::PostalAddress));
}

/// How far ahead of the word that a rule starts with its number may stand, words. Where there is none, no rule runs.
const REACH: usize = MAX_STREET_WORDS + 1;

fn has_digit(word: &Word<'_>) -> bool {
    matches!(word.shape, Shape::Number | Shape::Mixed)
}

/// A rule sees the words from an index on, and returns the index behind what it found.
type Rule = fn(&[Word<'_>], usize) -> Option<usize>;

const RULES: [Rule; 7] = [
    number_then_street,
    glued_street_then_number,
    street_word_first,
    flat,
    post_box,
    postal_code,
    number_name_number,
];

/// Most words of a street's name.
const MAX_STREET_WORDS: usize = 5;

/// `221b Baker Street`, `45 old mill road`.
fn number_then_street(words: &[Word<'_>], first: usize) -> Option<usize> {
    let number = &words[first];
    if !is_house_number(number) {
        return None;
    }
    let mut all_capital = true;
    for (place, word) in words.iter().enumerate().skip(first + 1).take(MAX_STREET_WORDS) {
        let is_abbreviated = word.gap == Gap::Dot && place > first + 1;
        if !matches!(word.gap, Gap::Space | Gap::Hyphen | Gap::Apostrophe) && !is_abbreviated {
            return None;
        }
        if has_digit(word) {
            continue;
        }
        let is_capital = word.is_capitalised();
        let has_name = place > first + 1;
        let ends_street = is_capital && all_capital && is_one_of(STREET_WORDS, word.text)
            || place < first + 4 && is_one_of(PLAIN_STREET_WORDS, word.text);
        if has_name && ends_street {
            return Some(place + 1);
        }
        if is_one_of(NOT_IN_STREETS, word.text) || is_one_of(MONTHS, word.text) {
            return None;
        }
        all_capital &= is_capital || word.shape == Shape::Initial;
        if !all_capital && place > first + 2 {
            return None;
        }
    }
    None
}

/// Up to five digits, maybe with a letter.
fn is_house_number(word: &Word<'_>) -> bool {
    match word.shape {
        Shape::Number => word.text.len() <= 5,
        Shape::Mixed => {
            let digits = word.text.bytes().take_while(u8::is_ascii_digit).count();
            (1..=4).contains(&digits) && word.text.len() == digits + 1
        }
        _ => false,
    }
}

/// `Hauptstraße 5`, `Ringvej 144`, `Brucker Bundesstrasse 31`.
fn glued_street_then_number(words: &[Word<'_>], first: usize) -> Option<usize> {
    let [street, number, ..] = words.get(first..)? else { return None };
    if !is_house_number(number) {
        return None;
    }
    let is_street = street.shape == Shape::Capital
        && street.text.len() > 6
        && STREET_ENDINGS.iter().any(|ending| street.text.ends_with(ending));
    let has_type = || {
        SMALL_TYPES.contains(&street.text)
            && street.gap == Gap::Space
            && first
                .checked_sub(1)
                .is_some_and(|before| words[before].is_capitalised() || words[before].shape == Shape::Lower)
    };
    let is_next = number.gap == Gap::Space || number.gap == Gap::Dot && street.text.len() < 3;
    (is_next && (is_street || has_type())).then_some(first + 2)
}

/// `Rua Mina 50`, `12 Rue de la Paix`, `ul. Słowicza 10`.
fn street_word_first(words: &[Word<'_>], first: usize) -> Option<usize> {
    let opener = &words[first];
    let is_opener = match opener.shape {
        Shape::Lower => SMALL_OPENERS.contains(&opener.text),
        Shape::Capital => STREET_OPENERS.contains(&opener.text),
        _ => false,
    };
    if !is_opener {
        return None;
    }
    let mut has_name = false;
    for (place, word) in words.iter().enumerate().skip(first + 1).take(MAX_STREET_WORDS) {
        let is_next = matches!(word.gap, Gap::Space | Gap::Hyphen | Gap::Apostrophe)
            || word.gap == Gap::Dot && (place == first + 1 || word.is_capitalised());
        if !is_next {
            break;
        }
        if has_name && is_house_number(word) {
            return Some(place + 1);
        }
        let is_particle = word.shape == Shape::Lower && word.text.len() <= 4;
        if !word.is_capitalised()
            && !is_particle
            && word.shape != Shape::Number
            && word.shape != Shape::Initial
        {
            break;
        }
        has_name |= word.is_capitalised();
    }
    let number = first.checked_sub(1).map(|before| &words[before])?;
    (has_name
        && opener.text != "via"
        && is_house_number(number)
        && matches!(opener.gap, Gap::Space | Gap::Comma))
    .then_some(first + 2)
}

/// `Apt. 864`, `Suite 237`, `flat 12`.
fn flat(words: &[Word<'_>], first: usize) -> Option<usize> {
    let [unit, number, ..] = words.get(first..)? else { return None };
    if !is_house_number(number) {
        return None;
    }
    let is_unit = match unit.text.to_ascii_lowercase().as_str() {
        "apt" | "apartment" => true,
        "suite" | "ste" => number.text.len() > 1 + usize::from(unit.shape == Shape::Lower),
        "flat" => unit.shape == Shape::Capital,
        _ => false,
    };
    (is_unit && matches!(number.gap, Gap::Space | Gap::Dot)).then_some(first + 2)
}

/// `P.O. Box 12`, `PO Box 12`, `Postbox 21`, `Unit 4719 Box 7394`, `APO AE 85103`.
fn post_box(words: &[Word<'_>], first: usize) -> Option<usize> {
    let [word, next, ..] = words.get(first..)? else { return None };
    if next.gap != Gap::Space {
        return None;
    }
    let before = first.checked_sub(1).map(|before| &words[before]);
    let is_military =
        is_one_of(&["apo", "fpo", "dpo"], word.text) && is_one_of(&["aa", "ae", "ap"], next.text);
    let is_post = |before: &Word<'_>| {
        let is_unit = before.shape == Shape::Number && matches!(word.gap, Gap::Space | Gap::Comma);
        is_unit || is_one_of(&["o", "po", "post", "office"], before.text)
    };
    let is_box = || {
        is_one_of(&["postbox", "postfach", "pobox"], word.text)
            || word.text.eq_ignore_ascii_case("box") && before.is_some_and(is_post)
    };
    (is_military || next.is_number(1..=6) && is_box()).then_some(first + 2)
}

/// `CA 90210`, `SW1A 1AA`, `K1A 0B1`.
fn postal_code(words: &[Word<'_>], first: usize) -> Option<usize> {
    let [head, tail, ..] = words.get(first..)? else { return None };
    if !matches!(tail.gap, Gap::Space | Gap::Line) {
        return None;
    }
    let is_state = tail.is_number(5..=5) && head.shape == Shape::Upper && STATES.contains(&head.text);
    let is_split = head.shape == Shape::Mixed && tail.shape == Shape::Mixed && tail.gap == Gap::Space;
    let is_british = || {
        matches!(pattern(head.text), "A0" | "A00" | "AA0" | "AA00" | "A0A" | "AA0A")
            && pattern(tail.text) == "0AA"
    };
    let is_canadian = || pattern(head.text) == "A0A" && pattern(tail.text) == "0A0";
    (is_state || is_split && (is_british() || is_canadian())).then_some(first + 2)
}

/// Capitals as `A`, digits as `0`; empty for anything else or longer than four.
fn pattern(text: &str) -> &'static str {
    const PATTERNS: [&str; 8] = ["A0", "A00", "AA0", "AA00", "A0A", "AA0A", "0AA", "0A0"];
    let fits = |pattern: &&str| {
        let same = |(byte, shape): (u8, u8)| match shape {
            b'A' => byte.is_ascii_uppercase(),
            _ => byte.is_ascii_digit(),
        };
        pattern.len() == text.len() && text.bytes().zip(pattern.bytes()).all(same)
    };
    PATTERNS.into_iter().find(fits).unwrap_or_default()
}

/// A number, a name and a number on a line or between commas: `28030 Edeby 55`.
fn number_name_number(words: &[Word<'_>], first: usize) -> Option<usize> {
    let number = &words[first];
    let opens_part = number.opens_line() || number.gap == Gap::Comma;
    if !opens_part || !number.is_number(2..=5) {
        return None;
    }
    let mut has_name = false;
    for (place, word) in words.iter().enumerate().skip(first + 1).take(MAX_STREET_WORDS) {
        if !matches!(word.gap, Gap::Space | Gap::Dot | Gap::Hyphen) || is_one_of(MONTHS, word.text) {
            return None;
        }
        let closes_part = words.get(place + 1).is_none_or(|next| next.opens_line() || next.gap == Gap::Comma);
        if is_house_number(word) && has_name {
            return closes_part.then_some(place + 1);
        }
        if !word.is_capitalised() && word.text.len() > 3 {
            return None;
        }
        has_name |= word.is_capitalised();
    }
    None
}

/// A street's name in small letters: `hersnapvej`, `avenida`.
fn is_small_street(word: &Word<'_>) -> bool {
    let has_ending =
        || word.text.len() > 6 && STREET_ENDINGS.iter().any(|ending| word.text.ends_with(ending));
    word.shape == Shape::Lower && (SMALL_OPENERS.contains(&word.text) && word.text != "via" || has_ending())
}

fn is_year(word: &Word<'_>) -> bool {
    word.is_number(4..=4) && (word.text.starts_with("19") || word.text.starts_with("20"))
}

/// How many words behind `lives at` and the like an address may take to show.
const CONTEXT_WORDS: usize = 14;

/// Whether a number and a capitalised word stand side by side soon behind `place`.
fn follows_address(words: &[Word<'_>], place: usize) -> bool {
    let first = words.partition_point(|word| word.start < place);
    let near = &words[first..words.len().min(first + CONTEXT_WORDS)];
    let end = near.iter().position(|word| word.gap == Gap::Paragraph).unwrap_or(near.len());
    near[..end].windows(2).any(|pair| {
        let [left, right] = pair else { return false };
        let is_name = |word: &Word<'_>| word.shape == Shape::Capital && !is_one_of(MONTHS, word.text);
        let is_number = |word: &Word<'_>| is_house_number(word) && !is_year(word);
        let is_street = |word: &Word<'_>| is_name(word) || is_small_street(word);
        let in_order =
            is_number(left) && left.text.len() > 1 && is_street(right) || is_street(left) && is_number(right);
        right.gap == Gap::Space && in_order
    })
}
