//! Person names, as far as light rules get: titles, introductions, common first names, and surnames by their ending.

use std::collections::HashSet;

use super::cues::{Context, Contexts};
use super::first_names::{first_names, plain};
use super::kind::{Kind, Tally};
use super::words::{Gap, Shape, Word};

/// The word lists, built once.
#[derive(Debug)]
pub(super) struct Names {
    first: HashSet<&'static str>,
    never: HashSet<&'static str>,
}

/// Capitalised words that are no part of a name: function words, days, titles of places and things.
const NEVER: &str = "
the a an and or but of in on at to from for with by as if is are was were be been it its he she they we you i his her
their our your my this that these those there here who whom whose what when where why how which while after before
during since because although though however therefore thus then also not no yes all any some most many both each
every other another one two three four five six seven eight nine ten first second third last next new old good best
great high low big small more less very can could will would shall should may might must do does did done have has
had let make made take get go see use used give given write read find explain describe list name answer question
option choice true false none correct wrong consider suppose assume according based following note please can
monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
october november december north south east west northern southern eastern western central upper lower
street road avenue lane drive court square park garden bridge river lake mountain mount island islands city town
village county state states country republic kingdom empire union nation nations university college school
institute academy hospital church cathedral museum library station airport hotel theatre center centre house hall
company corporation corp inc ltd llc group bank fund association society foundation committee council commission
board department ministry office agency court act law rule code bill amendment constitution treaty convention
congress senate parliament government party president minister king queen prince princess lord lady pope bishop
general colonel captain major sergeant judge justice professor doctor dr mr mrs ms miss sir madam saint st
war battle revolution movement theory theorem law principle effect method model test index scale equation function
rule paradox dilemma process system theorem lemma disease syndrome virus cell acid gas bay coast sea ocean
american british english french german italian spanish chinese japanese russian indian african european asian
canadian mexican dutch greek roman jewish christian muslim catholic protestant buddhist islamic latin
america britain england france germany italy spain china japan russia india africa europe asia canada mexico
scenario statement passage figure table section part chapter appendix vitamin type class grade team box step
case unit form plan group person player event vs versus etc fig prize award cup league series book novel song film
";

impl Names {
    pub(super) fn new() -> Self {
        Self { first: first_names(), never: NEVER.split_whitespace().collect() }
    }

    /// Counts names in `words`. A name counts once, however many rules see it.
    pub(super) fn count(&self, text: &str, words: &[Word<'_>], contexts: &Contexts, tally: &mut Tally) {
        let mut buffer = String::new();
        let mut next = 0;
        while next < words.len() {
            let end =
                self.full_name(words, next, &mut buffer).or_else(|| self.addressed(words, next, &mut buffer));
            if end.is_some() {
                tally.add(Kind::PersonName);
            }
            next = end.unwrap_or(next + 1);
        }
        for context in [Context::NameFollows, Context::PersonWord] {
            for place in contexts.places(context) {
                if self.is_introduced(text, words, &place, context, &mut buffer) {
                    tally.add(Kind::PersonName);
                }
            }
        }
    }

    /// A full name from word `first` on; the word behind it.
    fn full_name(&self, words: &[Word<'_>], first: usize, buffer: &mut String) -> Option<usize> {
        let given = &words[first];
        if !given.is_capitalised() || given.text.len() < 2 || self.is_never(given, buffer) {
            return None;
        }
        plain(given.text, buffer);
        let is_known = self.first.contains(buffer.as_str());
        let initial =
            words.get(first + 1).filter(|word| word.shape == Shape::Initial && word.gap == Gap::Space);
        let last = skip_particles(words, first + 1 + usize::from(initial.is_some()));
        let surname = words.get(last)?;
        let is_dotted = initial.is_some() && surname.gap == Gap::Dot;
        let is_next = surname.gap == Gap::Space || is_dotted;
        if !is_next
            || surname.shape != given.shape
            || surname.text.len() < 2
            || self.is_never(surname, buffer)
        {
            return None;
        }
        let is_name = is_known
            || is_dotted && surname.text.len() > 2
            || given.shape == Shape::Capital
                && (ends_like_a_surname(surname.text, buffer) || is_foreign(given, surname));
        is_name.then_some(last + 1)
    }

    /// `Anna, can you …` at the head of a line, and `Anna's phone number`.
    fn addressed(&self, words: &[Word<'_>], first: usize, buffer: &mut String) -> Option<usize> {
        let [name, next, ..] = words.get(first..)? else { return None };
        if name.shape != Shape::Capital || !matches!(next.gap, Gap::Comma | Gap::Apostrophe) {
            return None;
        }
        plain(name.text, buffer);
        if !self.first.contains(buffer.as_str()) {
            return None;
        }
        let is_spoken_to = name.opens_line() && next.gap == Gap::Comma && SPOKEN.contains(&next.text);
        let owns = || words.get(first + 2).is_some_and(|thing| OWNED.contains(&thing.text));
        (is_spoken_to || next.gap == Gap::Apostrophe && next.text == "s" && owns()).then_some(first + 2)
    }

    /// Whether a name follows the words at `place`.
    fn is_introduced(
        &self,
        text: &str,
        words: &[Word<'_>],
        place: &std::ops::Range<usize>,
        context: Context,
        buffer: &mut String,
    ) -> bool {
        let index = words.partition_point(|word| word.start < place.end);
        let Some(name) = words.get(index) else { return false };
        let phrase = text[place.clone()].to_ascii_lowercase();
        if name.start > place.end + MAX_GAP_BYTES || name.gap == Gap::Paragraph || self.is_never(name, buffer)
        {
            return false;
        }
        let is_title = HONORIFICS.contains(&phrase.as_str());
        if is_title {
            return name.shape == Shape::Capital
                && name.text.len() > 1
                && matches!(name.gap, Gap::Space | Gap::Dot);
        }
        if context == Context::NameFollows && !phrase.starts_with("name") && !phrase.contains("your") {
            return name.shape != Shape::Number && !self.is_never(name, buffer);
        }
        plain(name.text, buffer);
        let is_known = name.is_capitalised() && self.first.contains(buffer.as_str());
        let speaks_of_a_person =
            context == Context::NameFollows || matches!(phrase.as_str(), "i'm" | "i am" | "this is");
        is_known || speaks_of_a_person && self.is_two_capitals(words, index, buffer)
    }

    fn is_two_capitals(&self, words: &[Word<'_>], index: usize, buffer: &mut String) -> bool {
        let Some([first, second, ..]) = words.get(index..) else { return false };
        first.shape == Shape::Capital
            && second.gap == Gap::Space
            && matches!(second.shape, Shape::Capital | Shape::Initial)
            && !self.is_never(second, buffer)
    }

    fn is_never(&self, word: &Word<'_>, buffer: &mut String) -> bool {
        buffer.clear();
        buffer.extend(word.text.chars().flat_map(char::to_lowercase));
        self.never.contains(buffer.as_str())
    }
}

/// Titles that a surname follows.
#[rustfmt::skip]
const HONORIFICS: [&str; 14] = [
    "mr", "mrs", "ms", "mx", "miss", "dr", "prof", "sir", "herr", "frau", "monsieur", "madame", "señor",
    "señora",
];

/// How far behind an introduction the name may start, bytes: a quote, a bracket, a line end and its indent.
const MAX_GAP_BYTES: usize = 4;

/// What follows a name that somebody is spoken to by.
#[rustfmt::skip]
const SPOKEN: [&str; 16] = [
    "can", "could", "please", "will", "would", "thanks", "thank", "I", "you", "we", "are", "did", "do",
    "have", "when", "what",
];

/// What belongs to a person and to a record about one.
#[rustfmt::skip]
const OWNED: [&str; 16] = [
    "address", "phone", "number", "email", "account", "salary", "diagnosis", "birthday", "password",
    "passport", "medical", "record", "records", "prescription", "contract", "performance",
];

#[rustfmt::skip]
const PARTICLES: [&str; 14] =
    [
    "de", "da", "di", "do", "dos", "del", "della", "van", "von", "der", "den", "bin", "al", "la",
];

fn skip_particles(words: &[Word<'_>], from: usize) -> usize {
    let is_particle = |word: &&Word<'_>| {
        word.shape == Shape::Lower && word.gap == Gap::Space && PARTICLES.contains(&word.text)
    };
    from + words.iter().skip(from).take(2).take_while(is_particle).count()
}

/// Endings that surnames have and other capitalised words in English text seldom do.
#[rustfmt::skip]
const SURNAME_ENDINGS: &[&str] = &[
    "sson", "nson", "rson", "lson", "dson", "dottir", "ova", "owa", "ovic", "evic", "avic", "ovich",
    "evich", "enko", "chuk", "czyk", "wicz", "owski", "ewski", "inski", "ynski", "ska", "skaya", "sky",
    "skij", "escu", "eanu", "oglu", "opoulos", "idis", "akis", "ellis", "shvili", "adze", "quist", "qvist",
    "strom", "nen", "ssen", "rsen", "lsen", "nsen", "ksen", "dsen", "guez", "ndez", "nchez", "iev", "yev",
    "chev", "rov", "dov", "nov", "lov", "mov", "sov", "tov", "kov", "zov", "idze", "mann", "berg",
];

/// Words with such an ending that are something else.
#[rustfmt::skip]
const NOT_SURNAMES: &[&str] = &[
    "person", "alaska", "nebraska", "casanova", "villanova", "risky", "whisky", "sky", "supernova", "nova",
    "salesperson", "linen", "chairperson", "iceberg", "nuremberg", "heidelberg", "johannesburg",
];

fn ends_like_a_surname(word: &str, buffer: &mut String) -> bool {
    plain(word, buffer);
    let has_ending = |ending: &str| buffer.len() > ending.len() + 1 && buffer.ends_with(ending);
    SURNAME_ENDINGS.iter().any(|ending| has_ending(ending)) && !NOT_SURNAMES.contains(&buffer.as_str())
}

/// Two capitalised words with a letter that neither English nor, among nouns, German or French writes: as good as
/// always a name of a person or a place.
fn is_foreign(given: &Word<'_>, surname: &Word<'_>) -> bool {
    let is_rare = |letter: char| {
        let is_common =
            matches!(letter.to_lowercase().next(), Some('ä' | 'ö' | 'ü' | 'ß' | 'é' | 'è' | 'à' | 'ê' | 'ç'));
        matches!(letter, '\u{c0}'..='\u{24f}') && !is_common
    };
    [given, surname].iter().any(|word| word.text.chars().any(is_rare))
}
