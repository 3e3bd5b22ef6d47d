//! What is kept of each task to learn from. Nothing waits for it, and no task fails over it.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::Instrument;
use trilane_broker::Broker;
use trilane_protocol::{Sensitivity, Work};
use trilane_routing::example::Example;
use trilane_service::metrics::catalogue::{EXAMPLES, EXAMPLES_LOST};

/// Examples on their way to the stream at once. What comes while there are as many is not kept: the server is slow, and
/// tasks matter more.
const MAX_ON_THE_WAY: u32 = 256;

/// Keeps examples, beside all else.
#[derive(Debug)]
pub(crate) struct Examples {
    broker: Broker,
    slots: Arc<Semaphore>,
    /// Whether any are kept at all: `learning.keep_examples`.
    is_on: bool,
}

impl Examples {
    pub(crate) fn new(broker: Broker, is_on: bool) -> Self {
        Self { broker, slots: Arc::new(Semaphore::new(MAX_ON_THE_WAY as usize)), is_on }
    }

    /// Keeps what can be learned from `work`, as far as its sensitivity lets it.
    pub(crate) fn keep(&self, work: &Work, sensitivity: Sensitivity) {
        if !self.is_on {
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            tracing::warn!("too many examples are on their way; one is not kept");
            return EXAMPLES_LOST.add(1, ());
        };
        let (broker, example) = (self.broker.clone(), Example::of(work, sensitivity));
        let keeping = async move {
            match broker.keep_example(&example).await {
                Ok(_) => EXAMPLES.add(1, ()),
                Err(error) => {
                    tracing::warn!(%error, "nothing will be learned from a task");
                    EXAMPLES_LOST.add(1, ());
                }
            }
            drop(slot);
        };
        tokio::spawn(keeping.in_current_span());
    }

    /// Returns when all are kept, or given up.
    pub(crate) async fn finish(&self) {
        let _ = self.slots.acquire_many(MAX_ON_THE_WAY).await;
    }
}
