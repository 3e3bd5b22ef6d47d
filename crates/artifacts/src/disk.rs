//! Whether there is room for a file before it is fetched.

use std::path::{Path, PathBuf};

/// Bytes that stay free after a fetch, so that the queue beside the models can still write.
pub const RESERVE_BYTES: u64 = 256 << 20;

/// There is no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} has {} MB free and {} MB are needed: free some, or set `paths.models` to a folder on a larger disk",
    folder.display(), free_bytes / 1_000_000, needed_bytes / 1_000_000
)]
pub struct NoSpace {
    folder: PathBuf,
    free_bytes: u64,
    needed_bytes: u64,
}

/// Bytes that an ordinary user can still write below `path`, which need not exist yet. `None` where the system
/// does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let mut folder = std::path::absolute(path).ok()?;
    while !folder.exists() {
        folder = folder.parent()?.to_owned();
    }
    let disk = rustix::fs::statvfs(&folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Refuses to start what would fill the disk.
pub(crate) fn ensure_room(folder: &Path, bytes: u64) -> Result<(), NoSpace> {
    judge(folder, free_bytes(folder), bytes)
}

fn judge(folder: &Path, free: Option<u64>, bytes: u64) -> Result<(), NoSpace> {
    let needed_bytes = bytes.saturating_add(RESERVE_BYTES);
    match free {
        Some(free_bytes) if bytes > 0 && free_bytes < needed_bytes => {
            Err(NoSpace { folder: folder.to_owned(), free_bytes, needed_bytes })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_refused_with_both_numbers() {
        let error = judge(Path::new("/models"), Some(500_000_000), 491_400_064).unwrap_err().to_string();
        assert!(error.starts_with("/models has 500 MB free and 759 MB are needed"), "{error}");
        assert_eq!(judge(Path::new("/models"), Some(1), 0), Ok(()));
        assert_eq!(judge(Path::new("/models"), None, u64::MAX), Ok(()));
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_counts_as_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(&folder.path().join("a/b/c")).is_some_and(|bytes| bytes > 0));
    }
}
