//! The scripted models: one HTTP server that speaks OpenAI Chat Completions, with a base path for each lane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::completions::{self, Request, as_json};
use crate::invocations::{Ended, Invocations, Open};
use crate::markers::markers_in;
use crate::schedule::LANES;
use crate::script::{self, ANSWER_TOKENS, Behaviour, PIECES, PROMPT_TOKENS, TOO_LONG_WORD};

/// How long every answer takes once the models are to behave.
const CALM_DELAY: Duration = Duration::from_millis(5);

/// Between the pieces of a streamed answer.
const PIECE_DELAY: Duration = Duration::from_millis(5);

/// The running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    log: Invocations,
    down: [AtomicBool; LANES.len()],
    is_calm: AtomicBool,
}

impl Provider {
    /// Starts on a port that the system chooses.
    ///
    /// # Errors
    /// What the system says where no port can be bound.
    pub async fn start(seed: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            seed,
            log: Invocations::default(),
            down: Default::default(),
            is_calm: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // Every other path is 404, which is also what says that this is no Ollama.
        let routes = Router::new()
            .route("/{lane}/v1/chat/completions", post(chat))
            .route("/{lane}/v1/models", get(models))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(Self { address, shared, serving })
    }

    /// The base URL of a lane's models.
    pub fn base_url(&self, lane: &str) -> String {
        format!("http://{}/{lane}/v1", self.address)
    }

    /// Every invocation until now.
    pub fn log(&self) -> &Invocations {
        &self.shared.log
    }

    /// Lets the models of a lane answer nothing but 503, or no longer.
    pub fn set_down(&self, lane: &str, is_down: bool) {
        if let Some(position) = position(lane) {
            self.shared.down[position].store(is_down, Ordering::Relaxed);
        }
    }

    /// From now on every answer is whole and quick.
    pub fn calm(&self) {
        self.shared.is_calm.store(true, Ordering::Relaxed);
        LANES.iter().for_each(|lane| self.set_down(lane, false));
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn position(lane: &str) -> Option<usize> {
    LANES.iter().position(|known| *known == lane)
}

async fn models(Path(lane): Path<String>) -> Response {
    completions::models(&format!("drill-{lane}"))
}

async fn chat(State(shared): State<Arc<Shared>>, Path(lane): Path<String>, body: Bytes) -> Response {
    let Some(position) = position(&lane) else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(request) = serde_json::from_slice::<Request>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let prompt = request.prompt();
    let mut markers = markers_in(prompt);
    let earlier = request.messages.split_last().map(|(_, earlier)| earlier).unwrap_or_default();
    markers.extend(earlier.iter().flat_map(|message| markers_in(&message.content)));
    let first = markers.first().copied();
    let open = shared.log.open(LANES[position], markers);
    let is_too_long = position == 0 && prompt.contains(TOO_LONG_WORD);
    let behaviour = match () {
        () if shared.down[position].load(Ordering::Relaxed) => Behaviour::Refuse(503),
        () if is_too_long => Behaviour::Refuse(413),
        () if shared.is_calm.load(Ordering::Relaxed) => Behaviour::Answer(CALM_DELAY),
        () => script::behaviour(shared.seed, first, open.attempt),
    };
    let text = script::answer(prompt);
    match behaviour {
        Behaviour::Refuse(status) => refuse(&open, status, None),
        Behaviour::RateLimit(seconds) => refuse(&open, 429, Some(seconds)),
        Behaviour::Answer(after) => {
            tokio::time::sleep(after).await;
            if request.stream { streamed(open, &text, PIECES) } else { plain(&open, &text) }
        }
        Behaviour::Cut(after, pieces) => {
            tokio::time::sleep(after).await;
            if request.stream { streamed(open, &text, pieces) } else { broken(&open) }
        }
    }
}

fn refuse(open: &Open, status: u16, retry_after_s: Option<f64>) -> Response {
    open.end(Ended::Refused(status));
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({"error": {"type": "server_error", "message": "scripted"}});
    let mut response = (status, as_json(&body)).into_response();
    if let Some(value) = retry_after_s.and_then(|seconds| format!("{seconds:.3}").parse().ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn plain(open: &Open, text: &str) -> Response {
    open.charge(PROMPT_TOKENS, ANSWER_TOKENS);
    open.end(Ended::Answered);
    completions::plain(text)
}

/// A plain answer whose connection breaks: the work was done, so it is charged.
fn broken(open: &Open) -> Response {
    open.charge(PROMPT_TOKENS, ANSWER_TOKENS);
    open.end(Ended::Cut);
    let pieces = [Ok(Bytes::from_static(b"{\"object\":")), Err(std::io::Error::other("cut"))];
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(stream::iter(pieces))).into_response()
}

/// What is left of a streamed answer.
struct Rest {
    open: Open,
    /// The next pieces, last first.
    pieces: Vec<String>,
    sent: u64,
    state: Left,
}

/// What comes after the pieces.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    End,
    Break,
    Nothing,
}

fn streamed(open: Open, text: &str, pieces: usize) -> Response {
    open.charge(PROMPT_TOKENS, 0);
    let is_whole = pieces == PIECES;
    let mut kept = script::pieces(text);
    if !is_whole {
        kept.truncate(pieces);
    }
    kept.reverse();
    let rest = Rest { open, pieces: kept, sent: 0, state: if is_whole { Left::End } else { Left::Break } };
    let body = Body::from_stream(stream::unfold(rest, |rest| async move { next(rest).await }));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn next(mut rest: Rest) -> Option<(Result<Bytes, std::io::Error>, Rest)> {
    tokio::time::sleep(PIECE_DELAY).await;
    if let Some(piece) = rest.pieces.pop() {
        rest.sent += 1;
        rest.open.charge(PROMPT_TOKENS, rest.sent * ANSWER_TOKENS / PIECES as u64);
        return Some((Ok(completions::piece(&piece)), rest));
    }
    let left = std::mem::replace(&mut rest.state, Left::Nothing);
    match left {
        Left::Nothing => None,
        Left::Break => {
            rest.open.end(Ended::Cut);
            Some((Err(std::io::Error::other("cut")), rest))
        }
        Left::End => {
            rest.open.charge(PROMPT_TOKENS, ANSWER_TOKENS);
            rest.open.end(Ended::Answered);
            Some((Ok(completions::end_of_stream()), rest))
        }
    }
}
