//! The routing log as this classifier writes it: a chain of signed segments, one at a time.
//!
//! A decision is logged before its task is put on a lane, so that nothing is on a lane without a record. Decisions that
//! come while a segment is on its way go into the next one together.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use trilane_broker::Broker;
use trilane_broker::publish::PublishError;
use trilane_broker::route_log::Segment;
use trilane_protocol::Encoding;
use trilane_protocol::chain::{self, RouteSegment};
use trilane_protocol::decision::RouteRecord;
use trilane_trust::SealKey;

/// Decisions in one segment, at most: about 100 KB.
const MAX_RECORDS: usize = 64;

/// Decisions that may wait for the next segment; a classifier's window is what bounds them before that.
const MAX_WAITING: usize = 1_024;

/// Times that another's segment is seen in the place of the next one before a new chain is begun.
const MAX_STRANGERS: u32 = 8;

/// Delay before a segment that was not confirmed is sent again.
const RESEND_DELAY: Duration = Duration::from_millis(500);

/// The routing log of one classifier. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RouteLog(mpsc::Sender<Waiting>);

struct Waiting {
    record: RouteRecord,
    logged: oneshot::Sender<()>,
}

/// The log has ended, with the process that writes it.
#[derive(Debug, thiserror::Error)]
#[error("the routing log is not written any more")]
pub(crate) struct LogEnded;

impl RouteLog {
    /// Starts a chain of this name. It ends when the last handle is gone.
    pub(crate) fn start(broker: &Broker, chain: &str, key: SealKey) -> Self {
        let (sender, waiting) = mpsc::channel(MAX_WAITING);
        let writer = Writer {
            broker: broker.clone(),
            key,
            first_name: chain.to_owned(),
            chain: chain.to_owned(),
            restarts: 0,
            index: 0,
            previous: chain::FIRST.to_owned(),
            after: 0,
        };
        tokio::spawn(writer.run(waiting));
        Self(sender)
    }

    /// Logs a decision; returns once it is stored.
    pub(crate) async fn append(&self, record: RouteRecord) -> Result<(), LogEnded> {
        let (logged, stored) = oneshot::channel();
        self.0.send(Waiting { record, logged }).await.map_err(|_| LogEnded)?;
        stored.await.map_err(|_| LogEnded)
    }
}

struct Writer {
    broker: Broker,
    key: SealKey,
    first_name: String,
    chain: String,
    restarts: u32,
    index: u64,
    previous: String,
    after: u64,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(MAX_RECORDS);
        while waiting.recv_many(&mut batch, MAX_RECORDS).await > 0 {
            let (records, logged): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|waiting| (waiting.record, waiting.logged)).unzip();
            self.write(records).await;
            // One that no longer waits was cut off; its task comes again.
            for logged in logged {
                let _ = logged.send(());
            }
        }
    }

    /// Tries until the segment is stored: what follows must name it.
    async fn write(&mut self, records: Vec<RouteRecord>) {
        let mut strangers = 0;
        let mut segment = self.next(records);
        let mut payload = Bytes::from(Encoding::Json.encode(&segment));
        loop {
            match self.append(&payload).await {
                Ok(sequence) => {
                    self.index += 1;
                    self.previous = chain::hash(&payload);
                    self.after = sequence;
                    return;
                }
                // In a cluster the answer may come from a server that lags behind.
                Err(PublishError::NotFirst { .. }) if strangers < MAX_STRANGERS => strangers += 1,
                // Somebody else writes under this name; what he writes is not signed, and `trilane prove` names it.
                Err(PublishError::NotFirst { .. }) => {
                    self.start_anew();
                    segment = self.next(segment.records);
                    payload = Encoding::Json.encode(&segment).into();
                }
                Err(error) => tracing::warn!(%error, "the routing log is not written yet; trying again"),
            }
            tokio::time::sleep(RESEND_DELAY).await;
        }
    }

    fn next(&self, records: Vec<RouteRecord>) -> RouteSegment {
        RouteSegment {
            chain: self.chain.clone(),
            index: self.index,
            previous: self.previous.clone(),
            records,
        }
    }

    async fn append(&self, payload: &Bytes) -> Result<u64, PublishError> {
        let segment = Segment {
            chain: &self.chain,
            index: self.index,
            payload: payload.clone(),
            signature: &self.key.sign_log(payload),
            after: self.after,
        };
        self.broker.append_segment(&segment).await
    }

    fn start_anew(&mut self) {
        self.restarts += 1;
        self.chain = format!("{}-{}", self.first_name, self.restarts);
        tracing::error!(
            chain = self.chain,
            "another process writes into this routing log; a new chain is begun"
        );
        self.index = 0;
        chain::FIRST.clone_into(&mut self.previous);
        self.after = 0;
    }
}
