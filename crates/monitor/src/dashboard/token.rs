//! The token that the page asks for beyond loopback, and the sessions that rest on it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Fewest characters of a token: shorter ones could be guessed.
const MIN_CHARS: usize = 32;

/// Most characters of a token.
const MAX_CHARS: usize = 256;

/// Seconds that a session lasts. Opening the page begins it anew.
pub(super) const SESSION_S: i64 = 7 * 24 * 3600;

/// The token. Never shown.
pub(super) struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// It does not read.
    #[error(
        "{}: {source}; `trilane keys init` makes it, or name another file in `dashboard.token_file`",
        path.display()
    )]
    Io { path: PathBuf, source: std::io::Error },
    /// It is none.
    #[error(
        "{} holds no token: expected one line of {MIN_CHARS} to {MAX_CHARS} characters out of A-Z a-z 0-9 _ -; take it away \
         and `trilane keys init` makes a new one",
        path.display()
    )]
    Malformed { path: PathBuf },
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads it from its file.
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokenError::Io { path: path.to_owned(), source })?;
        Self::new(text.trim()).ok_or_else(|| TokenError::Malformed { path: path.to_owned() })
    }

    /// Characters that a form sends as they are, so that nothing need be decoded before it is compared.
    pub(super) fn new(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = (MIN_CHARS..=MAX_CHARS).contains(&text.len()) && text.bytes().all(is_allowed);
        fits.then(|| Self(text.to_owned()))
    }

    /// Whether this is the token. Takes as long for a near miss as for any other.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// A session that begins now. It outlives the monitor, and ends with its time or with the token.
    pub(super) fn session(&self, now_s: i64) -> String {
        let until = now_s.saturating_add(SESSION_S);
        format!("{until}.{}", self.mark(until))
    }

    /// Whether a session holds.
    pub(super) fn has_begun(&self, session: &str, now_s: i64) -> bool {
        let Some((until, mark)) = session.split_once('.') else { return false };
        let Ok(until) = until.parse::<i64>() else { return false };
        let is_ours: bool = self.mark(until).as_bytes().ct_eq(mark.as_bytes()).into();
        is_ours && now_s < until
    }

    /// A keyed hash of when a session ends. Hashed twice, since the plain hash of key and text could be carried on by
    /// whoever has one.
    fn mark(&self, until: i64) -> String {
        let inner =
            Sha256::new().chain_update(&self.0).chain_update(b"session").chain_update(until.to_be_bytes());
        let outer = Sha256::new().chain_update(&self.0).chain_update(inner.finalize());
        outer.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789_abcdefghijklmnopqrstuvwxyz-ABCDE";

    #[test]
    fn a_token_is_long_and_of_plain_characters() {
        assert!(Token::new(TEXT).is_some());
        for bad in ["", "short", &format!("{TEXT} x"), &"x".repeat(MAX_CHARS + 1), &"é".repeat(MIN_CHARS)] {
            assert!(Token::new(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{:?}", Token::new(TEXT).unwrap()), "Token");
    }

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = Token::new(TEXT).unwrap();
        assert!(token.is(TEXT));
        for other in ["", &TEXT[1..], &TEXT.replace('a', "b"), &format!("{TEXT}x")] {
            assert!(!token.is(other), "{other}");
        }
    }

    #[test]
    fn a_session_ends_with_its_time_and_with_its_token() {
        let token = Token::new(TEXT).unwrap();
        let session = token.session(1_000);
        assert!(token.has_begun(&session, 1_000 + SESSION_S - 1));
        assert!(!token.has_begun(&session, 1_000 + SESSION_S));
        let other = Token::new(&TEXT.replace('a', "b")).unwrap();
        assert!(!other.has_begun(&session, 1_000));
        let (until, mark) = session.split_once('.').unwrap();
        let longer = format!("{}.{mark}", until.parse::<i64>().unwrap() + 1);
        for forged in [longer.as_str(), until, mark, "", ".", "x.y"] {
            assert!(!token.has_begun(forged, 1_000), "{forged}");
        }
        assert!(!session.contains(TEXT));
    }

    #[test]
    fn what_is_missing_or_malformed_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dashboard.token");
        let missing = Token::read(&path).unwrap_err().to_string();
        assert!(missing.contains("dashboard.token") && missing.contains("trilane keys init"), "{missing}");
        std::fs::write(&path, "short\n").unwrap();
        let malformed = Token::read(&path).unwrap_err().to_string();
        assert!(malformed.contains("32 to 256") && !malformed.contains("short"), "{malformed}");
        std::fs::write(&path, format!("{TEXT}\n")).unwrap();
        assert!(Token::read(&path).unwrap().is(TEXT));
    }
}
