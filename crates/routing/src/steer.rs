//! The bar that holds a share of the cloud, or a sum of dollars: what a task must gain there, from what tasks gained lately
//! and from how far the target is missed so far.
//!
//! Each classifier steers the tasks that it sees. A share that each holds on its own stream is the share of all. Dollars
//! are counted in one book for all: every classifier closes the same gap to the same line, so several close it sooner
//! than one, and none adds a gap of its own.
//!
//! Nothing is kept over a restart but the book: a new classifier begins with made-up gains, spread evenly, and the real
//! ones push them out. A clock that jumps moves the bar by a step at a time, and it moves back the same way.
//!
//! * `line`: how much of a week's dollars may be spent by now

mod line;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use trilane_protocol::decision::{Decision, Reason};
use trilane_protocol::ledger::Book;
use trilane_protocol::work::LaneMessage;
use trilane_protocol::{Sensitivity, Work, Zone};

use crate::explore::unit;
use crate::policy::{Policy, Target};
use crate::prefer::{fits, gain, is_below_the_floor};
use crate::registry::Registry;
use line::Line;

/// Tasks whose gains are remembered; older ones say little of what comes.
const WINDOW: usize = 512;

/// Made-up gains that a classifier begins with.
const PRIOR: usize = 64;

/// The largest made-up gain; they are spread evenly from 0.
const PRIOR_MAX_GAIN: f64 = 0.5;

/// The bar that no gain reaches.
const CLOSED: f64 = 1.01;

/// The most that the bar moves from one task to the next.
const MAX_STEP: f64 = 0.05;

/// Tasks over which a share that was missed is made up for.
const REPAID_WITHIN: f64 = 100.0;

/// Tasks that are owed at most, either way: after a long outage of the cloud not everything is made up for.
const MAX_DEBT: f64 = 50.0;

/// How far ahead dollars are planned, seconds: what was missed is made up for within this time.
const HORIZON_S: f64 = 3_600.0;

/// Shortest span that a rate of tasks is taken from, seconds.
const MIN_SPAN_S: f64 = 60.0;

/// How many times as fast as the line dollars are spent at most, where too few were spent before.
const CATCH_UP: f64 = 3.0;

/// Raises each task's gain by less than anything means, and by another amount each: of tasks that look alike, some go and
/// some stay.
const TIE: f64 = 1e-6;

/// Steers the bar of one classifier.
#[derive(Debug, Clone)]
pub struct Steering {
    target: Target,
    /// Real gains, oldest first.
    seen: VecDeque<Seen>,
    /// Made-up gains that stand in yet.
    prior: usize,
    /// Tasks that the cloud should have had and has not, or has had too many.
    debt: f64,
    bar: Option<f64>,
    started: Option<Timestamp>,
}

/// One task that was steered, or could have been.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    /// What the cloud would have added; above [`CLOSED`] where it could go nowhere else, -1 where it could not go.
    gain: f64,
    /// Expected dollars in the cloud.
    usd: f64,
    at: Timestamp,
}

/// By how much the gain of `work` is raised against the bar.
pub(crate) fn tie(work: &Work) -> f64 {
    TIE * unit(work, "")
}

impl Steering {
    /// Steers by `target`, with nothing seen yet.
    pub fn new(target: Target) -> Self {
        Self { target, seen: VecDeque::new(), prior: PRIOR, debt: 0.0, bar: None, started: None }
    }

    /// What the next task must gain in the cloud.
    pub fn bar(&mut self, book: &Book, now: Timestamp) -> f64 {
        let started = *self.started.get_or_insert(now);
        let wanted = match self.target {
            Target::CloudShare(share) => self.bar_of_share(share + self.debt / REPAID_WITHIN),
            Target::UsdWeek(usd) => self.bar_of_dollars(&Line::of_week(usd, book, now), started, now),
        };
        let wanted = wanted.clamp(0.0, CLOSED);
        let bar = self.bar.map_or(wanted, |bar| wanted.clamp(bar - MAX_STEP, bar + MAX_STEP));
        *self.bar.insert(bar)
    }

    /// Takes note of a task that was put on a lane. Private ones, pins, and what workers gave back are not steered and do
    /// not count, but for answers that are improved in the cloud.
    pub fn saw(&mut self, message: &LaneMessage, registry: &Registry, policy: &Policy, now: Timestamp) {
        let LaneMessage { work, decision } = message;
        let went_up = decision.reason == Reason::Escalated && decision.zone == Zone::Cloud;
        if went_up && work.earlier.is_some() {
            self.repay_one();
        }
        if !is_steered(work, decision) {
            return;
        }
        let (gain, usd) = gain_of(work, decision, registry, policy);
        self.note(Seen { gain, usd, at: now }, decision.zone);
    }

    /// A task that went up for its answer was noted on its first lane, as one that stayed. Now the cloud has it after all.
    fn repay_one(&mut self) {
        if matches!(self.target, Target::CloudShare(_)) {
            self.debt = (self.debt - 1.0).max(-MAX_DEBT);
        }
    }

    fn note(&mut self, seen: Seen, zone: Zone) {
        if let Target::CloudShare(share) = self.target {
            let went = if zone == Zone::Cloud { 1.0 } else { 0.0 };
            self.debt = (self.debt + share - went).clamp(-MAX_DEBT, MAX_DEBT);
        }
        self.prior = self.prior.saturating_sub(1);
        if self.seen.len() == WINDOW {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    /// The bar that `share` of the gains reach.
    fn bar_of_share(&self, share: f64) -> f64 {
        if share <= 0.0 {
            return CLOSED;
        }
        let made_up = (0..self.prior).map(|index| PRIOR_MAX_GAIN * (index as f64 + 0.5) / PRIOR as f64);
        let mut gains: Vec<f64> = self.seen.iter().map(|seen| seen.gain).chain(made_up).collect();
        let most = (share * gains.len() as f64).round() as usize;
        if gains.is_empty() || most >= gains.len() {
            return 0.0;
        }
        if most == 0 {
            return CLOSED;
        }
        let (_, bar, _) = gains.select_nth_unstable_by(most - 1, |a, b| b.total_cmp(a));
        *bar
    }

    /// The bar that tasks of so many dollars reach as the line leaves room for: those that gain most go first.
    fn bar_of_dollars(&self, line: &Line, started: Timestamp, now: Timestamp) -> f64 {
        let ahead_s = line.left_s.clamp(MIN_SPAN_S, HORIZON_S);
        let (by_now, by_then) = (line.usd_after(0.0), line.usd_after(ahead_s));
        let wanted_usd = (by_then - line.spent_usd).min(CATCH_UP * (by_then - by_now));
        if wanted_usd <= 0.0 {
            return CLOSED;
        }
        let recent = |seen: &&Seen| seconds(now, seen.at).abs() <= HORIZON_S && seen.gain > 0.0;
        let mut offers: Vec<&Seen> = self.seen.iter().filter(recent).collect();
        let offered_usd: f64 = offers.iter().map(|seen| seen.usd).sum();
        let expected_usd = offered_usd * ahead_s / self.span_s(started, now);
        if expected_usd <= wanted_usd {
            return 0.0;
        }
        offers.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        let room_usd = offered_usd * wanted_usd / expected_usd;
        let mut taken_usd = 0.0;
        let last = offers.iter().find(|seen| {
            taken_usd += seen.usd;
            taken_usd >= room_usd
        });
        last.map_or(0.0, |seen| seen.gain)
    }

    /// The span that the recent tasks came in, seconds.
    fn span_s(&self, started: Timestamp, now: Timestamp) -> f64 {
        let since = match self.seen.front() {
            Some(oldest) if self.seen.len() == WINDOW => oldest.at,
            _ => started,
        };
        seconds(now, since).clamp(MIN_SPAN_S, HORIZON_S)
    }
}

fn seconds(now: Timestamp, then: Timestamp) -> f64 {
    let between: SignedDuration = now.duration_since(then);
    between.as_secs_f64()
}

fn is_steered(work: &Work, decision: &Decision) -> bool {
    let chose = matches!(
        decision.reason,
        Reason::GoodEnough
            | Reason::Strongest
            | Reason::Explored
            | Reason::NoWorker
            | Reason::Saturated
            | Reason::BudgetSpent
    );
    chose && work.model.is_none() && !work.shadow && decision.screen.sensitivity == Sensitivity::Public
}

/// What the cloud would have added, and for how many dollars.
fn gain_of(work: &Work, decision: &Decision, registry: &Registry, policy: &Policy) -> (f64, f64) {
    if let Some(gain) = gain(&decision.candidates, registry) {
        let value = if is_below_the_floor(&gain, policy) { CLOSED } else { gain.value() + tie(work) };
        return (value, gain.cloud.expected_cost_usd);
    }
    let only = decision.candidates.iter().find(|candidate| fits(candidate));
    let zone = only.and_then(|candidate| registry.lanes.get(&candidate.lane)).map(|lane| lane.zone);
    match (only, zone) {
        (Some(candidate), Some(Zone::Cloud)) => (CLOSED, candidate.expected_cost_usd),
        _ => (-1.0, 0.0),
    }
}
