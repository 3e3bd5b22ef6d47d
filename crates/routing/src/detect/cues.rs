//! The words and prefixes that one automaton looks for; each leads to a closer look at what stands around it.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use super::has_blank_line;

/// What a cue announces.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cue {
    /// The prefix of a provider's key; letter case counts.
    Key(KeyShape),
    /// `-----BEGIN` and the like.
    PrivateKey,
    /// `eyJ`, the start of base-64 text that opens a JSON object.
    JsonWebToken,
    /// `://`.
    Url,
    /// A word that a password is assigned to.
    Password,
    /// A word that a random token is assigned to or stands beside.
    Token,
    /// `bearer`, which a token follows without a sign between.
    Bearer,
    /// `[at]` and the like.
    ObfuscatedAt,
    /// A word that makes looser shapes near it count.
    Context(Context),
}

/// What the words around a shape say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Phone,
    DateOfBirth,
    Passport,
    DriverLicence,
    Medical,
    Account,
    SocialSecurity,
    NationalId,
    Address,
    /// A name follows, in whatever case.
    NameFollows,
    /// A name follows if it is capitalised.
    PersonWord,
}

/// What follows the prefix of a provider's key.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyShape {
    pub(super) alphabet: Alphabet,
    pub(super) least: usize,
    pub(super) most: usize,
}

/// Which characters a key is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Alphabet {
    Capitals,
    Alphanumeric,
    Hexadecimal,
    /// Letters, digits, `_` and `-`.
    UrlSafe,
    /// The same with `.`, `/`, `+` and `=`.
    Wide,
}

impl Alphabet {
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Hexadecimal => byte.is_ascii_hexdigit(),
            Self::UrlSafe => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Wide => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'+' | b'=')
            }
        }
    }
}

/// Longest key that is followed to its end, bytes.
const MAX_KEY_BYTES: usize = 512;

const fn key(alphabet: Alphabet, least: usize) -> Cue {
    Cue::Key(KeyShape { alphabet, least, most: MAX_KEY_BYTES })
}

const fn exact_key(alphabet: Alphabet, length: usize) -> Cue {
    Cue::Key(KeyShape { alphabet, least: length, most: length })
}

use Alphabet::{Alphanumeric, Capitals, Hexadecimal, UrlSafe, Wide};

/// Prefixes as the providers document them, and what follows.
#[rustfmt::skip]
const KEYS: &[(&[&str], Cue)] = &[
    (&["AKIA", "ASIA", "ABIA", "ACCA"], exact_key(Capitals, 16)),
    (&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], key(Alphanumeric, 36)),
    (&["github_pat_"], key(UrlSafe, 22)),
    (&["glpat-", "gldt-", "glrt-", "glcbt-"], key(UrlSafe, 20)),
    (&["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.", "xapp-"], key(UrlSafe, 10)),
    (&["hooks.slack.com/services/"], key(Wide, 20)),
    (&["sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"], key(Alphanumeric, 16)),
    (&["sk-ant-", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-"], key(UrlSafe, 20)),
    (&["sk-"], key(Alphanumeric, 20)),
    (&["AIza"], key(UrlSafe, 35)),
    (&["ya29."], key(UrlSafe, 20)),
    (&["GOCSPX-"], key(UrlSafe, 24)),
    (&["hf_"], key(Alphanumeric, 30)),
    (&["npm_"], key(Alphanumeric, 36)),
    (&["pypi-"], key(UrlSafe, 50)),
    (&["SG."], key(Wide, 40)),
    (&["SK", "AC", "key-"], exact_key(Hexadecimal, 32)),
    (&["shpat_", "shpss_", "shpca_", "shppa_"], exact_key(Hexadecimal, 32)),
    (&["dop_v1_", "doo_v1_"], exact_key(Hexadecimal, 64)),
    (&["sq0atp-", "sq0csp-"], key(UrlSafe, 22)),
    (&["gsk_", "xai-", "pplx-", "nvapi-", "tvly-"], key(UrlSafe, 24)),
    (&["r8_"], key(Alphanumeric, 37)),
    (&["lin_api_", "figd_", "glsa_", "dp.pt."], key(UrlSafe, 30)),
    (&["NRAK-", "PMAK-"], key(UrlSafe, 24)),
    (&["ATATT3"], key(Wide, 50)),
    (&["AGE-SECRET-KEY-1"], key(Capitals, 50)),
    (&["SUA", "SAA", "SOA"], exact_key(Capitals, 55)),
];

#[rustfmt::skip]
const SECRET_WORDS: &[(&[&str], Cue)] = &[
    (&["-----BEGIN", "PuTTY-User-Key-File"], Cue::PrivateKey),
    (&["eyJ"], Cue::JsonWebToken),
    (&["://"], Cue::Url),
    (
        &[
            "password", "passwd", "passphrase", "passcode", "pwd", "passwort", "kennwort", "mot de passe",
            "contraseña", "secret", "client_secret",
        ],
        Cue::Password,
    ),
    (
        &[
            "token", "api key", "api_key", "api-key", "apikey", "access key", "access_key", "access-key",
            "accesskey", "secret key", "secret_key", "secretkey", "private key", "private_key",
            "encryption key", "encryption_key", "signing key", "signing_key", "secret_access_key",
            "accountkey", "sharedaccesskey", "shared_access_key", "credential", "authorization",
            "x-api-key", "auth_key",
        ],
        Cue::Token,
    ),
    (&["bearer"], Cue::Bearer),
    (&["[at]", "(at)", "{at}", "<at>", "[ at ]", "( at )", " at "], Cue::ObfuscatedAt),
];

#[rustfmt::skip]
const CONTEXT_WORDS: &[(&[&str], Context)] = &[
    (
        &[
            "phone", "mobile", "cell", "fax", "tel:", "tel.", "tel ", "telefon", "teléfono", "móvil",
            "téléphone", "handy", "whatsapp", "hotline", "dial ", "call me", "call us", "call him",
            "call her", "call them", "text me", "ring me", "sms", "answering at", "reach me", "reach us",
            "reach him", "reach her", "reached at", "contact number", "messages to", "my number",
            "calls from", "calls to", "voicemail", "pager", "my registered", "contact me", "contact him", "contact her",
        ],
        Context::Phone,
    ),
    (
        &[
            "date of birth", "birth date", "birthdate", "dob", "d.o.b", "birthday", "born:", "i was born",
            "patient was born", "geburtsdatum", "geboren am", "née le", "né le", "date de naissance",
            "fecha de nacimiento", "data di nascita", "data de nascimento", "geboortedatum",
        ],
        Context::DateOfBirth,
    ),
    (&["passport", "reisepass", "passeport", "pasaporte", "passaporto"], Context::Passport),
    (
        &[
            "driver's license", "driver's licence", "drivers license", "drivers licence", "driver license",
            "driver licence", "driving licence", "driving license", "license number", "licence number",
            "license no", "licence no", "führerschein", "permis de conduire", "dl number", "license plate",
            "number plate",
        ],
        Context::DriverLicence,
    ),
    (
        &[
            "mrn", "medical record", "patient id", "patient number", "patient no", "nhs number", "nhs no",
            "health insurance", "insurance id", "medicare", "medicaid", "krankenversicherung",
            "hospital number",
        ],
        Context::Medical,
    ),
    (
        &[
            "account number", "account no", "account #", "account:", "account id", "acct", "a/c no",
            "bank account", "sort code", "routing number", "kontonummer", "member id", "member number",
            "membership number", "customer id", "customer number", "customer no", "policy number",
            "policy no", "client id", "client number", "employee id", "employee number", "loyalty number",
            "booking reference", "my account",
        ],
        Context::Account,
    ),
    (&["ssn", "social security", "s.s.n"], Context::SocialSecurity),
    (
        &[
            "bsn", "burgerservicenummer", "pesel", "aadhaar", "aadhar", "cpf", "steuer-id",
            "steueridentifikation", "steuernummer", "idnr", "tax id", "tax number", "tax file", "tfn",
            "social insurance", "national id", "identity card", "id card", "id number", "personnummer",
            "personalausweis", "codice fiscale", "dni", "nie", "insee", "national insurance",
        ],
        Context::NationalId,
    ),
    (
        &[
            "lives at", "lives on", "live at", "live on", "lived at", "lived on", "living at", "living on",
            "resides at", "reside at", "residing at", "address", "ship to", "shipped to", "deliver to",
            "delivered to", "sent to", "send it to", "send to", "mail to", "mailed to", "arrived at",
            "return to", "located at", "moved to", "corner of", "house at", "home at", "apartment at",
            "office at", "wohnt in", "adresse", "anschrift", "dirección", "indirizzo", "endereço",
        ],
        Context::Address,
    ),
    (
        &[
            "my name is", "my name's", "name is", "your name?", "name:", "called myself", "ich heiße",
            "mein name ist", "je m'appelle", "me llamo", "mi chiamo", "my full name", "i am called",
            "signed by", "patient name", "customer name", "under the name", "partner's name", "wife's name",
            "husband's name",
        ],
        Context::NameFollows,
    ),
    (
        &[
            "patient", "dear", "hi", "hello", "regards,", "sincerely,", "cheers,", "thanks,", "my wife",
            "my husband", "my son", "my daughter", "my mother", "my father", "my brother", "my sister",
            "my boss", "my manager", "my colleague", "my coworker", "my friend", "my client", "my partner",
            "my girlfriend", "my boyfriend", "our client", "our customer", "our employee", "customer",
            "client", "employee", "applicant", "candidate", "defendant", "plaintiff", "tenant", "i'm",
            "i am", "this is", "herr", "frau", "monsieur", "madame", "señor", "señora", "mr", "mrs", "ms",
            "mx", "miss", "dr", "prof", "sir",
        ],
        Context::PersonWord,
    ),
];

/// The automaton over all cues.
#[derive(Debug)]
pub(super) struct Cues {
    automaton: AhoCorasick,
    entries: Vec<(&'static str, Cue)>,
}

impl Cues {
    pub(super) fn new() -> Self {
        let plain =
            KEYS.iter().chain(SECRET_WORDS).flat_map(|(words, cue)| words.iter().map(|word| (*word, *cue)));
        let contexts = CONTEXT_WORDS
            .iter()
            .flat_map(|(words, context)| words.iter().map(|word| (*word, Cue::Context(*context))));
        let entries: Vec<_> = plain.chain(contexts).collect();
        let automaton = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::DFA))
            .build(entries.iter().map(|(word, _)| word))
            .expect("the cues are a fixed list of a few hundred words");
        Self { automaton, entries }
    }

    /// Every cue in `text`, in order, that stands at the start of a word, with its place.
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Cue, Range<usize>)> + 'a {
        self.automaton.find_iter(text).filter_map(move |found| {
            let (word, cue) = self.entries[found.pattern().as_usize()];
            let range = found.range();
            let fits = match cue {
                Cue::Key(_) | Cue::JsonWebToken => {
                    starts_word(text, range.start) && &text[range.clone()] == word
                }
                Cue::Context(_) => starts_word(text, range.start) && ends_word(text, range.end),
                _ => true,
            };
            fits.then_some((cue, range))
        })
    }
}

fn starts_word(text: &str, start: usize) -> bool {
    !text.as_bytes()[..start].last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
}

/// A cue that ends in a sign or a space ends a word by itself.
fn ends_word(text: &str, end: usize) -> bool {
    let bytes = text.as_bytes();
    !bytes[end - 1].is_ascii_alphanumeric()
        || !bytes.get(end).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
}

/// Where the context words of a text stand.
#[derive(Debug, Default)]
pub(super) struct Contexts(Vec<(Context, Range<usize>)>);

impl Contexts {
    /// Cues come in the order of the text.
    pub(super) fn push(&mut self, context: Context, place: Range<usize>) {
        self.0.push((context, place));
    }

    /// The places of `context`, in order.
    pub(super) fn places(&self, context: Context) -> impl Iterator<Item = Range<usize>> + '_ {
        self.0.iter().filter(move |(found, _)| *found == context).map(|(_, place)| place.clone())
    }

    /// Whether `context` stands near `place` in the same paragraph: at most [`BEFORE`] bytes ahead of it or [`AFTER`] bytes behind.
    pub(super) fn near(&self, text: &[u8], context: Context, place: &Range<usize>) -> bool {
        let first = self.0.partition_point(|(_, cue)| cue.end + BEFORE < place.start);
        self.0[first..]
            .iter()
            .take_while(|(_, cue)| cue.start <= place.end + AFTER)
            .filter(|(found, _)| *found == context)
            .any(|(_, cue)| {
                !has_blank_line(text, cue.end..place.start) && !has_blank_line(text, place.end..cue.start)
            })
    }
}

/// How far ahead of a number its context word may stand, bytes: about eight words.
const BEFORE: usize = 48;

/// How far behind a number its context word may stand, bytes.
const AFTER: usize = 24;
