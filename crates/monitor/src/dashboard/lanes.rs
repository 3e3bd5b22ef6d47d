//! The switch of a lane: pause and resume.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use trilane_broker::depth::DepthError;
use trilane_protocol::{LaneName, Zone};

use super::answer;
use super::listen::Peer;
use super::routes::Dashboard;

/// How long a lane is paused where nothing is said, seconds. It goes on by itself after that.
const PAUSE_S: u64 = 3_600;

/// The longest pause, seconds: nobody remembers a longer one.
const MAX_PAUSE_S: u64 = 7 * 24 * 3_600;

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `pause` may be told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    seconds: Option<u64>,
}

/// `POST /api/lanes/{lane}/pause`.
pub(super) async fn pause(
    State(dashboard): State<Arc<Dashboard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(lane): Path<String>,
    body: Bytes,
) -> Response {
    let length_s = match length_s(&body) {
        Ok(length_s) => length_s,
        Err(problem) => return answer::error(StatusCode::BAD_REQUEST, problem),
    };
    let (lane, zone) = match dashboard.lane(&lane) {
        Ok(found) => found,
        Err(problem) => return answer::error(StatusCode::NOT_FOUND, problem),
    };
    let paused = dashboard.broker.pause(&lane, zone, Duration::from_secs(length_s));
    let response = switched(tokio::time::timeout(PATIENCE, paused).await, true);
    if response.status().is_success() {
        tracing::info!(%lane, seconds = length_s, from = %peer.0, "paused by the dashboard");
    }
    response
}

/// `POST /api/lanes/{lane}/resume`.
pub(super) async fn resume(
    State(dashboard): State<Arc<Dashboard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(lane): Path<String>,
) -> Response {
    let (lane, zone) = match dashboard.lane(&lane) {
        Ok(found) => found,
        Err(problem) => return answer::error(StatusCode::NOT_FOUND, problem),
    };
    let resumed = dashboard.broker.resume(&lane, zone);
    let response = switched(tokio::time::timeout(PATIENCE, resumed).await, false);
    if response.status().is_success() {
        tracing::info!(%lane, from = %peer.0, "resumed by the dashboard");
    }
    response
}

impl Dashboard {
    fn lane(&self, name: &str) -> Result<(LaneName, Zone), String> {
        let known = |lane: &LaneName| self.zones.get(lane).copied();
        let found = LaneName::new(name).ok().and_then(|lane| known(&lane).map(|zone| (lane, zone)));
        found.ok_or_else(|| {
            let lanes: Vec<&str> = self.zones.keys().map(LaneName::as_str).collect();
            format!("there is no such lane; lanes are {}", lanes.join(", "))
        })
    }
}

fn length_s(body: &[u8]) -> Result<u64, String> {
    let asked: Pause = match body.is_empty() {
        true => Pause::default(),
        false => serde_json::from_slice(body)
            .map_err(|_| "expected nothing, or a JSON object such as {\"seconds\": 600}".to_owned())?,
    };
    let length_s = asked.seconds.unwrap_or(PAUSE_S);
    let fits = (1..=MAX_PAUSE_S).contains(&length_s);
    fits.then_some(length_s).ok_or_else(|| format!("expected 1 to {MAX_PAUSE_S} seconds"))
}

fn switched(
    outcome: Result<Result<(), DepthError>, tokio::time::error::Elapsed>,
    is_paused: bool,
) -> Response {
    match outcome {
        Ok(Ok(())) => answer::json(StatusCode::OK, &json!({ "is_paused": is_paused })),
        Ok(Err(error)) => answer::error(StatusCode::BAD_GATEWAY, error),
        Err(_) => {
            let message = format!("the server has not answered within {} s; try again", PATIENCE.as_secs());
            answer::error(StatusCode::GATEWAY_TIMEOUT, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_a_length_within_bounds() {
        assert_eq!(length_s(b""), Ok(PAUSE_S));
        assert_eq!(length_s(b"{}"), Ok(PAUSE_S));
        assert_eq!(length_s(b"{\"seconds\": 60}"), Ok(60));
        for bad in ["{\"seconds\": 0}", "{\"seconds\": 604801}", "{\"second\": 1}", "[", "{\"seconds\": -1}"]
        {
            assert!(length_s(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
