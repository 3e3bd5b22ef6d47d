//! Validated identifiers: task ids, agents, lanes and models.
//!
//! Ids, agents and lanes are single NATS subject tokens, so they hold no dot, no space and no wildcard.

use serde::{Deserialize, Serialize};

/// Why a string is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{shown}` is not valid: expected {expected}")]
pub struct NameError {
    kind: &'static str,
    shown: String,
    expected: &'static str,
}

/// Longest part of a rejected name that an error message repeats.
const SHOWN_CHARS: usize = 80;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, max $max:literal, $expected:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Longest accepted name, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// Checks `text` and wraps it.
            ///
            /// # Errors
            /// [`NameError`] names the kind and the accepted characters.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let allowed: fn(u8) -> bool = $allowed;
                let fits = !text.is_empty() && text.len() <= $max && text.bytes().all(allowed);
                if fits {
                    return Ok(Self(text));
                }
                let shown = text.chars().take(SHOWN_CHARS).collect();
                Err(NameError { kind: $kind, shown, expected: $expected })
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Names one task of one agent; the last token of its result's subject.
    TaskId, "task id", max 64, "1 to 64 characters out of A-Z a-z 0-9 _ -",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
);
name!(
    /// Names a producer; the second token of its tasks' subject.
    AgentName, "agent", max 64, "1 to 64 characters out of A-Z a-z 0-9 _ -",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
);
name!(
    /// Names a queue inside a zone, such as `local-fast`.
    LaneName, "lane", max 32, "1 to 32 characters out of a-z 0-9 -",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);
name!(
    /// Names a model of the registry, such as `qwen2.5-coder-0.5b`.
    ModelName, "model", max 64, "1 to 64 characters out of a-z A-Z 0-9 . _ : -",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_wildcards_and_separators_are_no_names() {
        for bad in ["", "a.b", "a b", "*", ">", "é", "a\n", &"x".repeat(65)] {
            assert!(AgentName::new(bad).is_err(), "{bad:?}");
            assert!(TaskId::new(bad).is_err(), "{bad:?}");
        }
        assert!(LaneName::new("Local").is_err());
        assert!(ModelName::new("qwen2.5-coder:0.5b").is_ok());
    }

    #[test]
    fn the_error_says_what_is_accepted() {
        let error = TaskId::new("a.b").unwrap_err().to_string();
        assert_eq!(error, "task id `a.b` is not valid: expected 1 to 64 characters out of A-Z a-z 0-9 _ -");
    }
}
