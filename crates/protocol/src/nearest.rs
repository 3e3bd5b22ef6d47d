//! "Did you mean": the known name that is closest to a mistyped one.

/// Similarity (Jaro-Winkler, 0 to 1) below which a suggestion would confuse more than help.
const LEAST_SIMILARITY: f64 = 0.75;

/// The entry of `known` closest to `unknown`, if one is close enough to be a likely typing error.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (similarity(unknown, name), name))
        .filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// One slip of the finger (a wrong, missing, extra or swapped letter) is likely whatever the length; beyond
/// that, names that begin alike count as similar.
fn similarity(unknown: &str, known: &str) -> f64 {
    let is_one_slip = strsim::damerau_levenshtein(unknown, known) <= 1;
    if is_one_slip { 1.0 } else { strsim::jaro_winkler(unknown, known) }
}

/// `"; did you mean `x`?"`, or nothing when no known name is close.
pub fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(unknown, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Adds a suggestion to serde's "unknown field `x`, expected one of `a`, `b`" messages.
pub fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match quoted.next().filter(|_| is_unknown) {
        Some(unknown) => format!("{message}{}", suggestion(unknown, quoted)),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_name_and_noise_finds_none() {
        let known = ["prompt", "messages", "sensitivity"];
        assert_eq!(nearest("promt", known), Some("prompt"));
        assert_eq!(nearest("sensitvity", known), Some("sensitivity"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest("ulr", ["server", "url"]), Some("url"), "swapped letters of a short name");
    }

    #[test]
    fn serde_messages_gain_a_suggestion() {
        let message = "unknown field `promt`, expected `prompt` or `messages`";
        assert!(with_suggestion(message).ends_with("did you mean `prompt`?"));
        assert_eq!(with_suggestion("missing field `x`"), "missing field `x`");
    }
}
