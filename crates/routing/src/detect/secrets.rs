//! Secrets: provider keys, private keys, tokens, passwords in assignments and in connection strings.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::checks::entropy_bits;
use super::cues::{Alphabet, KeyShape};

/// Whether a key of this shape starts at the head of `rest`. Placeholders such as `sk-xxxxxxxx…` have too little entropy.
pub(super) fn is_key(rest: &str, shape: KeyShape) -> bool {
    let body = head(rest, shape.alphabet, shape.most + 1);
    let goes_on = rest.as_bytes().get(body.len()).is_some_and(u8::is_ascii_alphanumeric);
    !goes_on
        && (shape.least..=shape.most).contains(&body.len())
        && entropy_bits(body.as_bytes()) >= LEAST_KEY_ENTROPY
}

/// Ten equally frequent characters have 3.3 bits; random hexadecimal of 32 characters stays above 3.
const LEAST_KEY_ENTROPY: f64 = 2.2;

/// Whether a private key opens with `marker`, which `rest` follows.
pub(super) fn is_private_key(marker: &str, rest: &str) -> bool {
    marker.starts_with('P') || {
        let line: String = rest.chars().take(48).take_while(|letter| *letter != '\n').collect();
        line.to_ascii_uppercase().contains("PRIVATE KEY")
    }
}

/// Whether a JSON Web Token starts at the head of `text`: three parts, the first a JSON object with `alg`.
pub(super) fn is_json_web_token(text: &str) -> bool {
    let mut parts = head(text, Alphabet::Wide, MAX_TOKEN_BYTES).split('.');
    let (Some(header), Some(payload)) = (parts.next(), parts.next()) else { return false };
    let has_algorithm = |bytes: Vec<u8>| {
        serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|value| value.get("alg").is_some())
    };
    payload.len() >= 4 && URL_SAFE_NO_PAD.decode(header.trim_end_matches('=')).is_ok_and(has_algorithm)
}

/// Longest token that is read, bytes.
const MAX_TOKEN_BYTES: usize = 8192;

/// Whether the URL whose `://` stands between `before` and `rest` carries a user's password.
pub(super) fn has_password(before: &str, rest: &str) -> bool {
    let end = rest
        .bytes()
        .take(MAX_AUTHORITY_BYTES)
        .position(|byte| {
            byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`')
        })
        .unwrap_or(rest.len().min(MAX_AUTHORITY_BYTES));
    let authority = &rest.as_bytes()[..end];
    let Some(at) = memchr::memrchr(b'@', authority) else { return false };
    let Some(colon) = memchr::memchr(b':', &authority[..at]) else { return false };
    let password = &authority[colon + 1..at];
    before.ends_with(|letter: char| letter.is_ascii_alphanumeric())
        && !password.is_empty()
        && !password.iter().any(|byte| matches!(byte, b'<' | b'{' | b'$' | b'['))
        && !password.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.'))
}

/// Longest `user:password@host` that is read, bytes.
const MAX_AUTHORITY_BYTES: usize = 512;

/// Whether a password is assigned to the word that `rest` follows. `word` is that word as written.
pub(super) fn is_password_assigned(word: &str, rest: &str) -> bool {
    let Some(value) = assigned(rest) else { return false };
    let text = value.text;
    if text.len() < 6 || text.len() > MAX_PASSWORD_BYTES || is_placeholder(text) {
        return false;
    }
    let classes = Classes::of(text);
    if value.quoted {
        return !text.contains(' ') && !text.starts_with('/') && (classes.count() > 1 || text.len() >= 8);
    }
    let is_code = text.contains(['(', ')', '[', ']', '{', '}', '<', '>', '\\']);
    let is_environment = value.sign == Sign::Equals && word.bytes().all(|byte| byte.is_ascii_uppercase());
    !is_code && (classes.digit && classes.letter() || classes.symbol || is_environment)
}

/// Longest password that is looked for, bytes.
const MAX_PASSWORD_BYTES: usize = 128;

/// Whether a random token is assigned to the word that `rest` follows, or stands among the next few words.
pub(super) fn is_token_near(rest: &str) -> bool {
    if assigned(rest).is_some_and(|value| is_token(value.text, 16, 3.0)) {
        return true;
    }
    let near = rest.as_bytes();
    let near = &near[..near.len().min(NEAR_BYTES)];
    let near = &near[..memchr::memmem::find(near, b"\n\n").unwrap_or(near.len())];
    near.split(|byte| !Alphabet::Wide.has(*byte))
        .map(|part| part.strip_suffix(b".").unwrap_or(part))
        .filter_map(|part| std::str::from_utf8(part).ok())
        .any(|part| {
            is_token(part, 20, 3.5) && Classes::of(part).count() > 2 && !is_path(part) || is_long_hex(part)
        })
}

/// How far behind a word such as `api key` a token may end, bytes.
const NEAR_BYTES: usize = 112;

/// Whether a token follows the word `bearer`.
pub(super) fn is_bearer_token(rest: &str) -> bool {
    let value = rest.trim_start_matches([' ', ':', '=', '"', '\'']);
    is_token(head(value, Alphabet::Wide, MAX_TOKEN_BYTES), 16, 3.0)
}

fn is_token(text: &str, least: usize, entropy: f64) -> bool {
    let classes = Classes::of(text);
    text.len() >= least
        && text.bytes().all(|byte| Alphabet::Wide.has(byte) || byte == b'~')
        && classes.digit
        && classes.letter()
        && !is_placeholder(text)
        && entropy_bits(text.as_bytes()) >= entropy
}

/// A path or a version is made of short parts; base-64 seldom has a `/` and never a dot.
fn is_path(text: &str) -> bool {
    let parts = text.split(['/', '.']).count();
    parts > 1 && text.len() / parts < 10
}

fn is_long_hex(text: &str) -> bool {
    text.len() >= 32
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && entropy_bits(text.as_bytes()) >= 3.0
}

/// The head of `text` that is made of `alphabet`, at most `most` bytes.
fn head(text: &str, alphabet: Alphabet, most: usize) -> &str {
    let length = text.bytes().take(most).take_while(|byte| alphabet.has(*byte)).count();
    &text[..length]
}

/// A value and how it is linked to its word.
struct Assigned<'a> {
    text: &'a str,
    quoted: bool,
    sign: Sign,
}

#[derive(PartialEq, Eq)]
enum Sign {
    Equals,
    Colon,
    Word,
}

/// The value in `…_name = "value"`, `"name": "value"`, `name is value`: what follows the word's rest and a sign.
fn assigned(rest: &str) -> Option<Assigned<'_>> {
    let rest = &rest[head(rest, Alphabet::UrlSafe, MAX_NAME_BYTES).len()..];
    let rest = rest.trim_start_matches(['"', '\'', ']', '`', '*']);
    let (sign, rest) = split_sign(rest)?;
    let rest = rest.trim_start_matches([' ', '\t', '*']);
    let rest = rest.strip_prefix('\n').unwrap_or(rest).trim_start_matches(' ');
    let rest = rest.strip_prefix('\\').unwrap_or(rest);
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\'' | '`'));
    let Some(quote) = quote else {
        let end = rest.find(|letter: char| letter.is_whitespace() || matches!(letter, ',' | ';' | '"' | '&'));
        let text = rest[..end.unwrap_or(rest.len())].trim_end_matches(['.', '?', '!', ')', ':', '*', '\'']);
        return Some(Assigned { text, quoted: false, sign });
    };
    let inner = &rest[1..];
    let end = inner.find([quote, '\n'])?;
    Some(Assigned { text: inner[..end].trim_end_matches('\\'), quoted: true, sign })
}

/// Longest rest of a name behind its key word, bytes: the `_for_production` in `password_for_production`.
const MAX_NAME_BYTES: usize = 32;

fn split_sign(rest: &str) -> Option<(Sign, &str)> {
    let rest = rest.trim_start_matches([' ', '\t']);
    for word in ["is:", "is ", "was ", "ist ", "est ", "es "] {
        if let Some(rest) = rest.strip_prefix(word) {
            return Some((Sign::Word, rest));
        }
    }
    for sign in [":=", "=>", "==", "=", "->", ":"] {
        if let Some(rest) = rest.strip_prefix(sign) {
            return Some((if sign == ":" { Sign::Colon } else { Sign::Equals }, rest));
        }
    }
    None
}

/// Words that stand where a secret would.
#[rustfmt::skip]
const PLACEHOLDERS: [&str; 24] = [
    "your", "my_", "example", "placeholder", "required", "optional", "process.env", "os.environ", "getenv",
    "environ", "string", "password", "username", "secret", "undefined", "redacted", "changeme", "change_me",
    "self.", "config.", "args.", "request.", "settings.", "incorrect",
];

fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.starts_with(['<', '$', '{', '%'])
        || PLACEHOLDERS.iter().any(|word| lower.starts_with(word))
        || lower.bytes().all(|byte| matches!(byte, b'*' | b'x' | b'.' | b'-' | b'_' | b'#'))
}

/// Which classes of characters a text has.
#[derive(Default)]
struct Classes {
    lower: bool,
    upper: bool,
    digit: bool,
    symbol: bool,
}

impl Classes {
    fn of(text: &str) -> Self {
        let mut classes = Self::default();
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' => classes.lower = true,
                b'A'..=b'Z' => classes.upper = true,
                b'0'..=b'9' => classes.digit = true,
                b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'+' | b'=' | b'~' | b'?' => {
                    classes.symbol = true;
                }
                _ => {}
            }
        }
        classes
    }

    fn letter(&self) -> bool {
        self.lower || self.upper
    }

    fn count(&self) -> u32 {
        [self.lower, self.upper, self.digit, self.symbol].into_iter().map(u32::from).sum()
    }
}
