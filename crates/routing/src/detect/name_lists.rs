//! Lists of names of many languages, without diacritics: first names, surnames, and people whom everybody knows.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Common first names, written down from general knowledge of each language. Names that are everyday words or places
/// first (Will, May, Grant, Rose, Jordan, Paris, Florence, Virginia, …) are left out.
const FIRST_NAMES: &str = include_str!("lists/first_names.txt");

/// Common surnames, the same way. Trades, colours and places (Baker, Brown, York) are left out, and so are those
/// that brands and theorems are called by.
const SURNAMES: &str = include_str!("lists/surnames.txt");

/// Authors, scientists, rulers, artists, characters and brands that everyday questions are about, first name and
/// surname. Pairs that many a customer is called by too (Adam Smith, Emma Watson) are left out.
const PUBLIC_NAMES: &str = include_str!("lists/public_names.txt");

/// The names as sets, built once.
#[derive(Debug)]
pub(super) struct NameLists {
    first: WordSet,
    surnames: WordSet,
    public: WordSet,
}

/// A set of words that never changes. Whoever chooses the words that are looked up cannot make it slow.
pub(super) type WordSet = HashSet<&'static str, BuildHasherDefault<Fnv>>;

/// The hash of Fowler, Noll and Vo (FNV-1a, 64 bits): for short words several times as quick as the default one.
#[derive(Debug)]
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl NameLists {
    pub(super) fn new() -> Self {
        Self {
            first: FIRST_NAMES.split_whitespace().collect(),
            surnames: SURNAMES.split_whitespace().collect(),
            public: PUBLIC_NAMES.split([';', '\n']).map(str::trim).filter(|name| !name.is_empty()).collect(),
        }
    }

    /// Whether `word` is a common first name, in whatever case; `buffer` is scratch space.
    pub(super) fn is_first(&self, word: &str, buffer: &mut String) -> bool {
        plain(word, buffer);
        self.first.contains(buffer.as_str())
    }

    /// Whether `word` is a common surname, in whatever case.
    pub(super) fn is_surname(&self, word: &str, buffer: &mut String) -> bool {
        plain(word, buffer);
        self.surnames.contains(buffer.as_str())
    }

    /// Whether everybody knows somebody or something of this name.
    pub(super) fn is_public(&self, first: &str, surname: &str, buffer: &mut String) -> bool {
        plain(surname, buffer);
        let surname = std::mem::take(buffer);
        plain(first, buffer);
        buffer.push(' ');
        buffer.push_str(&surname);
        self.public.contains(buffer.as_str())
    }
}

/// Writes `word` in small letters without Latin diacritics to `out`.
pub(super) fn plain(word: &str, out: &mut String) {
    out.clear();
    if word.is_ascii() {
        out.push_str(word);
        out.make_ascii_lowercase();
        return;
    }
    for letter in word.chars().flat_map(char::to_lowercase) {
        match base(letter) {
            Some(base) => out.push_str(base),
            None => out.push(letter),
        }
    }
}

fn base(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'ĉ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' | 'ģ' => "g",
        'ì'..='ï' | 'ī' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'ŕ' | 'ř' => "r",
        'ś' | 'ş' | 'š' | 'ș' => "s",
        'ţ' | 'ť' | 'ț' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'ß' => "ss",
        'æ' => "ae",
        'þ' => "th",
        'œ' => "oe",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_plain_and_names_are_looked_up_without_diacritics() {
        let lists = NameLists::new();
        let mut buffer = String::new();
        for name in lists.first.iter().chain(&lists.surnames).chain(&lists.public) {
            plain(name, &mut buffer);
            assert_eq!(&buffer, name, "as it would be looked up");
        }
        assert!(lists.public.iter().all(|name| name.split(' ').count() == 2));
        assert!(lists.is_first("JOSÉ", &mut buffer) && lists.is_surname("Müller", &mut buffer));
        assert!(lists.is_public("Frédéric", "Chopin", &mut buffer));
        assert!(!lists.is_public("Frédéric", "Dupont", &mut buffer));
    }
}
