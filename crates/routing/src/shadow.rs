//! Shadows: a finished public task once more on a local lane, to see whether it could have stayed.

use jiff::{SignedDuration, Timestamp};
use trilane_protocol::decision::Reason;
use trilane_protocol::learning::ShadowRequest;
use trilane_protocol::task::{Metadata, Priority};
use trilane_protocol::work::Spent;
use trilane_protocol::{Encoding, Sensitivity, Work, Zone};

use crate::choose::Lanes;
use crate::complexity::complexity;
use crate::detect::Detectors;
use crate::registry::Agent;
use crate::route::{LocalRoute, Router};
use crate::screen::{Screened, screen};

/// How long after it was asked for a shadow may be run. Later nobody waits for its answer.
const VALID: SignedDuration = SignedDuration::from_hours(24);

/// Why a shadow is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShadowed {
    /// The screen finds it private after all.
    #[error("the screen finds it private")]
    Private,
    /// Its lane is not there, not local, or cannot take it.
    #[error("its lane cannot take it")]
    Unfit,
    /// It was asked for too long ago.
    #[error("it was asked for too long ago")]
    Expired,
    /// Its lane has real work, or nobody to do it; ask again later.
    #[error("its lane is busy, or without a worker")]
    Busy,
}

impl Router<'_> {
    /// Where a shadow goes that was asked for at `asked_at`.
    ///
    /// # Errors
    /// [`NotShadowed`]; only [`NotShadowed::Busy`] may be over later.
    pub fn shadow(
        &self,
        request: ShadowRequest,
        agent: &Agent,
        asked_at: Timestamp,
        now: Timestamp,
    ) -> Result<LocalRoute, NotShadowed> {
        let lane = request.lane.clone();
        let entry = self.registry.lanes.get(&lane).filter(|entry| entry.zone == Zone::Local);
        let entry = entry.ok_or(NotShadowed::Unfit)?;
        let deadline = asked_at.checked_add(VALID).unwrap_or(Timestamp::MAX);
        if deadline <= now {
            return Err(NotShadowed::Expired);
        }
        let Screened::Cleared(cleared) =
            screen(work(request, asked_at, deadline), agent, self.policy, Detectors::shared())
        else {
            return Err(NotShadowed::Private);
        };
        let state = self.fleet.lanes.get(&lane).filter(|state| state.waiting == 0);
        let is_served = entry.models.iter().any(|model| self.fleet.serves(&lane, model));
        if state.is_none() || !is_served {
            return Err(NotShadowed::Busy);
        }
        let score = complexity(cleared.work(), self.scorer, self.registry, self.policy);
        let explanation = "run once more to see whether it could have stayed local; its answer is no result";
        let choice = Lanes::local(self.registry, self.fleet)
            .strongest(cleared.work(), &score, self.policy, Reason::Shadowed, explanation, |other| {
                *other == lane
            })
            .map_err(|_| NotShadowed::Unfit)?;
        let decision = choice.into_decision(cleared.report().clone(), score, self.policy, now);
        Ok(LocalRoute::new(cleared.into_work(), decision))
    }
}

/// The request is for a task that was public when it was routed, so that is what it says of itself.
fn work(request: ShadowRequest, published_at: Timestamp, deadline: Timestamp) -> Work {
    let ShadowRequest { task_id, agent, task_seq, messages, generation, validate, .. } = request;
    Work {
        task_id,
        agent,
        task_seq,
        hop: 0,
        step: None,
        encoding: Encoding::Msgpack,
        published_at,
        deadline: Some(deadline),
        messages,
        generation,
        sensitivity: Some(Sensitivity::Public),
        tags: Vec::new(),
        complexity: None,
        model: None,
        priority: Priority::Low,
        max_cost_usd: None,
        stream: false,
        validate,
        earlier: None,
        shadow: true,
        metadata: Metadata::new(),
        spent: Spent::default(),
    }
}
