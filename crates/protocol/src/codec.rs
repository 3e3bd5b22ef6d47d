//! MessagePack and JSON. Decoding is strict and its errors name the field; they never repeat text of the task.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::nearest::with_suggestion;

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// `application/msgpack`, maps with field names.
    Msgpack,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// The value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Msgpack => "application/msgpack",
            Self::Json => "application/json",
        }
    }

    /// The encoding that `content_type` names; without one, what the first byte tells.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown content type, or a payload that opens neither a JSON object nor a
    /// MessagePack map.
    pub fn detect(content_type: Option<&str>, payload: &[u8]) -> Result<Self, DecodeError> {
        match content_type.map(essence).as_deref() {
            Some("application/json") => Ok(Self::Json),
            Some("application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack") => {
                Ok(Self::Msgpack)
            }
            Some(other) => Err(DecodeError::new(
                "Content-Type",
                format!("expected application/json or application/msgpack, found `{}`", shorten(other)),
            )),
            None => sniff(payload),
        }
    }

    /// Encodes `value`.
    ///
    /// # Panics
    /// Never for the types of this crate: their maps have text keys and their numbers are finite.
    pub fn encode(self, value: &impl Serialize) -> Vec<u8> {
        match self {
            Self::Msgpack => rmp_serde::to_vec_named(value).expect("wire types always encode"),
            Self::Json => serde_json::to_vec(value).expect("wire types always encode"),
        }
    }

    /// Decodes one value, which must be a map with known fields and nothing behind it.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what was expected.
    pub fn decode<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, DecodeError> {
        if sniff(payload)? != self {
            let expected = match self {
                Self::Json => "expected a JSON object",
                Self::Msgpack => "expected a MessagePack map",
            };
            return Err(DecodeError::new("", expected));
        }
        match self {
            Self::Json => decode_json(payload),
            Self::Msgpack => decode_msgpack(payload),
        }
    }
}

/// Why a payload could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{expected}", if field.is_empty() { String::new() } else { format!("field `{field}`: ") })]
pub struct DecodeError {
    /// Path of the field, empty for the payload as a whole.
    pub field: String,
    /// What was expected.
    pub expected: String,
}

impl DecodeError {
    fn new(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), expected: expected.into() }
    }
}

fn decode_json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| readable(&error))?;
    deserializer.end().map_err(|_| DecodeError::new("", "expected nothing behind the JSON object"))?;
    Ok(value)
}

/// Deepest nesting that is read; the same as serde_json's own.
const MAX_DEPTH: usize = 128;

fn decode_msgpack<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    let mut rest = payload;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(MAX_DEPTH);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| readable(&error))?;
    if rest.is_empty() {
        return Ok(value);
    }
    Err(DecodeError::new("", "expected nothing behind the MessagePack map"))
}

/// Tells the encodings apart: `{` is no MessagePack map, and no JSON text starts with a byte above 0x7f.
fn sniff(payload: &[u8]) -> Result<Encoding, DecodeError> {
    match payload.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(Encoding::Json),
        Some(0x80..=0x8f | 0xde | 0xdf) => Ok(Encoding::Msgpack),
        Some(_) => Err(DecodeError::new("", "expected a JSON object or a MessagePack map")),
        None => Err(DecodeError::new("", "expected a JSON object or a MessagePack map, found nothing")),
    }
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn readable<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> DecodeError {
    let path = error.path().to_string();
    let field = if path == "." { String::new() } else { path };
    DecodeError::new(field, with_suggestion(&without_values(&error.inner().to_string())))
}

/// Serde quotes the value it met (`invalid type: string "…", expected u32`). That may be a prompt, so the
/// quoted part is cut out.
fn without_values(message: &str) -> String {
    let cut = match (message.find('"'), message.rfind('"')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{}", message[..start].trim_end(), &message[end + 1..])
        }
        _ => message.to_owned(),
    };
    shorten(&cut)
}

/// Longest part of foreign text in an error message; long enough for the list of all known fields.
const SHOWN_CHARS: usize = 400;

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::Task;

    const TASK_JSON: &str = concat!(
        r#"{"id":"t1","prompt":"hi","sensitivity":"private","tags":["legal"],"complexity":0.5,"max_tokens":8,"#,
        r#""stop":["\n"],"priority":"high","deadline":60.0,"metadata":{"order":7}}"#
    );

    /// The same task as MessagePack, byte for byte: a map of ten entries with field names.
    const TASK_MSGPACK: &str = "8aa26964a27431a670726f6d7074a26869ab73656e7369746976697479a770726976617465\
        a47461677391a56c6567616caa636f6d706c6578697479cb3fe0000000000000aa6d61785f746f6b656e7308\
        a473746f7091a10aa87072696f72697479a468696768a8646561646c696e65cb404e000000000000\
        a86d6574616461746181a56f7264657207";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn task() -> Task {
        Encoding::Json.decode(TASK_JSON.as_bytes()).unwrap()
    }

    #[test]
    fn the_bytes_of_both_encodings_are_fixed() {
        assert_eq!(String::from_utf8(Encoding::Json.encode(&task())).unwrap(), TASK_JSON);
        assert_eq!(hex(&Encoding::Msgpack.encode(&task())), TASK_MSGPACK.replace(char::is_whitespace, ""));
    }

    #[test]
    fn both_encodings_read_back_the_same_and_tell_themselves_apart() {
        for encoding in [Encoding::Json, Encoding::Msgpack] {
            let payload = encoding.encode(&task());
            assert_eq!(Encoding::detect(None, &payload).unwrap(), encoding);
            assert_eq!(Encoding::detect(Some(encoding.content_type()), &payload).unwrap(), encoding);
            assert_eq!(encoding.decode::<Task>(&payload).unwrap(), task());
        }
    }

    #[test]
    fn errors_name_the_field_and_never_repeat_a_value() {
        let error = |json: &str| Encoding::Json.decode::<Task>(json.as_bytes()).unwrap_err();
        let wrong_type = error(r#"{"prompt":"x","max_tokens":"CANARY"}"#);
        assert_eq!(wrong_type.field, "max_tokens");
        assert!(wrong_type.expected.contains("expected u32") && !wrong_type.expected.contains("CANARY"));
        let nested = error(r#"{"messages":[{"role":"user","content":"a"},{"role":"usr","content":"b"}]}"#);
        assert_eq!(nested.field, "messages[1].role");
        assert!(nested.expected.contains("did you mean `user`?"), "{nested}");
        assert!(error(r#"{"promt":"x"}"#).to_string().contains("did you mean `prompt`?"));
        assert!(error(r#"{"prompt":"a","prompt":"b"}"#).to_string().contains("duplicate field"));
    }

    #[test]
    fn what_stands_behind_the_map_is_an_error() {
        let mut payload = Encoding::Msgpack.encode(&task());
        payload.push(0);
        assert!(Encoding::Msgpack.decode::<Task>(&payload).is_err());
        assert!(Encoding::Json.decode::<Task>(br#"{"prompt":"x"} 1"#).is_err());
    }

    #[test]
    fn a_positional_array_is_no_task() {
        assert!(Encoding::Json.decode::<Task>(br#"["id"]"#).is_err());
        assert!(Encoding::Msgpack.decode::<Task>(&[0x91, 0xa1, b'x']).is_err());
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let mut msgpack = vec![0x81, 0xa8];
        msgpack.extend(b"metadata");
        msgpack.push(0x81);
        msgpack.extend([0xa1, b'x']);
        msgpack.extend(vec![0x91; 100_000]);
        assert!(Encoding::Msgpack.decode::<Task>(&msgpack).is_err());
        let json = format!(r#"{{"metadata":{{"x":{}"#, "[".repeat(100_000));
        assert!(Encoding::Json.decode::<Task>(json.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_whatever_make_decoding_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            for encoding in [Encoding::Json, Encoding::Msgpack] {
                let _ = encoding.decode::<Task>(&payload);
            }
        }
    }
}
