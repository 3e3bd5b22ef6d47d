//! Waits for a condition instead of sleeping for a guess.

use std::time::Duration;

/// Longest wait. Generous: it is only ever used up by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `probe` yields a value.
///
/// # Panics
/// After half a minute without one, naming `what` was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited for half a minute in vain: {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}
