//! Person names, as far as light rules get: titles, introductions, common first names, and surnames by their ending.

use super::cues::{Context, Contexts};
use super::kind::{Kind, Tally};
use super::name_lists::{NameLists, WordSet, plain};
use super::spoken_of::spoken_of;
use super::words::{Gap, Shape, Word};

/// The word lists, built once.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) lists: NameLists,
    never: WordSet,
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
investments investment partners capital holdings ventures solutions systems technologies technology consulting
services industries motors airlines studios records entertainment media network networks software labs laboratories
pharmaceuticals insurance financial securities trust enterprises international global stores foods energy
communications design associates advisors brothers sons award awards conference summit festival marathon championship
sao san santa santo los las el unter auf im am zum sur les des rio puerto monte mont port fort cape saint mount new york
solve prove compute calculate implement compare contrast translate summarize summarise rewrite convert create
generate draft edit correct classify identify discuss analyze analyse evaluate prepare suggest recommend teach tell
show help ask build code debug refactor optimize optimise run apply define outline review critique paraphrase
simplify expand shorten extract list rank sort count choose pick select imagine pretend act play compose complete
continue finish fill replace add remove delete update using via like unlike
dear hi hello hey thanks regards sincerely yours ok okay uncle aunt captain granny dow
chile peru brazil argentina colombia venezuela ecuador bolivia cuba haiti panama portugal poland hungary romania
bulgaria serbia croatia austria switzerland belgium netherlands denmark norway sweden finland iceland ireland scotland
wales turkey iran iraq egypt kenya nigeria ghana pakistan bangladesh indonesia vietnam thailand korea australia zealand
emperor empress commissioner senator governor pharaoh sultan chancellor secretary chairman chief director
scenario statement passage figure table section part chapter appendix vitamin type class grade team box step
case unit form plan group person player event vs versus etc fig prize award cup league series book novel song film
";

impl Names {
    pub(super) fn new() -> Self {
        Self { lists: NameLists::new(), never: NEVER.split_whitespace().collect() }
    }

    /// Counts names in `words`. A name counts once, however many rules see it.
    pub(super) fn count(&self, text: &str, words: &[Word<'_>], contexts: &Contexts, tally: &mut Tally) {
        let mut buffer = String::new();
        let mut next = 0;
        while next < words.len() {
            let end = self
                .full_name(words, next, &mut buffer)
                .or_else(|| self.addressed(words, next, &mut buffer))
                .or_else(|| spoken_of(text, words, next, self, &mut buffer));
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
        let is_name = self.lists.is_first(given.text, buffer)
            || is_dotted && surname.text.len() > 2
            || given.shape == Shape::Capital
                && (self.lists.is_surname(surname.text, buffer)
                    || ends_like_a_surname(surname.text, buffer)
                    || is_foreign(given, surname));
        let is_something_else = is_institution(words.get(last + 1))
            || is_name && self.lists.is_public(given.text, surname.text, buffer);
        if is_something_else {
            return None;
        }
        is_name.then_some(last + 1)
    }

    /// `Anna, can you …` at the head of a line, and `Anna's phone number`.
    fn addressed(&self, words: &[Word<'_>], first: usize, buffer: &mut String) -> Option<usize> {
        let [name, next, ..] = words.get(first..)? else { return None };
        if name.shape != Shape::Capital || !matches!(next.gap, Gap::Comma | Gap::Apostrophe) {
            return None;
        }
        let is_asked = name.opens_line() && next.gap == Gap::Comma && is_asked(words, first + 1);
        if is_asked && !self.is_opener(name, buffer) {
            return Some(first + 2);
        }
        if !self.lists.is_first(name.text, buffer) {
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
        let is_known = name.is_capitalised() && self.lists.is_first(name.text, buffer);
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

    /// Whether `word` opens sentences that ask for something without being a name.
    fn is_opener(&self, word: &Word<'_>, buffer: &mut String) -> bool {
        word.text.len() < 3 || word.text.ends_with("ly") || self.is_never(word, buffer) || {
            plain(word.text, buffer);
            OPENERS.contains(&buffer.as_str())
        }
    }

    pub(super) fn is_never(&self, word: &Word<'_>, buffer: &mut String) -> bool {
        plain(word.text, buffer);
        self.never.contains(buffer.as_str())
    }
}

/// Whether the word behind a name makes it the name of a house or a prize.
fn is_institution(behind: Option<&Word<'_>>) -> bool {
    behind.is_some_and(|word| {
        word.shape == Shape::Capital && word.gap == Gap::Space && INSTITUTIONS.contains(&word.text)
    })
}

#[rustfmt::skip]
const INSTITUTIONS: [&str; 26] = [
    "Foundation", "Institute", "Institution", "University", "College", "School", "Academy", "Library",
    "Museum", "Gallery", "Hospital", "Airport", "Stadium", "Arena", "Bridge", "Tower", "Theatre", "Theater",
    "Prize", "Award", "Awards", "Medal", "Cup", "Orchestra", "Centre", "Center",
];

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

/// Whether a request to somebody starts at `next`: `can you`, `could I please`.
fn is_asked(words: &[Word<'_>], next: usize) -> bool {
    let Some([modal, who, ..]) = words.get(next..) else { return false };
    let is_modal = matches!(modal.text, "can" | "could" | "would" | "will" | "may");
    is_modal && who.gap == Gap::Space && matches!(who.text, "you" | "I" | "we")
}

/// Words that open a request and are no name, beside those that are never part of one and those in `-ly`.
#[rustfmt::skip]
const OPENERS: [&str; 66] = [
    "sure", "sorry", "great", "well", "so", "now", "again", "right", "alright", "cool", "perfect", "anyway",
    "besides", "moreover", "furthermore", "instead", "afterwards", "afterward", "meanwhile", "perhaps",
    "maybe", "today", "tomorrow", "yesterday", "tonight", "further", "otherwise", "nevertheless",
    "nonetheless", "still", "yet", "once", "lastly", "sometimes", "often", "usually", "everyone",
    "everybody", "guys", "folks", "friends", "team", "assistant", "chatgpt", "gpt", "claude", "gemini",
    "copilot", "llama", "bot", "alexa", "siri", "computer", "robot", "mom", "mum", "dad", "mother", "father",
    "sir", "buddy", "man", "dude", "bro", "hmm", "cortana",
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
