//! Puts looks, signs of life and decisions together to the fleet as it is now. Pure but for the clocks it is given.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use trilane_broker::workers::WorkerChange;
use trilane_protocol::chain::RouteSegment;
use trilane_protocol::{LaneName, Usd};
use trilane_routing::budget::{Budgets, Standing};
use trilane_routing::registry;
use trilane_service::Config;

use super::decisions::Decisions;
use super::fleet::{Budget, Fleet, Intake, Lane, Worker};
use super::flow::{Counts, Flow, Rates};
use super::look::{LaneLook, Look};
use super::roster::Roster;

/// Dead letters of this long are new.
const NEW_LETTERS: Duration = Duration::from_secs(600);

/// Looks at the number of dead letters that are kept; one for each ten seconds is enough.
const LETTER_SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// Share of a budget's day or week that must have passed before its pace is believed.
const LEAST_PAST: f64 = 0.05;

/// Everything that was seen so far.
#[derive(Debug)]
pub(crate) struct Picture {
    config: Config,
    budgets: Budgets,
    roster: Roster,
    decisions: Decisions,
    intake_flow: Flow,
    flows: BTreeMap<LaneName, Flow>,
    look: Option<(Look, Instant)>,
    buried: VecDeque<(Instant, u64)>,
    zombies: u64,
}

impl Picture {
    pub(crate) fn new(config: &Config) -> Self {
        let flow = Flow::new(config.monitor.rate_window());
        Self {
            budgets: config.budgets(),
            roster: Roster::new(config),
            decisions: Decisions::default(),
            intake_flow: flow.clone(),
            flows: config.registry.lanes.keys().map(|lane| (lane.clone(), flow.clone())).collect(),
            look: None,
            buried: VecDeque::new(),
            zombies: 0,
            config: config.clone(),
        }
    }

    pub(crate) fn heard(&mut self, change: WorkerChange, at: Instant, now: Timestamp) {
        self.roster.take(change, at, now);
    }

    pub(crate) fn decided(&mut self, sequence: u64, segment: RouteSegment, is_new: bool, at: Instant) {
        self.decisions.take(sequence, segment, is_new, at);
    }

    /// The server did not answer until `at`.
    pub(crate) fn server_is_back(&mut self, at: Instant) {
        self.roster.nobody_could_be_heard_until(at);
    }

    pub(crate) fn swept(&mut self, zombies: u64) {
        self.zombies = zombies;
    }

    /// Whether the routing log has gone on without this process hearing of it.
    pub(crate) fn has_missed_decisions(&self) -> bool {
        self.look.as_ref().is_some_and(|(look, _)| look.routed_up_to > self.decisions.read_up_to())
    }

    pub(crate) fn looked(&mut self, look: Look, at: Instant) {
        for (lane, LaneLook { depth, .. }) in &look.lanes {
            if let Some(flow) = self.flows.get_mut(lane) {
                let held = depth.waiting + depth.in_flight;
                flow.note(
                    at,
                    Counts { put: self.decisions.of_lane(lane), held, ended: self.roster.ended(lane) },
                );
            }
        }
        let decided = self.decisions.total();
        self.intake_flow.note(at, Counts { put: decided, held: 0, ended: decided });
        if self.buried.back().is_none_or(|(last, _)| at.duration_since(*last) >= LETTER_SAMPLE_EVERY) {
            self.buried.push_back((at, look.buried));
        }
        while self.buried.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= NEW_LETTERS) {
            self.buried.pop_front();
        }
        self.look = Some((look, at));
    }

    /// The fleet as it is now; `None` until the server has been looked at.
    pub(crate) fn fleet(&mut self, at: Instant, now: Timestamp) -> Option<Fleet> {
        let (look, looked_at) = self.look.clone()?;
        let workers = self.roster.workers(at);
        let lanes = self.config.registry.lanes.iter();
        let lanes = lanes.map(|(name, lane)| self.lane(name, lane, &look, &workers, now)).collect();
        let first_buried = self.buried.front().map_or(look.buried, |(_, buried)| *buried);
        let settings = &self.config.streams;
        Some(Fleet {
            at: now,
            silent_s: at.duration_since(looked_at).as_secs(),
            intake: Intake {
                waiting: look.intake.waiting,
                in_flight: look.intake.in_flight,
                capacity: u64::try_from(settings.intake_max_messages).unwrap_or(u64::MAX),
                decided_per_s: self.intake_flow.rates().map(|rates| rates.arrivals),
            },
            lanes,
            workers,
            budgets: self
                .budgets
                .standings(&look.book, now)
                .iter()
                .map(|standing| budget(standing, now))
                .collect(),
            decisions: self.decisions.last(),
            policy_versions: self.decisions.versions(at, self.config.monitor.rate_window()),
            zombies: self.zombies,
            dead_letters: look.dead_letters,
            new_dead_letters: look.buried.saturating_sub(first_buried),
        })
    }

    fn lane(
        &self,
        name: &LaneName,
        lane: &registry::Lane,
        look: &Look,
        workers: &[Worker],
        now: Timestamp,
    ) -> Lane {
        let LaneLook { depth, oldest_at } = look.lanes.get(name).copied().unwrap_or_default();
        let rates = self.flows.get(name).and_then(Flow::rates);
        // A worker may speak for lanes of its own zone only.
        let own = || {
            workers
                .iter()
                .filter(|worker| worker.lane == *name && worker.zone == lane.zone && worker.is_serving())
        };
        let capacity = u64::try_from(self.config.streams.lane_max_messages).unwrap_or(u64::MAX);
        let outlook = Outlook::new(depth.waiting, capacity.saturating_sub(depth.fullest), rates);
        Lane {
            name: name.clone(),
            zone: lane.zone,
            waiting: depth.waiting,
            in_flight: depth.in_flight,
            fullest: depth.fullest,
            capacity,
            is_paused: depth.is_paused,
            oldest_s: oldest_at.map(|oldest_at| now.duration_since(oldest_at).as_secs_f64().max(0.0)),
            arrivals_per_s: rates.map(|rates| rates.arrivals),
            served_per_s: rates.map(|rates| rates.served),
            workers: u32::try_from(own().count()).unwrap_or(u32::MAX),
            slots: own().map(|worker| worker.slots).sum(),
            busy: own().map(|worker| worker.busy).sum(),
            wait_s: outlook.wait_s,
            drain_s: outlook.drain_s,
            full_s: outlook.full_s,
        }
    }
}

/// What becomes of a queue at the rates of now.
#[derive(Debug, Default, PartialEq)]
struct Outlook {
    wait_s: Option<f64>,
    drain_s: Option<f64>,
    full_s: Option<f64>,
}

impl Outlook {
    fn new(waiting: u64, room: u64, rates: Option<Rates>) -> Self {
        let Some(Rates { arrivals, served }) = rates else { return Self::default() };
        let seconds = |tasks: u64, per_s: f64| (per_s > 0.0).then(|| tasks as f64 / per_s);
        Self {
            // Little's law: who comes last waits until all before it are served.
            wait_s: if waiting == 0 { Some(0.0) } else { seconds(waiting, served) },
            drain_s: if waiting == 0 { None } else { seconds(waiting, served - arrivals) },
            full_s: seconds(room, arrivals - served),
        }
    }
}

fn budget(standing: &Standing, now: Timestamp) -> Budget {
    let Standing { account, window, taken, limit } = standing;
    let ends_at = window.end(now);
    let spent_usd = taken.settled.dollars();
    let left_s = ends_at.duration_since(now).as_secs_f64().max(0.0);
    let length_s = window.length().as_secs_f64();
    // The pace of the first minutes says nothing about a day.
    let gone_s = (length_s - left_s).max(length_s * LEAST_PAST);
    Budget {
        agent: account.clone(),
        window: window.as_str(),
        spent_usd,
        reserved_usd: taken.reserved.dollars(),
        limit_usd: limit.map(Usd::dollars),
        expected_usd: spent_usd * (1.0 + left_s / gone_s),
        ends_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_s_outlook_follows_from_its_rates() {
        let rates = |arrivals, served| Some(Rates { arrivals, served });
        let grows = Outlook::new(100, 50, rates(12.0, 2.0));
        assert_eq!(grows, Outlook { wait_s: Some(50.0), drain_s: None, full_s: Some(5.0) });
        let shrinks = Outlook::new(100, 50, rates(2.0, 12.0));
        assert_eq!(shrinks, Outlook { wait_s: Some(100.0 / 12.0), drain_s: Some(10.0), full_s: None });
        let stands = Outlook::new(100, 50, rates(0.0, 0.0));
        assert_eq!(stands, Outlook::default(), "nothing is served, so nobody can say");
        assert_eq!(Outlook::new(0, 50, rates(1.0, 1.0)), Outlook { wait_s: Some(0.0), ..Outlook::default() });
        assert_eq!(Outlook::new(100, 50, None), Outlook::default());
    }
}
