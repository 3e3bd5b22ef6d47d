//! The seal: a classifier's Ed25519 signature (RFC 8032) on what it puts on lanes and writes into the routing log.
//!
//! A lane message is signed together with its lane and the time until which it may be run, so one that is forged,
//! altered, moved to another lane or kept for too long does not verify. A segment of the routing log is signed as it
//! is. Both texts begin with a word of their own, so that neither signature can stand for the other.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use nkeys::{KeyPair, KeyPairType};
use sha2::{Digest, Sha256};
use trilane_protocol::LaneName;

/// What a signature on a lane message begins with.
const LANE: &str = "trilane lane message 1";
/// What a signature on a segment of the routing log begins with.
const LOG: &str = "trilane routing log 1";

/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// How far the clocks of two hosts may be apart, milliseconds.
const CLOCK_ALLOWANCE_MS: i64 = 60_000;

/// The key that seals are made with.
#[derive(Clone)]
pub struct SealKey {
    pair: KeyPair,
    /// As it stands in every seal.
    public_key: String,
}

/// The keys whose seals are trusted, with how they are written. More than one while a key is being replaced.
#[derive(Clone)]
pub struct Trusted(Vec<(String, KeyPair)>);

/// A seal on a lane message, as it travels in a header: `<public key> <expires, ms since 1970> <signature>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    key: String,
    expires_at_ms: i64,
    signature: Vec<u8>,
}

/// Why a message is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It carries none, or something that is none.
    #[error("the message carries no seal of a classifier; somebody else has put it there")]
    Missing,
    /// Its key is not among those trusted here.
    #[error(
        "the message is sealed with a key that is not trusted here; does this worker's seal.pub belong to this fleet?"
    )]
    Untrusted,
    /// It was altered, or sealed for another lane.
    #[error("the seal does not fit the message: it was altered, or sealed for another lane")]
    Broken,
    /// It is too old.
    #[error("the seal has expired: the message was kept for longer than seal.valid_s, or the clocks differ")]
    Expired,
}

impl SealError {
    /// The stable code of the dead letter.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "seal_missing",
            Self::Untrusted => "seal_untrusted",
            Self::Broken => "seal_broken",
            Self::Expired => "seal_expired",
        }
    }
}

impl SealKey {
    /// A new key.
    pub fn generate() -> Self {
        Self::of(KeyPair::new(KeyPairType::Module))
    }

    fn of(pair: KeyPair) -> Self {
        Self { public_key: pair.public_key(), pair }
    }

    /// The key of a seed.
    pub fn from_seed(seed: &str) -> Option<Self> {
        let pair = KeyPair::from_seed(seed).ok()?;
        matches!(pair.key_pair_type(), KeyPairType::Module).then(|| Self::of(pair))
    }

    /// What is kept of it; a secret.
    pub fn seed(&self) -> String {
        self.pair.seed().unwrap_or_default()
    }

    /// What others check its seals with.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Seals a lane message.
    pub fn seal(&self, lane: &LaneName, payload: &[u8], expires_at: Timestamp) -> Seal {
        let expires_at_ms = expires_at.as_millisecond();
        let text = lane_text(lane, payload, expires_at_ms);
        Seal { key: self.public_key.clone(), expires_at_ms, signature: self.sign(&text) }
    }

    /// Signs a segment of the routing log: the text of its header, `<public key> <signature>`.
    pub fn sign_log(&self, payload: &[u8]) -> String {
        format!("{} {}", self.public_key, STANDARD.encode(self.sign(&log_text(payload))))
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        // A pair that was made from a seed always signs.
        self.pair.sign(text).unwrap_or_default()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.public_key)
    }
}

impl Trusted {
    /// The keys in `text`, one a line; `None` where there is none or a line is none.
    pub fn from_lines(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<_>> = lines.map(module_key).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }

    /// Checks the seal on a lane message, at `now`.
    ///
    /// # Errors
    /// [`SealError`] says why it must not be run.
    pub fn verify(
        &self,
        seal: Option<&Seal>,
        lane: &LaneName,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<(), SealError> {
        let seal = seal.ok_or(SealError::Missing)?;
        let key = self.key(&seal.key).ok_or(SealError::Untrusted)?;
        let text = lane_text(lane, payload, seal.expires_at_ms);
        key.verify(&text, &seal.signature).map_err(|_| SealError::Broken)?;
        if seal.expires_at_ms.saturating_add(CLOCK_ALLOWANCE_MS) < now.as_millisecond() {
            return Err(SealError::Expired);
        }
        Ok(())
    }

    /// Whether `header` is a signature of one of these keys on a segment of the routing log.
    pub fn verify_log(&self, header: &str, payload: &[u8]) -> bool {
        let Some((key, signature)) = header.split_once(' ') else { return false };
        let (Some(key), Some(signature)) = (self.key(key), signature_of(signature)) else { return false };
        key.verify(&log_text(payload), &signature).is_ok()
    }

    fn key(&self, public_key: &str) -> Option<&KeyPair> {
        self.0.iter().find(|(written, _)| written == public_key).map(|(_, key)| key)
    }
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(written, _)| written)).finish()
    }
}

impl Seal {
    /// Reads a header; `None` where it holds no seal.
    pub fn read(header: &str) -> Option<Self> {
        let mut words = header.split(' ');
        let (key, expires, signature) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        let expires_at_ms = expires.parse().ok()?;
        Some(Self { key: key.to_owned(), expires_at_ms, signature: signature_of(signature)? })
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.key, self.expires_at_ms, STANDARD.encode(&self.signature))
    }
}

fn module_key(line: &str) -> Option<(String, KeyPair)> {
    let pair = KeyPair::from_public_key(line).ok()?;
    matches!(pair.key_pair_type(), KeyPairType::Module).then(|| (pair.public_key(), pair))
}

/// A signature of another length would make the library panic.
fn signature_of(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| bytes.len() == SIGNATURE_BYTES)
}

/// Lane names hold no line breaks, so no two messages have the same text.
fn lane_text(lane: &LaneName, payload: &[u8], expires_at_ms: i64) -> Vec<u8> {
    let mut text = format!("{LANE}\n{lane}\n{expires_at_ms}\n").into_bytes();
    text.extend(Sha256::digest(payload));
    text
}

fn log_text(payload: &[u8]) -> Vec<u8> {
    let mut text = format!("{LOG}\n").into_bytes();
    text.extend(Sha256::digest(payload));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str) -> LaneName {
        LaneName::new(name).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_seal_holds_for_its_message_lane_and_time_and_for_nothing_else() {
        let key = SealKey::generate();
        let trusted = Trusted::from_lines(key.public_key()).unwrap();
        let fast = lane("local-fast");
        let seal = key.seal(&fast, b"message", at(1_000));
        let read = Seal::read(&seal.to_string()).unwrap();
        assert_eq!(read, seal);
        let verify = |seal: Option<&Seal>, lane: &LaneName, payload: &[u8], now: i64| {
            trusted.verify(seal, lane, payload, at(now))
        };
        assert_eq!(verify(Some(&read), &fast, b"message", 999), Ok(()));
        assert_eq!(verify(None, &fast, b"message", 999), Err(SealError::Missing));
        assert_eq!(verify(Some(&read), &lane("cloud"), b"message", 999), Err(SealError::Broken));
        assert_eq!(verify(Some(&read), &fast, b"messagf", 999), Err(SealError::Broken));
        assert_eq!(verify(Some(&read), &fast, b"message", 2_000), Err(SealError::Expired));
        let later = Seal { expires_at_ms: 9_000_000, ..read };
        assert_eq!(verify(Some(&later), &fast, b"message", 2_000), Err(SealError::Broken));
        let stranger = SealKey::generate().seal(&fast, b"message", at(1_000));
        assert_eq!(verify(Some(&stranger), &fast, b"message", 999), Err(SealError::Untrusted));
    }

    #[test]
    fn what_signs_the_log_seals_no_message() {
        let key = SealKey::generate();
        let trusted = Trusted::from_lines(key.public_key()).unwrap();
        let header = key.sign_log(b"segment");
        assert!(trusted.verify_log(&header, b"segment"));
        assert!(!trusted.verify_log(&header, b"segmenu"));
        let (public_key, signature) = header.split_once(' ').unwrap();
        let seal = Seal::read(&format!("{public_key} 0 {signature}")).unwrap();
        let found = trusted.verify(Some(&seal), &lane("cloud"), b"segment", at(0));
        assert_eq!(found, Err(SealError::Broken));
    }

    #[test]
    fn what_is_no_seal_is_not_read_and_does_not_panic() {
        for header in ["", "a b", "a b c", "MA 1 AAAA", "MA x AAAA", "a 1 c d"] {
            assert_eq!(Seal::read(header), None, "{header}");
        }
        let trusted = Trusted::from_lines(SealKey::generate().public_key()).unwrap();
        assert!(!trusted.verify_log("x", b""));
        assert!(!trusted.verify_log("x AAAA", b""));
    }

    #[test]
    fn a_user_s_key_is_no_seal_key() {
        let user = KeyPair::new_user();
        assert!(SealKey::from_seed(&user.seed().unwrap()).is_none());
        assert!(Trusted::from_lines(&user.public_key()).is_none());
        assert!(Trusted::from_lines("").is_none());
    }
}
