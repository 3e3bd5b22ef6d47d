//! Collects the partial text of one task, as any subscriber does.

use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use trilane_protocol::outcome::Partial;
use trilane_testkit::Fleet;

/// Longest wait for a piece. Generous: it is only ever used up by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The partial text of one task.
pub(crate) struct Streamed(Subscriber);

impl Streamed {
    /// Listens from now on.
    pub(crate) async fn of(fleet: &Fleet, agent: &str, task_id: &str) -> Self {
        let client = async_nats::connect(&fleet.config.nats.url).await.unwrap();
        let subscriber = client.subscribe(format!("partial.{agent}.{task_id}")).await.unwrap();
        client.flush().await.unwrap();
        Self(subscriber)
    }

    /// The next piece.
    pub(crate) async fn piece(&mut self) -> Partial {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        let message = next.expect("a piece comes").expect("the connection stays");
        serde_json::from_slice(&message.payload).unwrap()
    }

    /// The pieces of the first attempt, in their order, until they are as long as `text`.
    pub(crate) async fn pieces_of(&mut self, text: &str) -> Vec<String> {
        let mut pieces: Vec<String> = Vec::new();
        while pieces.iter().map(String::len).sum::<usize>() < text.len() {
            let piece = self.piece().await;
            assert_eq!((piece.attempt, piece.index as usize), (1, pieces.len()));
            pieces.push(piece.text);
        }
        pieces
    }
}
