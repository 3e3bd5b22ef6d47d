//! How long the queues are; pause and resume.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, FromConsumer, pull};
use jiff::Timestamp;
use trilane_protocol::task::Priority;
use trilane_protocol::{LaneName, Zone};

use crate::connect::Broker;
use crate::topology::{LANE_LOCAL, consumer_of, shadow_consumer_of, stream_of};

/// One lane's queue, all priorities together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Tasks that wait for a worker.
    pub waiting: u64,
    /// Tasks in the hands of workers, those waiting for another attempt included.
    pub in_flight: u64,
    /// Tasks of the fullest priority, waiting or in flight.
    pub fullest: u64,
    /// Tasks of one priority that workers may have in hand; the least of all priorities.
    pub most_in_flight: i64,
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
        let mut depth = Depth { most_in_flight: i64::MAX, ..Depth::default() };
        for priority in Priority::ALL {
            let name = consumer_of(lane, priority);
            let consumer: Result<Consumer<pull::Config>, _> =
                self.context().get_consumer_from_stream(name, stream_of(zone)).await;
            let consumer = consumer.map_err(|error| failed(lane, error))?;
            let info = consumer.cached_info();
            depth.waiting += info.num_pending;
            depth.in_flight += info.num_ack_pending as u64;
            depth.fullest = depth.fullest.max(info.num_pending + info.num_ack_pending as u64);
            depth.most_in_flight = depth.most_in_flight.min(info.config.max_ack_pending);
            depth.is_paused |= info.paused;
        }
        Ok(depth)
    }

    /// Shadows on a local lane, those that run included. They are no tasks, and no part of its [`Depth`].
    ///
    /// # Errors
    /// [`DepthError`] where the server does not say.
    pub async fn shadows_on(&self, lane: &LaneName) -> Result<u64, DepthError> {
        let consumer: Result<Consumer<pull::Config>, _> =
            self.context().get_consumer_from_stream(shadow_consumer_of(lane), LANE_LOCAL).await;
        let consumer = consumer.map_err(|error| failed(lane, error))?;
        let info = consumer.cached_info();
        Ok(info.num_pending + info.num_ack_pending as u64)
    }

    /// Bounds the tasks of each priority of a lane that workers may have in hand. A pause stays.
    ///
    /// # Errors
    /// [`DepthError`] where the server refuses.
    pub async fn allow_in_flight(&self, lane: &LaneName, zone: Zone, most: i64) -> Result<(), DepthError> {
        for priority in Priority::ALL {
            let name = consumer_of(lane, priority);
            let consumer: Result<Consumer<pull::Config>, _> =
                self.context().get_consumer_from_stream(name, stream_of(zone)).await;
            let consumer = consumer.map_err(|error| failed(lane, error))?;
            let config = consumer.cached_info().config.clone();
            let config =
                pull::Config::try_from_consumer_config(config).map_err(|error| failed(lane, error))?;
            let config = pull::Config { max_ack_pending: most, ..config };
            let updated = self.context().update_consumer_on_stream(config, stream_of(zone)).await;
            updated.map_err(|error| failed(lane, error))?;
        }
        Ok(())
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
        for consumer in consumers_of(lane, zone) {
            let paused = stream.pause_consumer(&consumer, until).await;
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
        for consumer in consumers_of(lane, zone) {
            let resumed = stream.resume_consumer(&consumer).await;
            resumed.map_err(|error| failed(lane, error))?;
        }
        Ok(())
    }
}

/// Every consumer of a lane, that of its shadows too.
fn consumers_of(lane: &LaneName, zone: Zone) -> impl Iterator<Item = String> {
    let shadows = (zone == Zone::Local).then(|| shadow_consumer_of(lane));
    Priority::ALL.map(|priority| consumer_of(lane, priority)).into_iter().chain(shadows)
}

fn time_of(at: Timestamp) -> Result<async_nats::datetime::DateTime, String> {
    async_nats::datetime::DateTime::from_unix_timestamp_nanos(at.as_nanosecond())
        .map_err(|error| error.to_string())
}

fn failed(lane: &LaneName, error: impl std::fmt::Display) -> DepthError {
    DepthError::new(lane.as_str(), error)
}
