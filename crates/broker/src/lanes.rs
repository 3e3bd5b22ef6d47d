//! What the classifier puts on lanes, and the record of it in the routing log.
//!
//! A cloud lane takes a [`CloudRoute`] and nothing else, and only cleared work becomes one:
//!
//! ```compile_fail
//! use trilane_broker::Broker;
//! use trilane_routing::route::LocalRoute;
//! async fn leak(broker: &Broker, private: &LocalRoute) {
//!     let _ = broker.put_on_cloud_lane(private, None).await;
//! }
//! ```
//!
//! The same with a cloud route compiles, so the refusal above is about the type and nothing else:
//!
//! ```
//! use trilane_broker::Broker;
//! use trilane_routing::route::CloudRoute;
//! async fn send(broker: &Broker, cleared: &CloudRoute) {
//!     let _ = broker.put_on_cloud_lane(cleared, None).await;
//! }
//! ```

use trilane_protocol::decision::RouteRecord;
use trilane_protocol::work::{LaneMessage, Reroute};
use trilane_protocol::{Encoding, Work, Zone, subjects};
use trilane_routing::route::{CloudRoute, LocalRoute, Route};

use crate::connect::Broker;
use crate::publish::{Outgoing, PublishError, Stored};

/// How messages between the parts of the fleet are written.
const INTERNAL: Encoding = Encoding::Msgpack;

impl Broker {
    /// Puts a task on the lane of its route.
    ///
    /// # Errors
    /// [`PublishError::Full`] where the lane is full; the task stays where it was.
    pub async fn put_on_lane(
        &self,
        route: &Route,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        match route {
            Route::Local(local) => self.put_on_local_lane(local, traceparent).await,
            Route::Cloud(cloud) => self.put_on_cloud_lane(cloud, traceparent).await,
        }
    }

    /// Puts a task on a lane of the local zone.
    ///
    /// # Errors
    /// As [`Broker::put_on_lane`].
    pub async fn put_on_local_lane(
        &self,
        route: &LocalRoute,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        self.publish(lane_message(route.message(), Zone::Local, traceparent)).await
    }

    /// Puts a task on a lane of the cloud zone.
    ///
    /// # Errors
    /// As [`Broker::put_on_lane`].
    pub async fn put_on_cloud_lane(
        &self,
        route: &CloudRoute,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        self.publish(lane_message(route.message(), Zone::Cloud, traceparent)).await
    }

    /// Writes a decision to the routing log.
    ///
    /// # Errors
    /// [`PublishError`] where the log cannot be written.
    pub async fn log_route(&self, record: &RouteRecord) -> Result<Stored, PublishError> {
        let message = Outgoing {
            subject: subjects::route(&record.decision.lane),
            payload: Encoding::Json.encode(record).into(),
            encoding: Encoding::Json,
            message_id: Some(format!("route.{}.{}.{}", record.agent, record.task_id, record.hop)),
            must_be_first: false,
            traceparent: None,
        };
        self.publish(message).await
    }

    /// Hands a task back to the classifier.
    ///
    /// # Errors
    /// [`PublishError::Full`] where the intake is full; the task stays where it was.
    pub async fn reroute(
        &self,
        reroute: &Reroute,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        let message = Outgoing {
            subject: subjects::reroute(&reroute.work.agent),
            payload: INTERNAL.encode(reroute).into(),
            encoding: INTERNAL,
            // With the task's sequence, or the answer of one task would pass for another's of the same id.
            message_id: Some(format!("reroute.{}.{}", hop_id(&reroute.work), reroute.work.task_seq)),
            must_be_first: false,
            traceparent: traceparent.map(str::to_owned),
        };
        self.publish(message).await
    }
}

/// The same work on the same hop is the same message, however often its publish is repeated.
fn hop_id(work: &Work) -> String {
    format!("{}.{}.{}", work.agent, work.task_id, work.hop)
}

/// Both ends of the wire check the zone: the types above, and here the decision itself.
fn lane_message(message: &LaneMessage, zone: Zone, traceparent: Option<&str>) -> Outgoing {
    assert!(message.decision.zone == zone, "a route and its decision name the same zone");
    Outgoing {
        subject: subjects::lane(&message.decision.lane, message.work.priority),
        payload: INTERNAL.encode(message).into(),
        encoding: INTERNAL,
        message_id: Some(format!("lane.{}", hop_id(&message.work))),
        must_be_first: false,
        traceparent: traceparent.map(str::to_owned),
    }
}
