//! Ctrl-C and SIGTERM: the first drains, the second ends everything at once.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Beyond the workers' own grace time: to hand back, say goodbye and end.
const GRACE_MARGIN: Duration = Duration::from_secs(5);

/// What the signals asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    drain: CancellationToken,
    kill: CancellationToken,
    /// How long a process may take to end by itself.
    pub(super) grace: Duration,
}

impl Stop {
    /// Listens for signals from now on.
    pub(super) fn on_signals(drain_grace: Duration) -> anyhow::Result<Self> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let stop = Self {
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
            grace: drain_grace.saturating_add(GRACE_MARGIN),
        };
        let Self { drain, kill, .. } = stop.clone();
        tokio::spawn(async move {
            for token in [drain, kill] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(stop)
    }

    /// Resolves at the first signal.
    pub(super) async fn begun(&self) {
        self.drain.cancelled().await;
    }

    /// Resolves at the second.
    pub(super) async fn insisted(&self) {
        self.kill.cancelled().await;
    }
}
