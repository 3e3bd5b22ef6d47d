//! What must hold before anything of a lane message is believed: a classifier's seal. What carries none is never run;
//! it ends as a dead letter, and an alert says so.

use jiff::Timestamp;
use trilane_broker::Delivery;
use trilane_broker::publish::PublishError;
use trilane_protocol::alert::Alert;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::work::{Ending, LaneMessage};
use trilane_protocol::{AgentName, Encoding, LaneName, Zone};
use trilane_service::metrics::catalogue::REFUSED_MESSAGES;
use trilane_service::metrics::labels::{Code, Lane};
use trilane_trust::{Seal, SealError, Trusted};

use crate::conclude::Conclusion;

/// Under which name something is given back that names no agent that could be believed.
const NOBODY: &str = "unknown";

/// A lane message that is not run.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What it says, where a classifier did seal it once.
    pub(crate) message: Option<Box<LaneMessage>>,
    /// Why it is not run.
    pub(crate) error: TaskError,
}

/// Checks the seal, then reads the message.
pub(crate) fn unseal(
    trusted: &Trusted,
    lane: &LaneName,
    delivery: &Delivery,
    now: Timestamp,
) -> Result<LaneMessage, Refused> {
    let seal = delivery.seal().and_then(Seal::read);
    let verified = trusted.verify(seal.as_ref(), lane, delivery.payload(), now);
    let refused = |message, error: SealError| Refused {
        message,
        error: TaskError::new(error.code(), error.to_string()),
    };
    match verified {
        Ok(()) => read(delivery),
        // It was a classifier's once, so its producer is told.
        Err(error @ SealError::Expired) => Err(refused(read(delivery).ok().map(Box::new), error)),
        Err(error) => Err(refused(None, error)),
    }
}

fn read(delivery: &Delivery) -> Result<LaneMessage, Refused> {
    Encoding::Msgpack.decode(delivery.payload()).map_err(|error| {
        let error = TaskError::new("malformed_lane_message", error.to_string());
        Refused { message: None, error }
    })
}

impl Conclusion<'_> {
    /// Says aloud that something was not run.
    pub(crate) async fn raise(&self, error: &TaskError) {
        let lane = self.lane.as_str();
        tracing::error!(lane, code = error.code, message = error.message, "a lane message is not run");
        REFUSED_MESSAGES.add(1, (Lane::of(self.lane), Code::of(&error.code)));
        let alert = Alert::new(&error.code, lane, error.message.clone(), Timestamp::now());
        self.broker.alert(&alert).await;
    }

    /// Keeps what is no task of a classifier's as a dead letter. Nobody waits for its result.
    pub(crate) async fn keep_refused(&self, error: TaskError) -> Result<(), PublishError> {
        match self.zone {
            Zone::Local => self.bury(None, error).await,
            Zone::Cloud => {
                let nobody = AgentName::new(NOBODY).expect("a name");
                let source = &self.delivery.source;
                let key = format!("{}.{}", source.stream, source.sequence);
                self.give_back(&nobody, &key, Ending::Refused { error }).await
            }
        }
    }
}
