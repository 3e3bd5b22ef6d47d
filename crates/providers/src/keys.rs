//! API keys: read from where the configuration says, and never shown.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use trilane_routing::registry::KeySource;

/// An API key. Messages call it by where it came from.
#[derive(Clone)]
pub struct ApiKey {
    source: KeySource,
    secret: SecretString,
}

/// A key that is named but cannot be used. Holds nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key from {label}: {source}")]
    Unreadable {
        /// Where it should be.
        label: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// What was read is no key.
    #[error(
        "the key from {label} holds a line break or a character that no HTTP header takes; store the key alone"
    )]
    Malformed {
        /// Where it is.
        label: String,
    },
}

impl ApiKey {
    /// Reads a key; `None` where there is none: the variable is not set, the file does not exist, or either
    /// is blank. White space around a key is cut.
    ///
    /// # Errors
    /// [`KeyError`] for a file that exists and cannot be read, and for what cannot be a key.
    pub fn read(
        source: &KeySource,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, KeyError> {
        let text = match source {
            KeySource::Env(name) => variable(name),
            KeySource::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(KeyError::Unreadable { label: label(source), source: error }),
            },
        };
        let Some(text) = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if HeaderValue::from_str(&text).is_err() || !text.is_ascii() {
            return Err(KeyError::Malformed { label: label(source) });
        }
        Ok(Some(Self { source: source.clone(), secret: SecretString::from(text) }))
    }

    /// Where it came from, such as `env ANTHROPIC_API_KEY`.
    pub fn label(&self) -> String {
        label(&self.source)
    }

    /// A header with the key behind `prefix`, marked as secret so that nothing prints it.
    pub(crate) fn header(&self, prefix: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.secret.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.label())
    }
}

/// Where a key is, in words: `env NAME` or `file PATH`.
pub fn label(source: &KeySource) -> String {
    match source {
        KeySource::Env(name) => format!("env {name}"),
        KeySource::File(path) => format!("file {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_env(value: &str) -> Result<Option<ApiKey>, KeyError> {
        ApiKey::read(&KeySource::Env("THE_KEY".into()), |name| (name == "THE_KEY").then(|| value.to_owned()))
    }

    #[test]
    fn a_key_is_trimmed_and_never_shown() {
        let key = from_env("  sk-hidden\n").unwrap().unwrap();
        assert_eq!(key.header("Bearer ").unwrap().as_bytes(), b"Bearer sk-hidden");
        assert_eq!(format!("{key:?} {:?}", key.header("")), "ApiKey(env THE_KEY) Some(Sensitive)");
    }

    #[test]
    fn a_blank_variable_and_a_missing_file_are_no_key() {
        assert!(from_env(" \n").unwrap().is_none());
        assert!(ApiKey::read(&KeySource::Env("OTHER".into()), |_| None).unwrap().is_none());
        let missing = std::env::temp_dir().join("trilane-no-such-key");
        assert!(ApiKey::read(&KeySource::File(missing), |_| None).unwrap().is_none());
    }

    #[test]
    fn a_file_that_holds_more_than_a_key_is_refused_without_quoting_it() {
        let error = from_env("sk-hidden\nsk-other").unwrap_err().to_string();
        assert!(error.contains("env THE_KEY") && !error.contains("sk-"), "{error}");
        let folder = ApiKey::read(&KeySource::File(std::env::temp_dir()), |_| None).unwrap_err().to_string();
        assert!(folder.starts_with("cannot read the key from file "), "{folder}");
    }
}
