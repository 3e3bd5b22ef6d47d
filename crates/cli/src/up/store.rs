//! The folder that one `trilane up` works in: queue, logs, and a lock that keeps a second one out.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The server's accounts, beside its configuration.
pub(super) const ACCOUNTS_FILE: &str = "accounts.conf";

/// The folder, locked while this lives. The lock goes with the process, however it ends.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    _lock: File,
}

impl Store {
    /// Makes the folder where it is missing, and locks it.
    ///
    /// # Errors
    /// A folder that cannot be written, or that another `trilane up` works in.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let shown = folder.display();
        let folder =
            std::path::absolute(folder).with_context(|| format!("`paths.data`: no path: {shown}"))?;
        std::fs::create_dir_all(folder.join("logs")).with_context(|| {
            format!("cannot make {shown}; set `paths.data` to a folder that can be written")
        })?;
        let lock =
            File::create(folder.join("up.lock")).with_context(|| format!("cannot write into {shown}"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another `trilane up` works in {shown}; stop it, or give this one a folder and a server of its own \
                 (TRILANE__PATHS__DATA and TRILANE__NATS__URL)"
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {shown}")),
        }
    }

    /// Where the logs of all processes are.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Where the server keeps the queue.
    pub(super) fn jetstream(&self) -> PathBuf {
        self.folder.join("jetstream")
    }

    /// The server's configuration.
    pub(super) fn nats_config(&self) -> PathBuf {
        self.file("nats.conf")
    }

    /// What it includes: who may do what.
    pub(super) fn accounts(&self) -> PathBuf {
        self.file(ACCOUNTS_FILE)
    }

    /// A file of this folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(&folder.path().join("data")).unwrap();
        let second = Store::open(&folder.path().join("data")).unwrap_err().to_string();
        assert!(
            second.contains("another `trilane up`") && second.contains("TRILANE__PATHS__DATA"),
            "{second}"
        );
        drop(first);
        Store::open(&folder.path().join("data")).unwrap();
    }
}
