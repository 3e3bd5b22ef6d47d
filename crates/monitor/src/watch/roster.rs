//! Who works: every worker that was heard, and those that have fallen silent without a goodbye. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use trilane_broker::topology::HEARTBEATS_KEPT;
use trilane_broker::workers::{self, WorkerChange};
use trilane_protocol::LaneName;
use trilane_protocol::heartbeat::{Heartbeat, WorkerState};
use trilane_service::Config;

use super::fleet::{Worker, WorkerHealth};

/// How long a worker that fell silent is shown; then somebody has seen it, or nobody will.
const SILENT_KEPT: Duration = Duration::from_secs(15 * 60);

/// How long after an absence of the server nobody counts as silent: whoever has lost it tries again after a growing
/// delay.
const RETURN: Duration = Duration::from_secs(10);

/// Workers that are kept, living and silent. The bucket of signs of life holds no more.
const MAX_WORKERS: usize = 4_096;

/// Every worker that was heard.
#[derive(Debug, Clone)]
pub(crate) struct Roster {
    silence: Duration,
    hung_s: u64,
    heard: BTreeMap<String, Heard>,
    /// Attempts that the workers of each lane have ended since this process began.
    ended: BTreeMap<LaneName, u64>,
}

#[derive(Debug, Clone)]
struct Heard {
    beat: Heartbeat,
    at: Instant,
    clock_ahead_s: f64,
}

impl Roster {
    pub(crate) fn new(config: &Config) -> Self {
        let silence = config.worker.heartbeat() * HEARTBEATS_KEPT;
        Self { silence, hung_s: config.alerts.hung_s, heard: BTreeMap::new(), ended: BTreeMap::new() }
    }

    /// Attempts that the workers of a lane have ended since this process began, as far as they have said so.
    pub(crate) fn ended(&self, lane: &LaneName) -> u64 {
        self.ended.get(lane).copied().unwrap_or_default()
    }

    /// Takes a sign of life or a goodbye, heard at `at` and `now` by the two clocks of this process.
    pub(crate) fn take(&mut self, change: WorkerChange, at: Instant, now: Timestamp) {
        match change {
            WorkerChange::Alive(beat) => {
                let key = workers::key(&beat);
                if self.heard.len() >= MAX_WORKERS && !self.heard.contains_key(&key) {
                    return;
                }
                // What a worker has ended before it was first heard, nobody knows when.
                let known = self.heard.get(&key).map_or(beat.finished, |known| known.beat.finished);
                *self.ended.entry(beat.lane.clone()).or_default() += beat.finished.saturating_sub(known);
                let clock_ahead_s = beat.at.duration_since(now).as_secs_f64();
                self.heard.insert(key, Heard { beat: *beat, at, clock_ahead_s });
            }
            WorkerChange::Gone(key) => drop(self.heard.remove(&key)),
        }
    }

    /// The server was away until `at`: nobody could be heard, so nobody has been silent for longer.
    pub(crate) fn nobody_could_be_heard_until(&mut self, at: Instant) {
        self.heard.values_mut().for_each(|heard| heard.at = at + RETURN);
    }

    /// The workers at `at`, by lane and name. Who has long been silent is forgotten.
    pub(crate) fn workers(&mut self, at: Instant) -> Vec<Worker> {
        let kept = self.silence + SILENT_KEPT;
        self.heard.retain(|_, heard| at.duration_since(heard.at) < kept);
        self.forget_the_replaced(at);
        let mut workers: Vec<Worker> = self.heard.values().map(|heard| self.worker(heard, at)).collect();
        workers.sort_by(|a, b| (&a.lane, &a.name).cmp(&(&b.lane, &b.name)));
        workers
    }

    /// A silent worker in whose place another has been started, on the same host and lane, is nobody's concern any more.
    fn forget_the_replaced(&mut self, at: Instant) {
        let silence = self.silence;
        let is_silent = |heard: &Heard| at.duration_since(heard.at) >= silence;
        let place = |heard: &Heard| (heard.beat.lane.clone(), heard.beat.host.clone());
        let mut successors: Vec<_> = self
            .heard
            .values()
            .filter(|heard| !is_silent(heard))
            .map(|heard| (place(heard), heard.beat.started_at))
            .collect();
        self.heard.retain(|_, heard| {
            let found = is_silent(heard).then(|| {
                successors.iter().position(|(of, started)| *of == place(heard) && *started > heard.beat.at)
            });
            // Each stands in for one.
            found.flatten().map(|index| successors.swap_remove(index)).is_none()
        });
    }

    fn worker(&self, heard: &Heard, at: Instant) -> Worker {
        let Heartbeat { worker, zone, lane, models, state, slots, busy, finished, stalled_s, .. } =
            heard.beat.clone();
        let silent_for = at.duration_since(heard.at);
        let health = match () {
            () if silent_for >= self.silence => WorkerHealth::Silent,
            () if stalled_s > self.hung_s => WorkerHealth::Hung,
            () => WorkerHealth::Alive,
        };
        Worker {
            name: worker,
            lane,
            zone,
            host: heard.beat.host.clone(),
            pid: heard.beat.pid,
            version: heard.beat.version.clone(),
            models,
            state,
            health,
            slots,
            busy,
            finished,
            heard_s: silent_for.as_secs_f64(),
            stalled_s,
            clock_ahead_s: heard.clock_ahead_s,
            started_at: heard.beat.started_at,
        }
    }
}

impl Worker {
    /// Whether it takes tasks.
    pub(crate) fn is_serving(&self) -> bool {
        self.health != WorkerHealth::Silent && self.state == WorkerState::Ready
    }
}

#[cfg(test)]
mod tests {
    use trilane_protocol::Zone;

    use super::*;

    fn beat(name: &str, stalled_s: u64) -> WorkerChange {
        WorkerChange::Alive(Box::new(Heartbeat {
            worker: name.into(),
            zone: Zone::Local,
            lane: "local-fast".parse().unwrap(),
            models: vec![],
            state: WorkerState::Ready,
            slots: 4,
            busy: 1,
            finished: 0,
            stalled_s,
            host: "h".into(),
            pid: 1,
            version: "0".into(),
            started_at: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
        }))
    }

    fn roster() -> Roster {
        Roster {
            silence: Duration::from_secs(6),
            hung_s: 300,
            heard: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    fn health(roster: &mut Roster, at: Instant) -> Vec<WorkerHealth> {
        roster.workers(at).iter().map(|worker| worker.health).collect()
    }

    #[test]
    fn a_worker_falls_silent_and_is_forgotten_and_a_goodbye_is_no_silence() {
        let (mut roster, start) = (roster(), Instant::now());
        roster.take(beat("a", 0), start, Timestamp::UNIX_EPOCH);
        roster.take(beat("b", 0), start, Timestamp::UNIX_EPOCH);
        roster.take(WorkerChange::Gone("local.b".into()), start, Timestamp::UNIX_EPOCH);
        assert_eq!(health(&mut roster, start + Duration::from_secs(5)), [WorkerHealth::Alive]);
        assert_eq!(health(&mut roster, start + Duration::from_secs(6)), [WorkerHealth::Silent]);
        assert_eq!(health(&mut roster, start + SILENT_KEPT + Duration::from_secs(6)), []);
    }

    #[test]
    fn a_silent_worker_that_was_replaced_is_forgotten_and_each_stands_in_for_one() {
        let (mut roster, start) = (roster(), Instant::now());
        for name in ["a", "b"] {
            roster.take(beat(name, 0), start, Timestamp::UNIX_EPOCH);
        }
        let later = start + Duration::from_secs(10);
        let WorkerChange::Alive(successor) = beat("c", 0) else { unreachable!() };
        let started_at = Timestamp::from_second(5).unwrap();
        let successor = Heartbeat { started_at, ..*successor };
        roster.take(WorkerChange::Alive(Box::new(successor)), later, Timestamp::UNIX_EPOCH);
        let mut left = health(&mut roster, later);
        left.sort_by_key(|health| *health as u8);
        assert_eq!(left, [WorkerHealth::Alive, WorkerHealth::Silent]);
    }

    #[test]
    fn while_the_server_is_away_nobody_falls_silent() {
        let (mut roster, start) = (roster(), Instant::now());
        roster.take(beat("a", 0), start, Timestamp::UNIX_EPOCH);
        let back = start + Duration::from_secs(60);
        roster.nobody_could_be_heard_until(back);
        assert_eq!(health(&mut roster, back + RETURN + Duration::from_secs(5)), [WorkerHealth::Alive]);
        assert_eq!(health(&mut roster, back + RETURN + Duration::from_secs(6)), [WorkerHealth::Silent]);
    }

    #[test]
    fn a_worker_that_beats_and_does_nothing_with_what_it_has_is_hung() {
        let (mut roster, start) = (roster(), Instant::now());
        roster.take(beat("a", 301), start, Timestamp::UNIX_EPOCH);
        assert_eq!(health(&mut roster, start), [WorkerHealth::Hung]);
        roster.take(beat("a", 0), start, Timestamp::UNIX_EPOCH);
        assert_eq!(health(&mut roster, start), [WorkerHealth::Alive]);
    }

    #[test]
    fn what_workers_end_is_counted_beyond_their_own_end() {
        let (mut roster, start) = (roster(), Instant::now());
        let mut beat = |name: &str, finished| {
            let WorkerChange::Alive(beat) = beat(name, 0) else { unreachable!() };
            let beat = Heartbeat { finished, ..*beat };
            roster.take(WorkerChange::Alive(Box::new(beat)), start, Timestamp::UNIX_EPOCH);
            roster.ended(&"local-fast".parse().unwrap())
        };
        assert_eq!(beat("a", 1_000), 0, "of before this process began");
        assert_eq!(beat("a", 1_005), 5);
        assert_eq!(beat("b", 0), 5);
        assert_eq!(beat("b", 2), 7);
    }

    #[test]
    fn a_clock_that_is_off_shows() {
        let (mut roster, start) = (roster(), Instant::now());
        roster.take(beat("a", 0), start, Timestamp::from_second(3_600).unwrap());
        assert_eq!(roster.workers(start)[0].clock_ahead_s, -3_600.0);
    }

    #[test]
    fn workers_that_make_themselves_up_are_bounded() {
        let (mut roster, start) = (roster(), Instant::now());
        (0..MAX_WORKERS + 10)
            .for_each(|index| roster.take(beat(&index.to_string(), 0), start, Timestamp::UNIX_EPOCH));
        assert_eq!(roster.workers(start).len(), MAX_WORKERS);
    }
}
