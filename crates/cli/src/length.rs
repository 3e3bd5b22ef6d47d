//! Lengths of time on the command line: `30s`, `1h`, `2d`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Timestamp, Unit};
use trilane_protocol::task::Deadline;

/// Reads a length such as `90s`, `1h 30m` or `2d`. A day has 24 hours.
///
/// # Errors
/// A sentence that says what is accepted.
pub(crate) fn parse_length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time: expected one such as 30s, 5m, 1h or 2d");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let relative = SpanRelativeTo::days_are_24_hours();
    let seconds = span.total((Unit::Second, relative)).map_err(|_| wrong())?;
    if seconds <= 0.0 {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// Reads a deadline: an RFC 3339 time, or a length from publish.
///
/// # Errors
/// A sentence that says what is accepted.
pub(crate) fn parse_deadline(text: &str) -> Result<Deadline, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Deadline::At(time));
    }
    let length = parse_length(text);
    length
        .map(|length| Deadline::After(length.as_secs_f64()))
        .map_err(|problem| format!("{problem}, or a time such as 2026-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_with_their_units() {
        let seconds = |text| parse_length(text).unwrap().as_secs();
        assert_eq!(
            [seconds("30s"), seconds("1h"), seconds("1h 30m"), seconds("2d")],
            [30, 3_600, 5_400, 172_800]
        );
        for wrong in ["", "30", "-5s", "0s", "soon"] {
            assert!(parse_length(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_deadline_is_a_time_or_a_length() {
        assert_eq!(parse_deadline("90s").unwrap(), Deadline::After(90.0));
        assert!(matches!(parse_deadline("2026-01-31T12:00:00Z").unwrap(), Deadline::At(_)));
        assert!(parse_deadline("tomorrow").unwrap_err().contains("2026-01-31T12:00:00Z"));
    }
}
