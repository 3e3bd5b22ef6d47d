//! Checks a model's file before it is loaded: there, a GGUF, whole, and the one that the registry means.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::gguf::{GgufError, Header};

/// Bytes read at once while a file is hashed.
const CHUNK_BYTES: usize = 1 << 20;
/// Ends the name of the note that a file has been verified.
const NOTE_SUFFIX: &str = ".verified.json";

/// What a model's file must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its name in the registry, for messages.
    pub model: &'a str,
    /// Its size, bytes.
    pub bytes: Option<u64>,
    /// Its SHA-256, lower-case hex.
    pub sha256: Option<&'a str>,
    /// Whether `trilane models fetch` can get it.
    pub can_be_fetched: bool,
}

/// Why a model's file cannot be used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("{} is not there; {advice}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What to do.
        advice: String,
    },
    /// It is not the expected file, or not all of it.
    #[error("{} cannot be used: {problem}; {advice}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// The system cannot read it.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A file's state at the time it was verified. Any change to the file makes it void.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    sha256: String,
    bytes: u64,
    modified_ns: u128,
}

impl Note {
    fn of(metadata: &Metadata, sha256: &str) -> Option<Self> {
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { sha256: sha256.into(), bytes: metadata.len(), modified_ns: modified.as_nanos() })
    }
}

/// Checks `path` and returns its header. `progress` is told how much of the file has been hashed, 0 to 1; a
/// file that was verified before and has not changed is not hashed again.
///
/// # Errors
/// [`FileError`].
pub fn check(path: &Path, expected: Expected<'_>, progress: impl FnMut(f32)) -> Result<Header, FileError> {
    let unusable =
        |problem: String| FileError::Unusable { path: path.into(), problem, advice: advice(path, expected) };
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.into(), advice: advice(path, expected) },
        _ => FileError::Unreadable { path: path.into(), source },
    })?;
    let header = Header::read(path).map_err(|error| match error {
        GgufError::Unreadable(source) => FileError::Unreadable { path: path.into(), source },
        other => unusable(other.to_string()),
    })?;
    if metadata.len() < header.needed_bytes {
        return Err(unusable(format!(
            "it is cut short at {} of {} bytes",
            metadata.len(),
            header.needed_bytes
        )));
    }
    if let Some(bytes) = expected.bytes.filter(|bytes| *bytes != metadata.len()) {
        return Err(unusable(format!("it has {} bytes, the registry says {bytes}", metadata.len())));
    }
    if let Some(sha256) = expected.sha256 {
        check_sha256(path, &metadata, sha256, progress, unusable)?;
    }
    Ok(header)
}

fn advice(path: &Path, expected: Expected<'_>) -> String {
    if expected.can_be_fetched {
        return format!("run `trilane models fetch {}`", expected.model);
    }
    let folder = path.parent().unwrap_or(Path::new(".")).display();
    format!("put the GGUF file of its publisher into {folder}, or correct `models.{}.path`", expected.model)
}

fn check_sha256(
    path: &Path,
    metadata: &Metadata,
    sha256: &str,
    progress: impl FnMut(f32),
    unusable: impl Fn(String) -> FileError,
) -> Result<(), FileError> {
    let note = Note::of(metadata, sha256);
    if note.is_some() && read_note(path) == note {
        return Ok(());
    }
    let found = hash(path, metadata.len(), progress)
        .map_err(|source| FileError::Unreadable { path: path.into(), source })?;
    if found != sha256 {
        return Err(unusable(format!("its SHA-256 is {found}, the registry says {sha256}")));
    }
    if let Some(note) = note {
        write_note(path, &note);
    }
    Ok(())
}

fn hash(path: &Path, bytes: u64, mut progress: impl FnMut(f32)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut done = 0u64;
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        hasher.update(&chunk[..count]);
        done += count as u64;
        progress(done as f32 / bytes.max(1) as f32);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn note_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NOTE_SUFFIX);
    name.into()
}

fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(note_path(path)).ok()?).ok()
}

/// A folder that cannot be written only costs the time of hashing again at the next start.
fn write_note(path: &Path, note: &Note) {
    let written =
        serde_json::to_vec(note).map_err(io::Error::from).and_then(|text| fs::write(note_path(path), text));
    if let Err(error) = written {
        tracing::debug!(%error, path = %path.display(), "the file is verified again at the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::tests::file;

    /// A folder of its own for each test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("trilane-file-check-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn put(&self, bytes: &[u8]) -> PathBuf {
            let path = self.0.join("model.gguf");
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn expected(sha256: Option<&str>) -> Expected<'_> {
        Expected { model: "tiny", bytes: None, sha256, can_be_fetched: true }
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn each_failure_says_what_to_do() {
        let folder = Folder::new("failures");
        let missing = check(&folder.0.join("none.gguf"), expected(None), |_| {}).unwrap_err().to_string();
        assert!(missing.contains("is not there; run `trilane models fetch tiny`"), "{missing}");
        let own = Expected { can_be_fetched: false, ..expected(None) };
        let missing = check(&folder.0.join("none.gguf"), own, |_| {}).unwrap_err().to_string();
        assert!(missing.contains("put the GGUF file of its publisher into"), "{missing}");
        let page = check(&folder.put(b"<html>"), expected(None), |_| {}).unwrap_err().to_string();
        assert!(page.contains("not a GGUF file") && page.contains("trilane models fetch"), "{page}");
        let whole = file();
        let cut =
            check(&folder.put(&whole[..whole.len() - 1]), expected(None), |_| {}).unwrap_err().to_string();
        assert!(cut.contains("cut short"), "{cut}");
        let sized = Expected { bytes: Some(7), ..expected(None) };
        let other = check(&folder.put(&whole), sized, |_| {}).unwrap_err().to_string();
        assert!(other.contains("the registry says 7"), "{other}");
        let zeros = "0".repeat(64);
        let other = check(&folder.put(&whole), expected(Some(&zeros)), |_| {}).unwrap_err().to_string();
        assert!(other.contains(&sha256(&whole)) && other.contains(&zeros), "{other}");
    }

    #[test]
    fn a_verified_file_is_hashed_once_until_it_changes() {
        let folder = Folder::new("note");
        let mut bytes = file();
        let right = sha256(&bytes);
        let path = folder.put(&bytes);
        let mut hashed = 0;
        for _ in 0..2 {
            check(&path, expected(Some(&right)), |_| hashed += 1).unwrap();
        }
        assert_eq!(hashed, 1, "the second start trusts the note");
        // Another size voids the note whatever the clock's resolution is.
        bytes.push(0);
        let path = folder.put(&bytes);
        check(&path, expected(Some(&right)), |_| hashed += 1).unwrap_err();
        assert_eq!(hashed, 2);
    }
}
