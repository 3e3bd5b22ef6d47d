//! The words that streets, boxes and regions are written with, in several languages.

/// Words behind a street's name in English.
#[rustfmt::skip]
pub(super) const STREET_WORDS: &[&str] = &[
    "street", "st", "avenue", "ave", "road", "rd", "boulevard", "blvd", "lane", "ln", "drive", "dr",
    "court", "ct", "place", "pl", "square", "sq", "terrace", "parkway", "pkwy", "highway", "hwy",
    "crescent", "close", "circle", "way", "row", "mews", "grove", "alley", "trail", "quay", "str",
];

/// The ones that need no capital.
#[rustfmt::skip]
pub(super) const PLAIN_STREET_WORDS: &[&str] = &[
    "street", "avenue", "boulevard", "road",
];

/// Words after a number that make it a quantity or a date.
#[rustfmt::skip]
pub(super) const NOT_IN_STREETS: &[&str] = &[
    "the", "a", "an", "of", "in", "on", "at", "to", "and", "or", "is", "are", "was", "per", "percent",
    "miles", "mile", "km", "meters", "metres", "feet", "foot", "years", "year", "days", "hours", "minutes",
    "people", "cars", "lane", "way", "from", "down", "along", "with", "for", "m", "different", "new",
    "more", "dollars",
];

/// Months, which stand beside numbers without being streets.
#[rustfmt::skip]
pub(super) const MONTHS: &[&str] = &[
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov",
    "dec",
];

/// Endings of street names that are one word.
#[rustfmt::skip]
pub(super) const STREET_ENDINGS: &[&str] = &[
    "straße", "strasse", "gasse", "allee", "platz", "steig", "ufer", "damm", "vej", "gade", "stræde",
    "gatan", "vägen", "gränd", "veien", "vegen", "katu", "kuja", "polku", "straat", "laan", "plein", "kade",
    "gracht", "vegur", "braut", "stræti", "gata", "gate", "utca", "tänav", "iela",
];

/// Words behind a street's name that no other language of Latin letters writes before a number.
#[rustfmt::skip]
pub(super) const SMALL_TYPES: &[&str] = &[
    "utca", "utcája", "út", "útja", "tér", "tere", "körút", "sétány", "tie", "vej", "väg", "straat",
    "straße", "gata",
];

/// Words that open a street's name, written with a capital; the number stands before or behind.
#[rustfmt::skip]
pub(super) const STREET_OPENERS: &[&str] = &[
    "Rue", "Via", "Viale", "Corso", "Piazza", "Calle", "Avenida", "Av", "Avda", "Plaza", "Paseo", "Carrer",
    "Carretera", "Rua", "Rúa", "Travessa", "Praça", "Largo", "Estrada", "Boulevard", "Avenue", "Chemin",
    "Place", "Quai", "Impasse", "Allée", "Route", "Ul", "Ulica", "Ulitsa", "Aleja", "Trg", "Náměstí",
    "Strada", "Bulevardul", "Jalan", "Jl", "Odos",
];

/// The same in small letters, where a language writes them so.
#[rustfmt::skip]
pub(super) const SMALL_OPENERS: &[&str] = &[
    "ul", "rue", "calle", "rua", "rúa", "via", "avenida", "avenue", "boulevard", "chemin",
];

/// Postal abbreviations of the United States that are not also English words in capitals.
#[rustfmt::skip]
pub(super) const STATES: &[&str] = &[
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "IA", "ID", "IL", "KS", "KY", "LA", "MA",
    "MD", "MI", "MN", "MO", "MS", "MT", "NC", "ND", "NE", "NH", "NJ", "NM", "NV", "NY", "OH", "PA", "PR",
    "RI", "SC", "SD", "TN", "TX", "UT", "VA", "VT", "WA", "WI", "WV", "WY", "DC", "GU",
];

/// Whether `word` is in `list`, without regard to ASCII case.
pub(super) fn is_one_of(list: &[&str], word: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(word))
}
