//! Which request goes where, past the guard that every request meets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use trilane_broker::Broker;
use trilane_protocol::{LaneName, Zone};
use trilane_service::{Config, Shutdown};

use super::Shown;
use super::access::{Access, MARK, Refusal};
use super::listen::Peer;
use super::tries::Tries;
use super::view::View;
use super::{answer, events, lanes, life, login, page};

/// Longest body, bytes: a token, or the length of a pause.
const MAX_BODY_BYTES: usize = 1_024;

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Dashboard {
    pub(super) broker: Broker,
    pub(super) access: Access,
    pub(super) tries: Tries,
    pub(super) zones: BTreeMap<LaneName, Zone>,
    pub(super) shown: watch::Receiver<Option<Shown>>,
    pub(super) views: watch::Receiver<Option<View>>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) look_ups: Semaphore,
    pub(super) shutdown: Shutdown,
}

impl Dashboard {
    pub(super) fn new(
        config: &Config,
        broker: Broker,
        access: Access,
        shown: watch::Receiver<Option<Shown>>,
        views: watch::Receiver<Option<View>>,
        shutdown: Shutdown,
    ) -> Self {
        let (streams, look_ups) = (events::room(), life::room());
        let zones = config.registry.lanes.iter().map(|(name, lane)| (name.clone(), lane.zone)).collect();
        Self { broker, access, tries: Tries::default(), zones, shown, views, streams, look_ups, shutdown }
    }
}

/// All routes.
pub(super) fn of(dashboard: Dashboard) -> Router {
    let dashboard = Arc::new(dashboard);
    Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::js))
        .route("/icon.svg", get(page::icon))
        .route("/login", get(login::visit).post(login::login))
        .route("/logout", post(login::logout))
        .route("/api/events", get(events::events))
        .route("/api/fleet", get(fleet))
        .route("/api/tasks/{agent}/{id}", get(life::of_task))
        .route("/api/lanes/{lane}/pause", post(lanes::pause))
        .route("/api/lanes/{lane}/resume", post(lanes::resume))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&dashboard), guard))
        .with_state(dashboard)
}

/// Every request passes here, also for what is not there.
async fn guard(
    State(dashboard): State<Arc<Dashboard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (address, now) = (peer.0.ip(), Instant::now());
    let has_bearer = request.headers().contains_key(header::AUTHORIZATION);
    let mut response = if has_bearer && !dashboard.tries.may_try(address, now) {
        login::too_many()
    } else {
        let (method, path) = (request.method(), request.uri().path());
        let is_page = path == "/";
        match dashboard.access.judge(method, path, request.headers(), Timestamp::now().as_second()) {
            Ok(()) => next.run(request).await,
            Err(refusal) => {
                if refusal == Refusal::WrongToken {
                    dashboard.tries.count_wrong(address, now);
                }
                refused(refusal, is_page)
            }
        }
    };
    page::protect(response.headers_mut());
    response
}

fn refused(refusal: Refusal, is_page: bool) -> Response {
    let (status, message) = match refusal {
        Refusal::Host => (
            StatusCode::MISDIRECTED_REQUEST,
            "this page answers to localhost and 127.0.0.1 only; open it by one of these".to_owned(),
        ),
        Refusal::Foreign => (StatusCode::FORBIDDEN, "another site may not use this page".to_owned()),
        Refusal::Unmarked => {
            (StatusCode::FORBIDDEN, format!("what changes something needs the header `{MARK}: 1`"))
        }
        Refusal::NoToken if is_page => return login::form(StatusCode::UNAUTHORIZED, ""),
        Refusal::NoToken | Refusal::WrongToken => (
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer TOKEN`; `trilane dashboard --token` prints it".to_owned(),
        ),
    };
    let mut response = answer::error(status, message);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}

/// `GET /api/fleet`: the state that the stream would send next.
async fn fleet(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let view = dashboard.views.borrow().clone();
    match view {
        Some(view) => ([(header::CONTENT_TYPE, "application/json")], view.to_string()).into_response(),
        None => answer::error(StatusCode::SERVICE_UNAVAILABLE, "no look has been taken yet; try again"),
    }
}
