//! Whether a file is the pinned one, remembered in a marker beside it so that start-up does not hash gigabytes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes read at once while hashing.
const READ_BYTES: usize = 1 << 20;

/// What lies where a pinned file should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum FileState {
    /// Nothing, or nothing that can be read.
    Missing,
    /// The pinned file.
    Verified {
        /// Its size.
        bytes: u64,
    },
    /// Another file.
    Mismatch {
        /// Its size.
        bytes: u64,
        /// Its SHA-256, hex.
        found_sha256: String,
    },
}

/// What the marker remembers: the file that had this hash when it was last read in full.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    path: PathBuf,
    bytes: u64,
    modified_ns: u64,
    sha256: String,
}

/// Whether `path` has this SHA-256 (hex). Reads the whole file unless a marker for its path, size and time of
/// change says so already. Blocks: call it from a thread that may.
pub fn is_verified(path: &Path, sha256: &str) -> bool {
    matches!(state(path, sha256), FileState::Verified { .. })
}

/// As [`is_verified`], with what was found instead.
pub fn state(path: &Path, sha256: &str) -> FileState {
    look(path, sha256).unwrap_or(FileState::Missing)
}

fn look(path: &Path, sha256: &str) -> io::Result<FileState> {
    let expected = sha256.to_ascii_lowercase();
    let now = Marker::of(path, expected.clone())?;
    let bytes = now.bytes;
    if read_marker(path).as_ref() == Some(&now) {
        return Ok(FileState::Verified { bytes });
    }
    let found_sha256 = hash_file(path)?;
    if found_sha256 != expected {
        return Ok(FileState::Mismatch { bytes, found_sha256 });
    }
    remember(path, &now);
    Ok(FileState::Verified { bytes })
}

/// Writes the marker of a file that was hashed while it was written.
pub(crate) fn mark(path: &Path, sha256: &str) {
    if let Ok(marker) = Marker::of(path, sha256.to_ascii_lowercase()) {
        remember(path, &marker);
    }
}

/// SHA-256 of a file, hex.
pub(crate) fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hash_prefix(&mut hasher, path, u64::MAX)?;
    Ok(hex(hasher))
}

/// Feeds the first `bytes` of a file to `hasher`.
pub(crate) fn hash_prefix(hasher: &mut Sha256, path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::open(path)?.take(bytes);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The digest so far, as lower-case hex.
pub(crate) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Marker {
    fn of(path: &Path, sha256: String) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let metadata = path.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let modified_ns = modified_ns(&metadata)?;
        Ok(Self { path, bytes: metadata.len(), modified_ns, sha256 })
    }
}

fn modified_ns(metadata: &Metadata) -> io::Result<u64> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn marker_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.fetched"))
}

fn read_marker(path: &Path) -> Option<Marker> {
    serde_json::from_slice(&std::fs::read(marker_path(path)).ok()?).ok()
}

/// A marker that cannot be written (a read-only folder) costs a hash at the next start, nothing else.
fn remember(path: &Path, marker: &Marker) {
    if let Ok(text) = serde_json::to_vec(marker) {
        let _ = std::fs::write(marker_path(path), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256_OF_HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn a_changed_file_is_hashed_again_and_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        assert_eq!(state(&path, SHA256_OF_HELLO), FileState::Missing);
        std::fs::write(&path, "hello").unwrap();
        assert!(is_verified(&path, SHA256_OF_HELLO));
        assert!(marker_path(&path).exists());
        std::fs::write(&path, "hello, changed").unwrap();
        assert!(matches!(state(&path, SHA256_OF_HELLO), FileState::Mismatch { bytes: 14, .. }));
    }

    #[test]
    fn the_marker_spares_the_hash_only_for_the_same_size_time_and_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, "hello").unwrap();
        let other = "0".repeat(64);
        // A marker that claims another hash for this very file is believed: it shows that nothing was read.
        mark(&path, &other);
        assert!(is_verified(&path, &other));
        assert!(is_verified(&path, SHA256_OF_HELLO));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        mark(&path, &other);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(!is_verified(&path, &other));
    }

    #[test]
    fn a_folder_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(state(folder.path(), SHA256_OF_HELLO), FileState::Missing);
    }
}
