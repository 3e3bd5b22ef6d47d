//! A file server whose answers a test scripts, and which remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use zip::write::SimpleFileOptions;

/// What goes wrong with one answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The connection breaks after so many bytes.
    CutAfter(usize),
    /// 503.
    Busy,
}

/// One path's content.
#[derive(Debug, Clone)]
pub(super) struct Hosted {
    body: Vec<u8>,
    kind: &'static str,
    etag: Option<&'static str>,
    has_ranges: bool,
    has_length: bool,
    location: Option<&'static str>,
    faults: VecDeque<Fault>,
}

impl Hosted {
    pub(super) fn new(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            kind: "application/octet-stream",
            etag: None,
            has_ranges: true,
            has_length: true,
            location: None,
            faults: VecDeque::new(),
        }
    }

    pub(super) fn redirect(to: &'static str) -> Self {
        Self { location: Some(to), ..Self::new(b"") }
    }

    pub(super) fn with_etag(self, etag: &'static str) -> Self {
        Self { etag: Some(etag), ..self }
    }

    pub(super) fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push_back(fault);
        self
    }

    pub(super) fn without_ranges(self) -> Self {
        Self { has_ranges: false, ..self }
    }

    pub(super) fn without_length(self) -> Self {
        Self { has_length: false, ..self }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    path: String,
    pub(super) range: Option<String>,
    pub(super) if_range: Option<String>,
}

#[derive(Debug, Default)]
struct Content {
    hosted: Mutex<HashMap<String, Hosted>>,
    seen: Mutex<Vec<Seen>>,
}

/// The server; it ends with the test's runtime.
#[derive(Debug)]
pub(super) struct Server {
    address: std::net::SocketAddr,
    content: Arc<Content>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let content = Arc::new(Content::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&content));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, content }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Hosts `path` and forgets what it was asked for so far.
    pub(super) fn host(&self, path: &str, hosted: Hosted) {
        self.content.seen.lock().unwrap().retain(|seen| seen.path != path);
        self.content.hosted.lock().unwrap().insert(path.to_owned(), hosted);
    }

    pub(super) fn add_fault(&self, path: &str, fault: Fault) {
        self.content.hosted.lock().unwrap().get_mut(path).unwrap().faults.push_back(fault);
    }

    /// Hosts version 1.0 of a project: its page and its wheel.
    pub(super) fn host_project(&self, project: &str, wheel: &[u8], sha256: &str, is_json: bool) {
        self.host_page(project, Some(sha256), Some(wheel.len()), is_json);
        self.host(&format!("/files/{project}-1.0-py3-none-any.whl"), Hosted::new(wheel));
    }

    pub(super) fn host_page(&self, project: &str, sha256: Option<&str>, size: Option<usize>, is_json: bool) {
        let filename = format!("{project}-1.0-py3-none-any.whl");
        let hashes: HashMap<&str, &str> = sha256.map(|hash| ("sha256", hash)).into_iter().collect();
        let fragment = sha256.map(|hash| format!("#sha256={hash}")).unwrap_or_default();
        let file = serde_json::json!({
            "filename": filename, "url": format!("/files/{filename}"), "hashes": hashes, "size": size
        });
        let page = serde_json::json!({ "meta": { "api-version": "1.1" }, "name": project, "files": [file] });
        let html =
            format!("<html><body><a href=\"../../files/{filename}{fragment}\">{filename}</a></body></html>");
        let (kind, body) = match is_json {
            true => ("application/vnd.pypi.simple.v1+json", page.to_string()),
            false => ("text/html; charset=utf-8", html),
        };
        self.host(&format!("/simple/{project}/"), Hosted { kind, ..Hosted::new(body.as_bytes()) });
    }

    /// What `path` was asked for.
    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        self.content.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }
}

/// A zip file with one deflated member.
pub(super) fn wheel(member: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file(member, SimpleFileOptions::default()).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap().into_inner()
}

async fn answer(State(content): State<Arc<Content>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let text = |name| {
        request.headers().get(name).map(|value: &header::HeaderValue| value.to_str().unwrap().to_owned())
    };
    let seen = Seen { path: path.clone(), range: text(header::RANGE), if_range: text(header::IF_RANGE) };
    content.seen.lock().unwrap().push(seen.clone());
    let mut hosted = content.hosted.lock().unwrap();
    let Some(hosted) = hosted.get_mut(&path) else { return status(StatusCode::NOT_FOUND) };
    match hosted.faults.pop_front() {
        Some(Fault::Busy) => status(StatusCode::SERVICE_UNAVAILABLE),
        Some(Fault::CutAfter(bytes)) => deliver(hosted, &seen, Some(bytes)),
        None => deliver(hosted, &seen, None),
    }
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn deliver(hosted: &Hosted, seen: &Seen, cut: Option<usize>) -> Response {
    let from = range_start(hosted, seen);
    let rest = hosted.body[from.unwrap_or(0)..].to_vec();
    let mut headers = HeaderMap::new();
    let mut put = |name, value: &str| headers.insert(name, value.parse().unwrap());
    put(header::CONTENT_TYPE, hosted.kind);
    if hosted.has_length {
        put(header::CONTENT_LENGTH, &rest.len().to_string());
    }
    if let Some(etag) = hosted.etag {
        put(header::ETAG, etag);
    }
    if let Some(location) = hosted.location {
        put(header::LOCATION, location);
    }
    if let Some(from) = from {
        put(header::CONTENT_RANGE, &format!("bytes {from}-{}/{}", hosted.body.len() - 1, hosted.body.len()));
    }
    let code = match (hosted.location, from) {
        (Some(_), _) => StatusCode::FOUND,
        (None, Some(_)) => StatusCode::PARTIAL_CONTENT,
        (None, None) => StatusCode::OK,
    };
    let mut response = Response::new(body(rest, cut));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    response
}

fn range_start(hosted: &Hosted, seen: &Seen) -> Option<usize> {
    let range = seen.range.as_deref().filter(|_| hosted.has_ranges)?;
    let holds = seen.if_range.is_none() || seen.if_range.as_deref() == hosted.etag;
    let from = range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    (holds && from < hosted.body.len()).then_some(from)
}

/// The pause before the break lets the server send what it has.
fn body(rest: Vec<u8>, cut: Option<usize>) -> Body {
    let Some(cut) = cut else {
        return Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(rest)]));
    };
    let sent = futures_util::stream::iter([Ok(Bytes::copy_from_slice(&rest[..cut]))]);
    let broken = futures_util::stream::once(async {
        tokio::task::yield_now().await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(sent.chain(broken))
}
