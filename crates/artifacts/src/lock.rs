//! One fetcher for each file: a second one, in this process or another, waits and then finds it done.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::progress::Meter;

/// Between two looks at a lock that another fetcher holds. Looking instead of blocking keeps the wait
/// cancellable.
const POLL: Duration = Duration::from_millis(200);

/// Holds the lock of one file until dropped. The system lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct FetchLock(File);

impl FetchLock {
    /// Waits for the lock of `target`, for as long as the holder lives.
    pub(crate) async fn acquire(target: &Path, meter: &Meter) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(lock_path(target))?;
        let mut is_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if is_told => {}
                Err(TryLockError::WouldBlock) => {
                    meter.note("another process is fetching it; waiting");
                    is_told = true;
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for FetchLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// The lock file stays: removing it would let two fetchers lock two different files of the same name.
fn lock_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.lock"))
}
