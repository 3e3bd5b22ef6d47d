//! What the classifier puts on lanes, sealed, and what workers hand back.
//!
//! A cloud lane takes a [`CloudRoute`] and nothing else, and only cleared work becomes one:
//!
//! ```compile_fail
//! use trilane_broker::Broker;
//! use trilane_broker::lanes::Sealing;
//! use trilane_routing::route::LocalRoute;
//! async fn leak(broker: &Broker, private: &LocalRoute, sealing: &Sealing) {
//!     let _ = broker.put_on_cloud_lane(private, sealing, None).await;
//! }
//! ```
//!
//! The same with a cloud route compiles, so the refusal above is about the type and nothing else:
//!
//! ```
//! use trilane_broker::Broker;
//! use trilane_broker::lanes::Sealing;
//! use trilane_routing::route::CloudRoute;
//! async fn send(broker: &Broker, cleared: &CloudRoute, sealing: &Sealing) {
//!     let _ = broker.put_on_cloud_lane(cleared, sealing, None).await;
//! }
//! ```

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use trilane_protocol::work::{Ending, LaneMessage, Return};
use trilane_protocol::{AgentName, Encoding, Work, Zone, subjects};
use trilane_routing::route::{CloudRoute, LocalRoute, Route};
use trilane_trust::SealKey;

use crate::connect::Broker;
use crate::publish::{Outgoing, PublishError, Stored};

/// The header that carries the seal of a lane message, or the signature of a segment of the routing log.
pub const SEAL: &str = "Trilane-Seal";

/// How messages between the parts of the fleet are written.
const INTERNAL: Encoding = Encoding::Msgpack;

/// Room for seal, id and trace, which the server counts too.
const HEADERS_BYTES: usize = 1_024;

/// What a lane message is sealed with.
#[derive(Debug)]
pub struct Sealing {
    /// The classifiers' key.
    pub key: SealKey,
    /// How long a message may be run after it was put on its lane.
    pub valid: Duration,
}

impl Broker {
    /// Puts a task on the lane of its route.
    ///
    /// # Errors
    /// [`PublishError::Full`] where the lane is full; the task stays where it was.
    pub async fn put_on_lane(
        &self,
        route: &Route,
        sealing: &Sealing,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        match route {
            Route::Local(local) => self.put_on_local_lane(local, sealing, traceparent).await,
            Route::Cloud(cloud) => self.put_on_cloud_lane(cloud, sealing, traceparent).await,
        }
    }

    /// Puts a task on a lane of the local zone; a shadow onto its subject of its own.
    ///
    /// # Errors
    /// As [`Broker::put_on_lane`].
    pub async fn put_on_local_lane(
        &self,
        route: &LocalRoute,
        sealing: &Sealing,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        self.publish(lane_message(route.message(), Zone::Local, sealing, traceparent)).await
    }

    /// Puts a task on a lane of the cloud zone.
    ///
    /// # Errors
    /// As [`Broker::put_on_lane`].
    pub async fn put_on_cloud_lane(
        &self,
        route: &CloudRoute,
        sealing: &Sealing,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        self.publish(lane_message(route.message(), Zone::Cloud, sealing, traceparent)).await
    }

    /// Whether the server would not take what goes onto the lane of this route.
    pub fn is_too_large(&self, route: &Route) -> bool {
        INTERNAL.encode(route.message()).len() + HEADERS_BYTES > self.max_payload()
    }

    /// Hands a lane message of a zone back to the classifier. `key` says which ending of which task it is, so that a repetition
    /// is stored once.
    ///
    /// # Errors
    /// [`PublishError::Full`] where too much was handed back already; the message stays where it was.
    pub async fn hand_in(
        &self,
        zone: Zone,
        agent: &AgentName,
        key: &str,
        returned: &Return,
        traceparent: Option<&str>,
    ) -> Result<Stored, PublishError> {
        let kind = match returned.ending {
            Ending::Reroute { .. } => "reroute",
            Ending::Ended { .. } | Ending::Refused { .. } => "return",
        };
        let subject = match zone {
            Zone::Local => subjects::reroute(agent),
            Zone::Cloud => subjects::returned(agent),
        };
        let message = Outgoing {
            message_id: Some(format!("{kind}.{key}")),
            traceparent: traceparent.map(str::to_owned),
            ..Outgoing::new(subject, INTERNAL.encode(returned), INTERNAL)
        };
        self.publish(message).await
    }
}

/// The same work on the same hop is the same message, however often its publish is repeated. Two runs of one step may
/// end differently and leave two steps on the same hop, so the step counts too; and two tasks of one id are two.
pub fn hop_key(work: &Work) -> String {
    let step = work.step.as_ref().map_or(0, |step| step.index);
    format!("{}.{}.{}.{step}.{}", work.agent, work.task_id, work.hop, work.task_seq)
}

/// Both ends of the wire check the zone: the types above, and here the decision itself.
fn lane_message(message: &LaneMessage, zone: Zone, sealing: &Sealing, traceparent: Option<&str>) -> Outgoing {
    let LaneMessage { work, decision } = message;
    assert!(decision.zone == zone, "a route and its decision name the same zone");
    assert!(!work.shadow || zone == Zone::Local, "a shadow runs on a local lane");
    let lane = &decision.lane;
    let (kind, subject) = match work.shadow {
        true => ("shadow", subjects::lane_shadow(lane)),
        false => ("lane", subjects::lane(lane, work.priority)),
    };
    let payload = INTERNAL.encode(message);
    let seal = sealing.key.seal(lane, &payload, expiry(Timestamp::now(), sealing.valid));
    Outgoing {
        message_id: Some(format!("{kind}.{}", hop_key(work))),
        traceparent: traceparent.map(str::to_owned),
        headers: vec![(SEAL, seal.to_string())],
        ..Outgoing::new(subject, payload, INTERNAL)
    }
}

fn expiry(now: Timestamp, valid: Duration) -> Timestamp {
    let valid = SignedDuration::try_from(valid).unwrap_or(SignedDuration::MAX);
    now.checked_add(valid).unwrap_or(Timestamp::MAX)
}
