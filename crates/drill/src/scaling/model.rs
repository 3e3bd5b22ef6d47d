//! The sleeping model: a local inference server that answers everything after a while, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::completions::{self, Request};
use crate::markers::markers_in;

/// The model's name, in the configuration and for its server.
pub const MODEL: &str = "sleeper";

/// What it says to everything.
const ANSWER: &str = "Slept well.";

/// Requests that are remembered; a benchmark has fewer, unless workers ask again and again for no good reason.
const MOST_ASKED: usize = 1_000_000;

/// The running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// One time that it was asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Position of the task in the plan.
    pub task: usize,
    /// When.
    pub begun: Instant,
    /// When it answered, or who asked went away; `None` while it sleeps.
    pub ended: Option<Instant>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<Asking>,
    /// The most requests at once since [`Model::forget_peak`].
    peak: watch::Sender<usize>,
}

#[derive(Debug)]
struct Asking {
    sleep: Duration,
    running: usize,
    asked: Vec<Asked>,
}

/// A request that is under way. It has ended when this is dropped, by whoever.
struct Open {
    shared: Arc<Shared>,
    position: Option<usize>,
}

impl Model {
    /// Starts on a port that the system chooses.
    ///
    /// # Errors
    /// What the system says where no port can be bound.
    pub async fn start(sleep: Duration) -> std::io::Result<Self> {
        let state = Mutex::new(Asking { sleep, running: 0, asked: Vec::new() });
        let shared = Arc::new(Shared { state, peak: watch::Sender::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(|| async { completions::models(MODEL) }))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(Self { address, shared, serving })
    }

    /// What to call it by.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on it sleeps so long.
    pub fn set_sleep(&self, sleep: Duration) {
        self.shared.lock().sleep = sleep;
    }

    /// The most requests at once are counted anew.
    pub fn forget_peak(&self) {
        let state = self.shared.lock();
        self.shared.peak.send_replace(state.running);
    }

    /// Waits until there were so many requests at once. Says whether there were, before `patience` was over.
    pub async fn wait_for_peak(&self, wanted: usize, patience: Duration) -> bool {
        let mut peak = self.shared.peak.subscribe();
        matches!(timeout(patience, peak.wait_for(|peak| *peak >= wanted)).await, Ok(Ok(_)))
    }

    /// Everything that it was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: Arc<Self>, task: usize) -> Open {
        let mut state = self.lock();
        state.running += 1;
        self.peak.send_if_modified(|peak| {
            let is_more = state.running > *peak;
            *peak = state.running.max(*peak);
            is_more
        });
        let position = (state.asked.len() < MOST_ASKED).then_some(state.asked.len());
        if position.is_some() {
            state.asked.push(Asked { task, begun: Instant::now(), ended: None });
        }
        drop(state);
        Open { shared: self, position }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.running -= 1;
        if let Some(position) = self.position {
            state.asked[position].ended = Some(Instant::now());
        }
    }
}

async fn chat(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let request = serde_json::from_slice::<Request>(&body).ok();
    let marker = request.as_ref().and_then(|request| markers_in(request.prompt()).first().copied());
    let (Some(request), Some(marker)) = (request, marker) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let length = shared.lock().sleep;
    let open = shared.open(marker.task);
    sleep(length).await;
    drop(open);
    if !request.stream {
        return completions::plain(ANSWER);
    }
    let answer = [completions::piece(ANSWER), completions::end_of_stream()].concat();
    ([(header::CONTENT_TYPE, "text/event-stream")], answer).into_response()
}
