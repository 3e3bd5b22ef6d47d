//! Lone first names, where the words around them speak of a real person: a judgement, an employer, a list of people.
//!
//! Half of all school exercises have a lone first name, so it takes more than one: what exercises never say.

use super::names::Names;
use super::words::{Gap, Shape, Word};

/// The word behind a person who is spoken of from word `first` on.
pub(super) fn spoken_of(
    text: &str,
    words: &[Word<'_>],
    first: usize,
    names: &Names,
    buffer: &mut String,
) -> Option<usize> {
    let word = &words[first];
    match word.shape {
        Shape::Capital | Shape::Lower => {}
        _ => return None,
    }
    if word.text == "says" {
        return quoted(text, words, first, names, buffer);
    }
    if word.text == "m" && word.gap == Gap::Apostrophe {
        return relative(words, first, names, buffer);
    }
    let is_small = word.shape == Shape::Lower;
    if word.text.len() < 3
        || is_small && !may_be_name(words, first)
        || !names.lists.is_first(word.text, buffer)
    {
        return None;
    }
    let is_person = is_judged(words, first)
        || is_attribute_of(words, first)
        || is_employed(words, first)
        || is_called(text, words, first);
    if is_person {
        return Some(first + 1);
    }
    surname_in_small_letters(words, first, names, buffer).or_else(|| listed(words, first, names, buffer))
}

/// Whether the words beside one in small letters leave it a chance to be a name, which spares most look-ups: a short word
/// behind `of`, a list, a verb of belonging, or a long word that may be a surname.
fn may_be_name(words: &[Word<'_>], name: usize) -> bool {
    let Some(next) = words.get(name + 1) else { return name > 0 && words[name - 1].text == "of" };
    let is_long = words[name].text.len() > 3 && (next.text.len() > 3 || next.text.len() == 1);
    next.gap == Gap::Comma
        || matches!(next.text, "is" | "was" | "seems" | "works" | "worked")
        || name > 0 && matches!(words[name - 1].text, "of" | "is" | "was")
        || is_long && next.gap == Gap::Space && next.shape == Shape::Lower
}

/// `Irene is very reliable`, `Why is Irene so impulsive?`
fn is_judged(words: &[Word<'_>], name: usize) -> bool {
    let Some(next) = words.get(name + 1).filter(|next| next.gap == Gap::Space) else { return false };
    let is_verb = |word: &Word<'_>| matches!(word.text, "is" | "was" | "Is" | "Was" | "seems");
    let is_degree = |word: Option<&Word<'_>>| word.is_some_and(|word| DEGREES.contains(&word.text));
    is_verb(next) && is_degree(words.get(name + 2))
        || name > 0 && is_verb(&words[name - 1]) && DEGREES.contains(&next.text)
}

const DEGREES: [&str; 7] = ["so", "very", "too", "really", "extremely", "rather", "terribly"];

/// `the diagnosis of irene`.
fn is_attribute_of(words: &[Word<'_>], name: usize) -> bool {
    let Some([thing, of]) = name.checked_sub(2).map(|from| &words[from..name]) else { return false };
    of.text == "of"
        && of.gap == Gap::Space
        && words[name].gap == Gap::Space
        && ATTRIBUTES.contains(&thing.text)
}

#[rustfmt::skip]
const ATTRIBUTES: [&str; 18] = [
    "gender", "diagnosis", "salary", "health", "religion", "sexuality", "pregnancy", "illness", "divorce",
    "medication", "dismissal", "resignation", "behaviour", "behavior", "custody", "complaint", "arrest", "treatment",
];

/// `Irene works for Acme`, `irene is from stillwater labs inc`.
fn is_employed(words: &[Word<'_>], name: usize) -> bool {
    let Some([verb, preposition, employer, ..]) = words.get(name + 1..) else { return false };
    let is_verb =
        matches!((verb.text, preposition.text), ("is", "from") | ("works" | "worked", "at" | "for" | "in"));
    let is_named = employer.is_capitalised() || {
        let behind = words[name + 3..].iter().take(5);
        behind.take_while(|word| word.gap == Gap::Space).any(|word| COMPANY_FORMS.contains(&word.text))
    };
    is_verb && verb.gap == Gap::Space && employer.gap == Gap::Space && is_named
}

const COMPANY_FORMS: [&str; 7] = ["inc", "ltd", "llc", "gmbh", "corp", "plc", "ag"];

/// `Don't be late, Irene!`
fn is_called(text: &str, words: &[Word<'_>], name: usize) -> bool {
    let word = &words[name];
    let ends = text[word.start + word.text.len()..].starts_with(['!', '?']);
    // Three words before make it a sentence and not a list or a title.
    ends && word.shape == Shape::Capital
        && word.gap == Gap::Comma
        && name >= 3
        && words[name - 3..name].iter().all(|before| before.shape != Shape::Capital || before.opens_line())
        && words[name - 2..name].iter().all(|before| matches!(before.gap, Gap::Space | Gap::Apostrophe))
}

/// `says Becker` behind a quotation. Stories write `said`.
fn quoted(text: &str, words: &[Word<'_>], says: usize, names: &Names, buffer: &mut String) -> Option<usize> {
    let name = words.get(says + 1)?;
    let is_behind_quote = text[..words[says].start].trim_end().ends_with('"');
    let is_name = name.shape == Shape::Capital && name.gap == Gap::Space && name.text.len() > 2;
    (is_behind_quote && is_name && !names.is_never(name, buffer)).then_some(says + 2)
}

/// `I'm Irene's daughter`.
fn relative(words: &[Word<'_>], am: usize, names: &Names, buffer: &mut String) -> Option<usize> {
    let [name, owns, thing, ..] = words.get(am + 1..)? else { return None };
    let is_relative = owns.text == "s" && owns.gap == Gap::Apostrophe && RELATIVES.contains(&thing.text);
    (is_relative && name.text.len() > 2 && names.lists.is_first(name.text, buffer)).then_some(am + 4)
}

#[rustfmt::skip]
const RELATIVES: [&str; 16] = [
    "daughter", "son", "wife", "husband", "mother", "father", "brother", "sister", "mom", "mum", "dad", "boss",
    "friend", "neighbour", "neighbor", "partner",
];

/// `irene kowalska`, `codey m ross`: both on the lists, and neither an English word.
fn surname_in_small_letters(
    words: &[Word<'_>],
    first: usize,
    names: &Names,
    buffer: &mut String,
) -> Option<usize> {
    let is_small = |word: &&Word<'_>| word.shape == Shape::Lower && word.gap == Gap::Space;
    let initial = words.get(first + 1).filter(is_small).filter(|word| word.text.len() == 1);
    let last = first + 1 + usize::from(initial.is_some());
    let surname = words.get(last).filter(is_small)?;
    let is_long = words[first].text.len() > 3 && surname.text.len() > 3;
    let is_name =
        words[first].shape == Shape::Lower && is_long && names.lists.is_surname(surname.text, buffer);
    (is_name && !names.lists.is_public(words[first].text, surname.text, buffer)).then_some(last + 1)
}

/// Names one behind the other that make a list of people. Puzzles make do with four.
const LISTED: usize = 5;

/// `Irene, Tomás, Mette, Yusuf and Ada`.
fn listed(words: &[Word<'_>], first: usize, names: &Names, buffer: &mut String) -> Option<usize> {
    let mut found = 1;
    let mut next = first + 1;
    while found < LISTED {
        let word = words.get(next)?;
        let is_and = matches!(word.text, "and" | "or") && matches!(word.gap, Gap::Space | Gap::Comma);
        let name = if is_and { words.get(next + 1)? } else { word };
        let is_linked = if is_and { name.gap == Gap::Space } else { name.gap == Gap::Comma };
        if !is_linked || !names.lists.is_first(name.text, buffer) {
            return None;
        }
        found += 1;
        next += 1 + usize::from(is_and);
    }
    Some(next)
}
