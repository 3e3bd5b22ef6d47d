//! One token that SIGTERM and Ctrl-C cancel. Whatever holds it stops taking on work and finishes.

use tokio_util::sync::CancellationToken;

/// Tells a process to stop. Cheap to clone; all clones stop together.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A token that nothing but [`Shutdown::begin`] cancels.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that SIGTERM and SIGINT (Ctrl-C) cancel.
    ///
    /// # Errors
    /// What the system says where it refuses the signal handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let token = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
                _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
            }
            token.begin();
        });
        Ok(shutdown)
    }

    /// Begins to stop.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when it begins.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.clone().cancelled_owned()
    }
}
