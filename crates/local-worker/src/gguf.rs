//! Reads the header of a GGUF file: enough to say what is wrong with it before llama.cpp is asked to load it,
//! and how much memory its context will take. The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The first bytes of every GGUF file.
const MAGIC: [u8; 4] = *b"GGUF";
/// Versions of the format that llama.cpp reads and that this reader knows.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
/// Bounds of a header, far above those of any model, so that a damaged file cannot ask for endless memory.
const MAX_ENTRIES: u64 = 1_000_000;
const MAX_STRING_BYTES: u64 = 64 * 1024 * 1024;
const MAX_DIMENSIONS: u32 = 8;
/// Deepest array inside an array that is read.
const MAX_ARRAY_DEPTH: u32 = 4;
/// Where tensors start when the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;

/// What the header of a GGUF file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Whole numbers by key; of a list of numbers the largest.
    numbers: BTreeMap<String, u64>,
    /// The architecture, such as `llama`.
    architecture: String,
    /// Bytes that the file must have for all of its tensors to be there.
    pub needed_bytes: u64,
}

/// Why a file is not a usable GGUF file.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The system cannot read it.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is something else.
    #[error("it is not a GGUF file (it starts with {0:?})")]
    NotGguf(String),
    /// It is of another version.
    #[error("it has GGUF version {0}; versions 2 and 3 are supported, so convert the model again")]
    Version(u32),
    /// It ends too early, or its header makes no sense.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

impl From<io::Error> for GgufError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("the file ends inside its header"),
            _ => Self::Unreadable(error),
        }
    }
}

impl Header {
    /// Reads the header of `path`.
    ///
    /// # Errors
    /// [`GgufError`] says what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, GgufError> {
        let file = File::open(path).map_err(GgufError::Unreadable)?;
        Self::from_reader(BufReader::with_capacity(1 << 20, file))
    }

    fn from_reader(reader: impl Read) -> Result<Self, GgufError> {
        let mut input = Input { reader, position: 0 };
        let magic: [u8; 4] = input.bytes()?;
        if magic != MAGIC {
            return Err(GgufError::NotGguf(String::from_utf8_lossy(&magic).into_owned()));
        }
        let version = input.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensors = input.count("it claims an absurd number of tensors")?;
        let entries = input.count("it claims an absurd number of metadata entries")?;
        let mut header = Self { numbers: BTreeMap::new(), architecture: String::new(), needed_bytes: 0 };
        for _ in 0..entries {
            header.read_entry(&mut input)?;
        }
        header.needed_bytes = header.read_extent(&mut input, tensors)?;
        Ok(header)
    }

    fn read_entry(&mut self, input: &mut Input<impl Read>) -> Result<(), GgufError> {
        let key = input.string()?;
        let kind = input.u32()?;
        match input.value(kind, 0)? {
            Value::Number(number) => {
                self.numbers.insert(key, number);
            }
            Value::Text(text) if key == "general.architecture" => self.architecture = text,
            Value::Text(_) | Value::Other => {}
        }
        Ok(())
    }

    /// Where the last tensor ends.
    fn read_extent(&self, input: &mut Input<impl Read>, tensors: u64) -> Result<u64, GgufError> {
        let mut last = 0;
        for _ in 0..tensors {
            input.string()?;
            let dimensions = input.u32()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(GgufError::Damaged("a tensor has an absurd number of dimensions"));
            }
            let mut elements: u64 = 1;
            for _ in 0..dimensions {
                elements = elements
                    .checked_mul(input.u64()?)
                    .ok_or(GgufError::Damaged("a tensor is absurdly large"))?;
            }
            let kind = input.u32()?;
            let offset = input.u64()?;
            let end = offset.checked_add(tensor_bytes(kind, elements));
            last = last.max(end.ok_or(GgufError::Damaged("a tensor is absurdly large"))?);
        }
        let alignment = self.numbers.get("general.alignment").copied().unwrap_or(DEFAULT_ALIGNMENT).max(1);
        let start = input.position.next_multiple_of(alignment);
        start.checked_add(last).ok_or(GgufError::Damaged("a tensor is absurdly large"))
    }

    /// Bytes that the keys and values of one token take in the context, in 16-bit numbers, which is what the
    /// context is made with. None where the header does not say enough.
    pub fn kv_bytes_per_token(&self) -> Option<u64> {
        let number = |key: &str| self.numbers.get(&format!("{}.{key}", self.architecture)).copied();
        let layers = number("block_count")?;
        let heads = number("attention.head_count")?.max(1);
        let kv_heads = number("attention.head_count_kv").unwrap_or(heads);
        let width = number("embedding_length")? / heads;
        let key = number("attention.key_length").unwrap_or(width);
        let value = number("attention.value_length").unwrap_or(width);
        layers.checked_mul(kv_heads)?.checked_mul(key.checked_add(value)?)?.checked_mul(2)
    }

    /// Tokens of the window that the model was trained with.
    pub fn trained_window(&self) -> Option<u64> {
        self.numbers.get(&format!("{}.context_length", self.architecture)).copied()
    }
}

/// Bytes of a tensor; 0 for a kind that this reader does not know, so that new kinds are no error.
fn tensor_bytes(kind: u32, elements: u64) -> u64 {
    // (elements of a block, bytes of a block) by the number of the kind in ggml.
    let (block, bytes) = match kind {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        24 => (1, 1),
        27 | 28 => (1, 8),
        29 => (256, 56),
        34 => (256, 54),
        39 => (32, 17),
        _ => return 0,
    };
    elements.div_ceil(block).saturating_mul(bytes)
}

/// A metadata value, as far as this reader needs it.
enum Value {
    Number(u64),
    Text(String),
    Other,
}

struct Input<R> {
    reader: R,
    /// Bytes read so far.
    position: u64,
}

impl<R: Read> Input<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn count(&mut self, problem: &'static str) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > MAX_ENTRIES { Err(GgufError::Damaged(problem)) } else { Ok(count) }
    }

    fn string(&mut self) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > MAX_STRING_BYTES {
            return Err(GgufError::Damaged("a text in the header is absurdly long"));
        }
        let mut bytes = Vec::new();
        if (&mut self.reader).take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(GgufError::Damaged("the file ends inside its header"));
        }
        self.position += length;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 | 7 => Value::Number(u8::from_le_bytes(self.bytes()?).into()),
            1 => signed(i8::from_le_bytes(self.bytes()?).into()),
            2 => Value::Number(u16::from_le_bytes(self.bytes()?).into()),
            3 => signed(i16::from_le_bytes(self.bytes()?).into()),
            4 => Value::Number(self.u32()?.into()),
            5 => signed(i32::from_le_bytes(self.bytes()?).into()),
            6 => self.bytes::<4>().map(|_| Value::Other)?,
            8 => Value::Text(self.string()?),
            9 if depth < MAX_ARRAY_DEPTH => self.array(depth)?,
            10 => Value::Number(self.u64()?),
            11 => signed(i64::from_le_bytes(self.bytes()?)),
            12 => self.bytes::<8>().map(|_| Value::Other)?,
            _ => return Err(GgufError::Damaged("its metadata holds a value of an unknown kind")),
        })
    }

    /// The largest number of a list: models with differing layers list their sizes one by one.
    fn array(&mut self, depth: u32) -> Result<Value, GgufError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let mut largest = None;
        for _ in 0..count {
            if let Value::Number(number) = self.value(kind, depth + 1)? {
                largest = largest.max(Some(number));
            }
        }
        Ok(largest.map_or(Value::Other, Value::Number))
    }
}

fn signed(number: i64) -> Value {
    u64::try_from(number).map_or(Value::Other, Value::Number)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A file with one F16 tensor of 64 elements and the numbers of a small llama.
    pub(crate) fn file() -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(1u64.to_le_bytes());
        let numbers = [("block_count", 4u32), ("attention.head_count", 4), ("attention.head_count_kv", 2)];
        out.extend((numbers.len() as u64 + 3).to_le_bytes());
        text(&mut out, "general.architecture");
        out.extend(8u32.to_le_bytes());
        text(&mut out, "llama");
        for (key, number) in numbers.into_iter().chain([("embedding_length", 128)]) {
            text(&mut out, &format!("llama.{key}"));
            out.extend(4u32.to_le_bytes());
            out.extend(number.to_le_bytes());
        }
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9u32.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        text(&mut out, "a");
        text(&mut out, "b");
        text(&mut out, "token_embd.weight");
        out.extend(2u32.to_le_bytes());
        out.extend(16u64.to_le_bytes());
        out.extend(4u64.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(0u64.to_le_bytes());
        out.resize(out.len().next_multiple_of(32), 0);
        out.resize(out.len() + 128, 0);
        out
    }

    #[test]
    fn the_header_gives_extent_and_context_size() {
        let file = file();
        let header = Header::from_reader(file.as_slice()).unwrap();
        assert_eq!(header.needed_bytes, file.len() as u64);
        assert_eq!(header.kv_bytes_per_token(), Some(4 * 2 * (32 + 32) * 2));
    }

    #[test]
    fn every_cut_header_is_an_error_and_no_panic() {
        let file = file();
        let header_bytes = file.len() - 128 - 32;
        for length in 0..header_bytes {
            assert!(Header::from_reader(&file[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_file_is_named_as_such() {
        let error = Header::from_reader(&b"<!DOCTYPE html>"[..]).unwrap_err().to_string();
        assert_eq!(error, "it is not a GGUF file (it starts with \"<!DO\")");
        let mut old = file();
        old[4] = 1;
        assert!(matches!(Header::from_reader(old.as_slice()), Err(GgufError::Version(1))));
    }

    #[test]
    fn absurd_sizes_are_refused_before_they_are_allocated() {
        let mut many = file();
        many[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(Header::from_reader(many.as_slice()), Err(GgufError::Damaged(_))));
        let mut long = file();
        long[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(Header::from_reader(long.as_slice()), Err(GgufError::Damaged(_))));
    }
}
