//! What the monitor looks at beyond the depth of lanes: the intake, the oldest task of a lane, and its own last word on
//! each alert.

use std::collections::HashMap;
use std::pin::pin;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::RawMessageErrorKind;
use futures_util::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use trilane_protocol::alert::Alert;
use trilane_protocol::task::Priority;
use trilane_protocol::{Encoding, LaneName, Zone, subjects};

use crate::browse::SubscribeError;
use crate::connect::Broker;
use crate::depth::DepthError;
use crate::logs::{Log, ReadError, Start};
use crate::publish::{Outgoing, PublishError};
use crate::topology::{CLASSIFY, TASKS, stream_of};

/// What waits for classifiers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeDepth {
    /// Tasks that wait for one.
    pub waiting: u64,
    /// Tasks in their hands.
    pub in_flight: u64,
}

/// The last word on an alert, and its place in the stream: what the next word on it is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The word.
    pub alert: Alert,
    /// Its sequence.
    pub sequence: u64,
}

impl Broker {
    /// How many tasks wait for a classifier.
    ///
    /// # Errors
    /// [`DepthError`] where the server does not say.
    pub async fn intake_depth(&self) -> Result<IntakeDepth, DepthError> {
        let consumer: Result<Consumer<pull::Config>, _> =
            self.context().get_consumer_from_stream(CLASSIFY, TASKS).await;
        let consumer = consumer.map_err(|error| DepthError::new(subjects::INTAKE, error))?;
        let info = consumer.cached_info();
        Ok(IntakeDepth { waiting: info.num_pending, in_flight: info.num_ack_pending as u64 })
    }

    /// When the oldest task of a lane, waiting or in the hands of a worker, was put on it; `None` where it is empty.
    /// Shadows are no tasks, and may wait.
    ///
    /// # Errors
    /// [`DepthError`] where the server does not say.
    pub async fn oldest_on(&self, lane: &LaneName, zone: Zone) -> Result<Option<Timestamp>, DepthError> {
        let failed = |error: &dyn std::fmt::Display| DepthError::new(lane.as_str(), error);
        let stream =
            self.context().get_stream_no_info(stream_of(zone)).await.map_err(|error| failed(&error))?;
        let mut oldest = None;
        for priority in Priority::ALL {
            match stream.get_first_raw_message_by_subject(subjects::lane(lane, priority), 0).await {
                Ok(message) => {
                    let at = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
                    let at = at.map_err(|error| failed(&error))?;
                    oldest = Some(oldest.map_or(at, |oldest: Timestamp| oldest.min(at)));
                }
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(oldest)
    }

    /// The last word on each alert that is kept.
    ///
    /// # Errors
    /// [`ReadError`] where they cannot be read.
    pub async fn last_alerts(&self) -> Result<Vec<Said>, ReadError> {
        let mut last = HashMap::new();
        for said in self.alert_history().await? {
            last.insert((said.alert.kind.clone(), said.alert.lane.clone()), said);
        }
        Ok(last.into_values().collect())
    }

    /// Every word on every alert that is kept, oldest first.
    ///
    /// # Errors
    /// [`ReadError`] where they cannot be read.
    pub async fn alert_history(&self) -> Result<Vec<Said>, ReadError> {
        let mut stored = pin!(self.stored(Log::Alerts, subjects::ALERTED, Start::Oldest).await?);
        let mut history = Vec::new();
        while let Some(entry) = stored.try_next().await? {
            match entry.decode() {
                Ok(alert) => history.push(Said { alert, sequence: entry.sequence }),
                Err(error) => tracing::warn!(%error, subject = entry.subject, "an alert does not read"),
            }
        }
        Ok(history)
    }

    /// Keeps a word on an alert, unless another monitor has said something since `after`. Returns its sequence.
    ///
    /// # Errors
    /// [`PublishError::NotFirst`] where another has.
    pub async fn keep_alert(&self, alert: &Alert, after: u64) -> Result<u64, PublishError> {
        let subject = subjects::alerted(&alert.kind, &alert.lane);
        let payload = Encoding::Json.encode(alert);
        let message =
            Outgoing { expected_last: Some(after), ..Outgoing::new(subject, payload, Encoding::Json) };
        self.publish(message).await.map(|stored| stored.sequence)
    }

    /// Alerts as they are raised from now on, by anybody. One that is not what its subject says is none: by subjects the
    /// server knows who may raise what.
    ///
    /// # Errors
    /// [`SubscribeError`] where the server cannot be told.
    pub async fn heard_alerts(&self) -> Result<impl Stream<Item = Alert> + Send + use<>, SubscribeError> {
        let heard = self.heard_with_subject::<Alert>(subjects::ALERTS.to_owned()).await?;
        Ok(heard.filter_map(|(subject, alert)| async move {
            (subject == subjects::alert(&alert.kind, &alert.lane)).then_some(alert)
        }))
    }
}
