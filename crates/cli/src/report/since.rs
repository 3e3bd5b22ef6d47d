//! From when on: a length of time before now, or a time.

use std::time::Duration;

use jiff::Timestamp;

use crate::length::parse_length;

/// What `--since` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So long before now.
    Before(Duration),
    /// This time.
    At(Timestamp),
}

impl Since {
    /// The time that is meant.
    ///
    /// # Errors
    /// A time that is still to come.
    pub(super) fn from(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        let since = match self {
            Self::Before(length) => now.checked_sub(length).unwrap_or(Timestamp::MIN),
            Self::At(time) => time,
        };
        anyhow::ensure!(since < now, "--since {since} is still to come; name a time before now");
        Ok(since)
    }
}

/// Reads a length such as `7d`, or an RFC 3339 time.
///
/// # Errors
/// A sentence that says what is accepted.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse() {
        return Ok(Since::At(time));
    }
    let length = parse_length(text).map(Since::Before);
    length.map_err(|problem| format!("{problem}, or a time such as 2026-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_or_a_time_before_now() {
        let now: Timestamp = "2026-11-23T06:00:00Z".parse().unwrap();
        let since = |text| parse_since(text).unwrap().from(now).map(|time| time.to_string());
        assert_eq!(since("7d").unwrap(), "2026-11-16T06:00:00Z");
        assert_eq!(since("24h").unwrap(), "2026-11-22T06:00:00Z");
        assert_eq!(since("2026-11-01T00:00:00Z").unwrap(), "2026-11-01T00:00:00Z");
        assert!(since("2026-12-01T00:00:00Z").unwrap_err().to_string().contains("still to come"));
        assert!(parse_since("monday").unwrap_err().contains("2026-01-31T12:00:00Z"));
    }
}
