//! The stream of states to each open page. A page that reads slowly misses states; nothing waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::error;
use super::routes::Dashboard;
use super::view::View;

/// Streams at once.
pub(super) const MAX_STREAMS: usize = 64;

/// A page hears at least this often that the stream is alive. It gives the stream up after three times that.
const ALIVE: Duration = Duration::from_secs(10);

/// `GET /api/events`.
pub(super) async fn events(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let Ok(room) = Arc::clone(&dashboard.streams).try_acquire_owned() else {
        return full();
    };
    let stopped = dashboard.shutdown.begun();
    let states = states(dashboard.views.clone(), room).take_until(stopped);
    // A proxy in between is not to gather states up.
    ([("x-accel-buffering", "no")], Sse::new(states)).into_response()
}

/// How many streams may be open.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_STREAMS))
}

fn full() -> Response {
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        format_args!("{MAX_STREAMS} pages are open already; close one, then try again"),
    )
}

/// Never holds more than one state: the newest when the page has room for it.
fn states(
    mut views: watch::Receiver<Option<View>>,
    room: OwnedSemaphorePermit,
) -> impl stream::Stream<Item = Result<Event, Infallible>> + Send {
    views.mark_changed();
    stream::unfold((views, room), |(mut views, room)| async move {
        let event = next(&mut views).await?;
        Some((Ok(event), (views, room)))
    })
}

async fn next(views: &mut watch::Receiver<Option<View>>) -> Option<Event> {
    match tokio::time::timeout(ALIVE, views.changed()).await {
        Ok(changed) => changed.ok()?,
        // A comment would do for the connection, but the page cannot hear it.
        Err(_) => return Some(alive()),
    }
    let view = views.borrow_and_update().clone();
    Some(match view {
        Some(view) => Event::default().event("fleet").data(view),
        None => alive(),
    })
}

/// An event without data would not reach the page.
fn alive() -> Event {
    Event::default().event("alive").data("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_page_gets_the_newest_state_only() {
        let (sender, views) = watch::channel(None);
        let room = room();
        let stream = states(views, Arc::clone(&room).try_acquire_owned().unwrap());
        let mut stream = std::pin::pin!(stream);
        let mut written = async || format!("{:?}", stream.next().await.unwrap().unwrap());
        assert!(written().await.contains("alive"), "a page that opens before the first look hears at once");
        for number in 0..1_000 {
            sender.send_replace(Some(number.to_string().into()));
        }
        let newest = written().await;
        assert!(newest.contains("999") && newest.contains("fleet"), "{newest}");
        assert_eq!(room.available_permits(), MAX_STREAMS - 1);
    }

    #[tokio::test]
    async fn a_stream_gives_its_room_back() {
        let (_sender, views) = watch::channel(None);
        let room = room();
        drop(states(views, Arc::clone(&room).try_acquire_owned().unwrap()));
        assert_eq!(room.available_permits(), MAX_STREAMS);
    }
}
