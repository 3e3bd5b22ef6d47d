//! The whole of routing on one screen: screen, pin, score, choose, adjust.

use jiff::Timestamp;
use trilane_protocol::decision::{Adjustment, Candidate, Reason};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::work::{LaneMessage, RerouteCause};
use trilane_protocol::{Decision, LaneName, Work, Zone};

use crate::choose::{Choice, Lanes};
use crate::complexity::{Scored, complexity};
use crate::detect::Detectors;
use crate::explore::draw;
use crate::fleet::FleetState;
use crate::policy::Policy;
use crate::prefer::{Bar, fits};
use crate::registry::{Agent, Registry};
use crate::score::Scorer;
use crate::screen::{Cleared, Private, Screened, finds_in_earlier, screen};
use crate::snapshot::version_name;
use crate::steer::tie;

/// Everything that a decision rests on besides the work itself.
#[derive(Clone, Copy)]
pub struct Router<'a> {
    /// Lanes, models and agents.
    pub registry: &'a Registry,
    /// The rules.
    pub policy: &'a Policy,
    /// How hard a task looks.
    pub scorer: &'a dyn Scorer,
    /// What the chance on a cloud lane must be above the best local one, where a target steers, see
    /// [`Steering::bar`](crate::steer::Steering::bar); absent: the policy's numbers rule.
    pub bar: Option<f64>,
    /// The state of the lanes.
    pub fleet: &'a FleetState,
}

/// Work that a worker gave back: from which lane, and why.
#[derive(Debug, Clone)]
pub struct Returned {
    /// The lane it comes from.
    pub lane: LaneName,
    /// Why it comes back.
    pub cause: RerouteCause,
}

/// Where a piece of work goes.
#[derive(Debug)]
pub enum Route {
    /// Onto a lane of the local zone.
    Local(LocalRoute),
    /// Onto a lane of the cloud zone.
    Cloud(CloudRoute),
}

/// Work for a lane of the local zone.
#[derive(Debug)]
pub struct LocalRoute(LaneMessage);

/// Work for a lane of the cloud zone. Made of [`Cleared`] work and nothing else.
#[derive(Debug)]
pub struct CloudRoute(LaneMessage);

/// Why work goes onto no lane now.
#[derive(Debug)]
pub enum Unrouted {
    /// No lane may serve it, ever.
    Rejected(Box<Rejected>),
    /// It waits for a budget; then it is to be routed anew.
    Parked(Box<Parked>),
}

/// A decision that no lane may serve the work.
#[derive(Debug)]
pub struct Rejected {
    /// The work, for its result.
    pub work: Work,
    /// Why.
    pub error: TaskError,
}

/// A decision that the work has to wait.
#[derive(Debug)]
pub struct Parked {
    /// The work as it was before it was routed, its sensitivity raised where the screen has raised it.
    pub work: Work,
    /// From when on it may be routed again.
    pub until: Timestamp,
    /// Why, as a sentence.
    pub reason: String,
}

/// Why there is no choice, before it is told of which work.
#[derive(Debug)]
pub(crate) enum Unplaced {
    Rejected(TaskError),
    Parked { until: Timestamp, reason: String },
}

impl From<TaskError> for Unplaced {
    fn from(error: TaskError) -> Self {
        Self::Rejected(error)
    }
}

impl Unplaced {
    fn of(self, work: Work) -> Unrouted {
        match self {
            Self::Rejected(error) => Unrouted::Rejected(Box::new(Rejected { work, error })),
            Self::Parked { until, reason } => Unrouted::Parked(Box::new(Parked { work, until, reason })),
        }
    }
}

impl CloudRoute {
    /// Puts cleared work on the lane that `decision` names. The text of an earlier answer goes along only where the
    /// detectors find nothing in it: the screen has looked at what was asked, and a model may say more.
    pub fn new(cleared: Cleared, decision: Decision) -> Self {
        let mut work = cleared.into_work();
        if finds_in_earlier(&work, Detectors::shared()) {
            work.earlier = work.told_earlier();
        }
        Self(LaneMessage { work, decision })
    }

    /// What goes onto the lane.
    pub fn message(&self) -> &LaneMessage {
        &self.0
    }
}

impl LocalRoute {
    pub(crate) fn new(work: Work, decision: Decision) -> Self {
        Self(LaneMessage { work, decision })
    }

    /// What goes onto the lane.
    pub fn message(&self) -> &LaneMessage {
        &self.0
    }
}

impl Route {
    /// What goes onto the lane.
    pub fn message(&self) -> &LaneMessage {
        match self {
            Self::Local(route) => route.message(),
            Self::Cloud(route) => route.message(),
        }
    }

    /// The same without the text of an earlier answer, for a message that is too large with it. Where the attempt fails
    /// then, nothing stands.
    #[must_use]
    pub fn without_earlier_text(mut self) -> Self {
        let (Self::Local(LocalRoute(message)) | Self::Cloud(CloudRoute(message))) = &mut self;
        message.work.earlier = message.work.told_earlier();
        self
    }
}

impl Router<'_> {
    /// Decides where `work` goes.
    ///
    /// # Errors
    /// [`Unrouted`] where no lane may serve it, with what would have to change, or where it has to wait.
    pub fn route(
        &self,
        work: Work,
        agent: &Agent,
        returned: Option<&Returned>,
        now: Timestamp,
    ) -> Result<Route, Unrouted> {
        let screened = screen(work, agent, self.policy, Detectors::shared());
        let score = complexity(screened.work(), self.scorer, self.registry, self.policy);
        match screened {
            Screened::Private(private) => self.route_private(private, score, returned, now),
            Screened::Cleared(cleared) => self.route_cleared(cleared, score, returned, now),
        }
    }

    /// Private work is only ever shown the local lanes.
    fn route_private(
        &self,
        private: Private,
        score: Scored,
        returned: Option<&Returned>,
        now: Timestamp,
    ) -> Result<Route, Unrouted> {
        let lanes = Lanes::local(self.registry, self.fleet);
        match self.choose(private.work(), &lanes, &score, returned, now) {
            Ok(choice) => {
                let decision = choice.into_decision(private.report().clone(), score, self.policy, now);
                Ok(Route::Local(LocalRoute::new(private.into_work(), decision)))
            }
            Err(unplaced) => Err(unplaced.of(private.into_work())),
        }
    }

    fn route_cleared(
        &self,
        cleared: Cleared,
        score: Scored,
        returned: Option<&Returned>,
        now: Timestamp,
    ) -> Result<Route, Unrouted> {
        let lanes = Lanes::all(self.registry, self.fleet);
        match self.choose(cleared.work(), &lanes, &score, returned, now) {
            Ok(choice) => {
                let decision = choice.into_decision(cleared.report().clone(), score, self.policy, now);
                Ok(match decision.zone {
                    Zone::Local => Route::Local(LocalRoute::new(cleared.into_work(), decision)),
                    Zone::Cloud => Route::Cloud(CloudRoute::new(cleared, decision)),
                })
            }
            Err(unplaced) => Err(unplaced.of(cleared.into_work())),
        }
    }

    /// Pin, choose, adjust, among the lanes that the screen has left.
    fn choose(
        &self,
        work: &Work,
        lanes: &Lanes<'_>,
        score: &Scored,
        returned: Option<&Returned>,
        now: Timestamp,
    ) -> Result<Choice, Unplaced> {
        let choice = match returned {
            Some(Returned { lane, cause: RerouteCause::Degrade { reason } }) => {
                self.refuse_to_degrade_what_waits(work, lanes, score, now)?;
                lanes.deepest_local(work, score, self.policy, Reason::Degraded, reason)?.moved_from(lane)
            }
            Some(Returned {
                lane,
                cause: RerouteCause::Escalate { reason } | RerouteCause::Improve { reason, .. },
            }) => lanes.stronger_than(lane, work, score, self.policy, reason)?.moved_from(lane),
            Some(Returned { cause: RerouteCause::StepDone { .. }, .. }) | None => {
                let first = self.first_choice(work, lanes, score)?;
                let adjusted = self.adjust(first, work, lanes, score, now)?;
                return Ok(self.explore(adjusted, work, lanes, score, now));
            }
        };
        self.adjust(choice, work, lanes, score, now)
    }

    fn first_choice(&self, work: &Work, lanes: &Lanes<'_>, score: &Scored) -> Result<Choice, TaskError> {
        match &work.model {
            Some(model) => lanes.pinned(model, work, score, self.policy),
            None => {
                let bar = self.bar.map(|gain| Bar { gain, tie: tie(work) });
                lanes.preferred(work, score, self.policy, bar)
            }
        }
    }

    /// Takes a drawn lane in the place of the chosen one now and then. It is drawn among `lanes`, which the screen has
    /// left, and only among those that would not be adjusted away: the propensity is that of the lane where the work is
    /// put, adjustments and all, and those of all lanes add up to 1.
    fn explore(
        &self,
        chosen: Choice,
        work: &Work,
        lanes: &Lanes<'_>,
        score: &Scored,
        now: Timestamp,
    ) -> Choice {
        if work.model.is_some() || work.shadow || work.complexity.is_some() || self.policy.explore <= 0.0 {
            return chosen;
        }
        let is_open = |candidate: &&Candidate| {
            fits(candidate) && self.is_open(&candidate.lane, &candidate.model, work, now)
        };
        let open: Vec<&LaneName> =
            chosen.candidates.iter().filter(is_open).map(|candidate| &candidate.lane).collect();
        let version = version_name(&self.policy.version, score.version);
        let draw = draw(work, &version, self.policy.explore, &chosen.lane, &open);
        let (propensity, drawn) = (draw.propensity, draw.lane);
        match drawn.and_then(|lane| lanes.drawn(lane, &chosen, self.policy)) {
            Some(drawn) => Choice { propensity, ..drawn },
            None => Choice { propensity, ..chosen },
        }
    }

    /// A worker may find a budget spent before the classifier sees it. Where the policy lets tasks wait for their
    /// budget, one that comes back for that reason waits too.
    fn refuse_to_degrade_what_waits(
        &self,
        work: &Work,
        lanes: &Lanes<'_>,
        score: &Scored,
        now: Timestamp,
    ) -> Result<(), Unplaced> {
        let Ok(first) = self.first_choice(work, lanes, score) else { return Ok(()) };
        match self.adjust(first, work, lanes, score, now) {
            Err(parked @ Unplaced::Parked { .. }) => Err(parked),
            Ok(_) | Err(Unplaced::Rejected(_)) => Ok(()),
        }
    }
}

impl Choice {
    fn moved_from(mut self, lane: &LaneName) -> Self {
        let adjustment = Adjustment { from: lane.clone(), to: self.lane.clone(), cause: self.reason };
        self.adjustments.push(adjustment);
        self
    }
}
