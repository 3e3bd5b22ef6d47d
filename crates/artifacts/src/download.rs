//! One URL into one file, over as many connections as it takes.
//!
//! Beside the growing file lies a note of what it is the beginning of. A later request asks for the rest
//! under that condition (RFC 9110, `Range` with `If-Range`), so that two versions are never mixed.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::disk::{self, NoSpace};
use crate::http::{Http, HttpError, shown};
use crate::progress::Meter;
use crate::retry::Retry;

/// Requests for one file, all failures together: bounds a server that cuts every answer short.
const MAX_REQUESTS: u32 = 1_000;

/// Most bytes taken from a server where no size is pinned.
pub(crate) const UNPINNED_LIMIT_BYTES: u64 = 256 << 30;

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server holds a file of another size.
    #[error("{url} has {found} bytes, expected {expected}: it is not the pinned file")]
    WrongSize {
        /// The URL.
        url: String,
        /// What the server says.
        found: u64,
        /// What is pinned, or what the index says.
        expected: u64,
    },
    /// What is there is no beginning of what the server holds now.
    #[error("{url} has changed since the fetch began; it starts over")]
    Changed {
        /// The URL.
        url: String,
    },
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
    /// Nothing helped.
    #[error(
        "gave up after {failures} failures in a row; what is there is kept, and the next fetch goes on. Last: {last}"
    )]
    GaveUp {
        /// How many.
        failures: u32,
        /// The last of them.
        last: Box<DownloadError>,
    },
}

impl DownloadError {
    /// Whether another fetch may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Http(error) => error.is_retryable(),
            Self::Changed { .. } => true,
            Self::GaveUp { last, .. } => last.is_retryable(),
            Self::WrongSize { .. } | Self::NoSpace(_) | Self::Write { .. } => false,
        }
    }
}

/// What to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Where it is.
    pub(crate) url: Url,
    /// Its size, where that is known beforehand.
    pub(crate) bytes: Option<u64>,
    /// What the meter shows for its first byte.
    pub(crate) meter_offset: u64,
}

/// What a growing file is the beginning of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    /// Without credentials: this lies on the disk.
    url: String,
    etag: Option<String>,
    bytes: Option<u64>,
}

/// How to go on.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Fresh,
    Rest { from: u64, if_range: Option<String> },
    Nothing,
}

/// Fetches `remote` into `part`, going on with what is there. Returns whether anything of an earlier connection
/// was used. The content is for the caller to verify.
pub(crate) async fn download(
    http: &Http,
    retry: &Retry,
    remote: &Remote,
    part: &Path,
    meter: &Meter,
) -> Result<bool, DownloadError> {
    let mut is_pieced = false;
    let mut failures = 0;
    for _ in 0..MAX_REQUESTS {
        let before = size_of(part);
        is_pieced |= before > 0;
        let Err(error) = request(http, remote, part, meter).await else { return Ok(is_pieced) };
        if !error.is_retryable() {
            return Err(error);
        }
        failures = if size_of(part) > before { 1 } else { failures + 1 };
        if failures >= retry.failures {
            return Err(DownloadError::GaveUp { failures, last: Box::new(error) });
        }
        let wish = if let DownloadError::Http(http) = &error { http.retry_after() } else { None };
        let delay = retry.delay(failures, wish);
        meter.note(&format!("{error}; again in {:.1} s", delay.as_secs_f64()));
        tokio::time::sleep(delay).await;
    }
    let last = Box::new(DownloadError::Changed { url: shown(&remote.url) });
    Err(DownloadError::GaveUp { failures: MAX_REQUESTS, last })
}

/// Removes a growing file and its note.
pub(crate) fn discard(part: &Path) {
    let _ = std::fs::remove_file(part);
    let _ = std::fs::remove_file(origin_path(part));
}

/// Removes the note of a file that is complete.
pub(crate) fn forget_origin(part: &Path) {
    let _ = std::fs::remove_file(origin_path(part));
}

/// One request, and as much of its answer as arrives.
async fn request(http: &Http, remote: &Remote, part: &Path, meter: &Meter) -> Result<(), DownloadError> {
    let plan = plan(size_of(part), read_origin(part).as_ref(), &remote.url, remote.bytes);
    if plan == Plan::Nothing {
        meter.set_position(remote.meter_offset + size_of(part));
        return Ok(());
    }
    let response = match http.get(&remote.url, conditions(&plan)).await {
        Err(error @ HttpError::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, .. }) => {
            discard(part);
            return Err(error.into());
        }
        other => other?,
    };
    let Some(from) = start_of(&plan, &response) else {
        discard(part);
        return Err(DownloadError::Changed { url: shown(&remote.url) });
    };
    let bytes = total_bytes(remote, &response, from)?;
    disk::ensure_room(part.parent().unwrap_or(Path::new(".")), bytes.unwrap_or(0).saturating_sub(from))?;
    let origin = Origin { url: shown(&remote.url), etag: strong_etag(&response), bytes };
    save(remote, part, &origin, from, response, meter).await
}

fn plan(have: u64, origin: Option<&Origin>, url: &Url, known_bytes: Option<u64>) -> Plan {
    let Some(origin) = origin.filter(|origin| origin.url == shown(url) && have > 0) else {
        return Plan::Fresh;
    };
    match known_bytes.or(origin.bytes) {
        Some(bytes) if bytes == have => Plan::Nothing,
        Some(bytes) if bytes < have => Plan::Fresh,
        None if origin.etag.is_none() => Plan::Fresh,
        _ => Plan::Rest { from: have, if_range: origin.etag.clone() },
    }
}

fn conditions(plan: &Plan) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Plan::Rest { from, if_range } = plan {
        let range = HeaderValue::from_str(&format!("bytes={from}-"));
        headers.extend(range.map(|range| (RANGE, range)));
        let etag = if_range.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok());
        headers.extend(etag.map(|etag| (IF_RANGE, etag)));
    }
    headers
}

/// Where in the file the answer begins; `None` where it is not what was asked for. A server without ranges
/// answers 200 with the whole.
fn start_of(plan: &Plan, response: &Response) -> Option<u64> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Some(0);
    }
    let Plan::Rest { from, .. } = plan else { return None };
    let (start, _) = content_range(response.headers())?;
    (start == *from).then_some(start)
}

/// Start and total of `bytes 1000-1999/92871040`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

/// The size of the whole file, as pinned and as the server says; they must agree.
fn total_bytes(remote: &Remote, response: &Response, from: u64) -> Result<Option<u64>, DownloadError> {
    let in_range = content_range(response.headers()).and_then(|(_, total)| total);
    let found = in_range.or_else(|| response.content_length().map(|rest| from + rest));
    match (found, remote.bytes) {
        (Some(found), Some(expected)) if found != expected => {
            Err(DownloadError::WrongSize { url: shown(&remote.url), found, expected })
        }
        _ => Ok(remote.bytes.or(found)),
    }
}

/// A weak tag does not promise equal bytes, so it is no condition for a range.
fn strong_etag(response: &Response) -> Option<String> {
    let etag = response.headers().get(ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}

async fn save(
    remote: &Remote,
    part: &Path,
    origin: &Origin,
    from: u64,
    response: Response,
    meter: &Meter,
) -> Result<(), DownloadError> {
    let failed = |cause| DownloadError::Write { path: part.to_owned(), cause };
    let mut file = open_at(part, from).await.map_err(failed)?;
    write_origin(part, origin).map_err(failed)?;
    let mut writer = Writer { file: &mut file, position: from, limit: origin.bytes };
    let copied = writer.copy(remote, response, meter, &failed).await;
    // What has arrived is kept, whatever ended it: the next request goes on from there.
    file.flush().await.map_err(failed)?;
    copied
}

struct Writer<'a> {
    file: &'a mut File,
    position: u64,
    limit: Option<u64>,
}

impl Writer<'_> {
    async fn copy(
        &mut self,
        remote: &Remote,
        response: Response,
        meter: &Meter,
        failed: &impl Fn(io::Error) -> DownloadError,
    ) -> Result<(), DownloadError> {
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| HttpError::network(&remote.url, error))?;
            let after = self.position + chunk.len() as u64;
            let expected = self.limit.unwrap_or(UNPINNED_LIMIT_BYTES);
            if after > expected {
                return Err(DownloadError::WrongSize { url: shown(&remote.url), found: after, expected });
            }
            self.file.write_all(&chunk).await.map_err(failed)?;
            self.position = after;
            meter.set_position(remote.meter_offset + after);
        }
        if self.limit.is_some_and(|bytes| self.position < bytes) {
            let reason = "the connection ended before the file did".to_owned();
            return Err(HttpError::Network { url: shown(&remote.url), reason }.into());
        }
        Ok(())
    }
}

async fn open_at(part: &Path, from: u64) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(part).await?;
    file.set_len(from).await?;
    Ok(file)
}

fn size_of(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

fn origin_path(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".origin");
    PathBuf::from(name)
}

fn read_origin(part: &Path) -> Option<Origin> {
    serde_json::from_slice(&std::fs::read(origin_path(part)).ok()?).ok()
}

fn write_origin(part: &Path, origin: &Origin) -> io::Result<()> {
    std::fs::write(origin_path(part), serde_json::to_vec(origin)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://files.example/model.gguf").unwrap()
    }

    fn origin(etag: Option<&str>, bytes: Option<u64>) -> Origin {
        Origin { url: shown(&url()), etag: etag.map(str::to_owned), bytes }
    }

    #[test]
    fn a_rest_is_asked_for_only_where_versions_cannot_mix() {
        let tagged = origin(Some("\"v1\""), None);
        let rest = |if_range: Option<&str>| Plan::Rest { from: 5, if_range: if_range.map(str::to_owned) };
        assert_eq!(plan(5, Some(&tagged), &url(), None), rest(Some("\"v1\"")));
        assert_eq!(plan(5, Some(&origin(None, Some(9))), &url(), None), rest(None));
        assert_eq!(plan(5, Some(&origin(None, None)), &url(), Some(9)), rest(None));
        assert_eq!(plan(5, Some(&origin(None, None)), &url(), None), Plan::Fresh);
        assert_eq!(plan(5, None, &url(), Some(9)), Plan::Fresh);
        assert_eq!(plan(0, Some(&tagged), &url(), Some(9)), Plan::Fresh);
        assert_eq!(plan(9, Some(&tagged), &url(), Some(9)), Plan::Nothing);
        assert_eq!(plan(10, Some(&tagged), &url(), Some(9)), Plan::Fresh);
        let other = Url::parse("https://files.example/other.gguf").unwrap();
        assert_eq!(plan(5, Some(&tagged), &other, Some(9)), Plan::Fresh);
    }

    #[test]
    fn content_ranges_are_read_with_and_without_total() {
        let read = |text: &'static str| {
            content_range(&HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(text))]))
        };
        assert_eq!(read("bytes 1000-1999/92871040"), Some((1_000, Some(92_871_040))));
        assert_eq!(read("bytes 5-9/*"), Some((5, None)));
        assert_eq!(read("bytes */10"), None);
        assert_eq!(read("lines 1-2/3"), None);
    }
}
