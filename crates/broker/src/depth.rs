//! How long the queues are; pause and resume.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use jiff::Timestamp;
use trilane_protocol::task::Priority;
use trilane_protocol::{LaneName, Zone};

use crate::connect::Broker;
use crate::topology::{consumer_of, stream_of};

/// One lane's queue, all priorities together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Tasks that wait for a worker.
    pub waiting: u64,
    /// Tasks in the hands of workers, those waiting for another attempt included.
    pub in_flight: u64,
    /// Tasks of the fullest priority, waiting or in flight.
    pub fullest: u64,
    /// Whether the lane is paused.
    pub is_paused: bool,
}

/// Why a queue cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the queue of `{queue}`: {reason}")]
pub struct DepthError {
    queue: String,
    reason: String,
}

impl DepthError {
    pub(crate) fn new(queue: &str, reason: impl std::fmt::Display) -> Self {
        Self { queue: queue.to_owned(), reason: reason.to_string() }
    }
}

impl Broker {
    /// How long the queue of a lane is.
    ///
    /// # Errors
    /// [`DepthError`] where the server does not say.
    pub async fn depth(&self, lane: &LaneName, zone: Zone) -> Result<Depth, DepthError> {
        let mut depth = Depth::default();
        for priority in Priority::ALL {
            let name = consumer_of(lane, priority);
            let consumer: Result<Consumer<pull::Config>, _> =
                self.context().get_consumer_from_stream(name, stream_of(zone)).await;
            let consumer = consumer.map_err(|error| failed(lane, error))?;
            let info = consumer.cached_info();
            depth.waiting += info.num_pending;
            depth.in_flight += info.num_ack_pending as u64;
            depth.fullest = depth.fullest.max(info.num_pending + info.num_ack_pending as u64);
            depth.is_paused |= info.paused;
        }
        Ok(depth)
    }

    /// Stops a lane for `length`: its tasks wait, its workers finish what they have.
    ///
    /// # Errors
    /// [`DepthError`] where the server refuses.
    pub async fn pause(&self, lane: &LaneName, zone: Zone, length: Duration) -> Result<(), DepthError> {
        let until = Timestamp::now().checked_add(length).map_err(|error| failed(lane, error))?;
        let until = time_of(until).map_err(|error| failed(lane, error))?;
        let stream =
            self.context().get_stream_no_info(stream_of(zone)).await.map_err(|error| failed(lane, error))?;
        for priority in Priority::ALL {
            let paused = stream.pause_consumer(&consumer_of(lane, priority), until).await;
            paused.map_err(|error| failed(lane, error))?;
        }
        Ok(())
    }

    /// Lets a paused lane go on.
    ///
    /// # Errors
    /// [`DepthError`] where the server refuses.
    pub async fn resume(&self, lane: &LaneName, zone: Zone) -> Result<(), DepthError> {
        let stream =
            self.context().get_stream_no_info(stream_of(zone)).await.map_err(|error| failed(lane, error))?;
        for priority in Priority::ALL {
            let resumed = stream.resume_consumer(&consumer_of(lane, priority)).await;
            resumed.map_err(|error| failed(lane, error))?;
        }
        Ok(())
    }
}

fn time_of(at: Timestamp) -> Result<async_nats::datetime::DateTime, String> {
    async_nats::datetime::DateTime::from_unix_timestamp_nanos(at.as_nanosecond())
        .map_err(|error| error.to_string())
}

fn failed(lane: &LaneName, error: impl std::fmt::Display) -> DepthError {
    DepthError::new(lane.as_str(), error)
}
