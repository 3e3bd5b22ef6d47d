//! A made-up fleet that goes on by a look at each step: a flooded lane, a hung worker, money that runs out.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use trilane_protocol::alert::{Alert, AlertState};
use trilane_protocol::heartbeat::WorkerState;
use trilane_protocol::{AgentName, LaneName, ModelName, TaskId, TaskResult, Zone};

use crate::dashboard::Shown;
use crate::watch::fleet::{Budget, Decided, Fleet, Intake, Lane, Worker, WorkerHealth};

/// Seconds between two looks.
const LOOK_S: f64 = 2.0;

/// Decisions that are kept.
const MAX_DECISIONS: usize = 40;

/// The made-up fleet.
#[derive(Debug)]
pub(crate) struct Synthetic {
    looks: u64,
    decided: u64,
    started_at: Timestamp,
    /// Tasks on the local-fast lane.
    depth: f64,
    arrivals_per_s: f64,
    is_calm: bool,
    paused: BTreeSet<LaneName>,
    decisions: VecDeque<Decided>,
}

impl Synthetic {
    /// More arrives on local-fast than is served.
    pub(crate) fn flooded() -> Self {
        Self {
            looks: 0,
            decided: 0,
            started_at: Timestamp::now(),
            depth: 40.0,
            arrivals_per_s: 12.4,
            is_calm: false,
            paused: BTreeSet::new(),
            decisions: VecDeque::new(),
        }
    }

    /// Everything keeps up.
    pub(crate) fn calm() -> Self {
        Self { depth: 0.0, arrivals_per_s: 3.0, is_calm: true, ..Self::flooded() }
    }

    /// From now on more arrives on local-fast than is served.
    pub(crate) fn flood(&mut self) {
        (self.arrivals_per_s, self.is_calm) = (12.4, false);
    }

    /// Says which lanes are paused.
    pub(crate) fn set_paused(&mut self, lane: &str, is_paused: bool) {
        let lane = LaneName::new(lane).unwrap();
        if is_paused {
            self.paused.insert(lane)
        } else {
            self.paused.remove(&lane)
        };
    }

    /// The next look, with its alerts.
    pub(crate) fn shown(&mut self) -> Shown {
        let fleet = self.step();
        Shown { alerts: self.alerts(&fleet).into(), fleet: Arc::new(fleet) }
    }

    /// The next look.
    pub(crate) fn step(&mut self) -> Fleet {
        self.looks += 1;
        let fast = self.fast();
        let deep = Lane {
            waiting: 6,
            in_flight: 4,
            fullest: 9,
            busy: 4,
            arrivals_per_s: Some(0.8),
            served_per_s: Some(0.9),
            workers: 1,
            slots: 4,
            oldest_s: Some(7.2),
            wait_s: Some(6.7),
            drain_s: Some(60.0),
            ..self.lane("local-deep", Zone::Local)
        };
        let cloud = Lane {
            in_flight: 2,
            fullest: 2,
            busy: 2,
            arrivals_per_s: Some(0.4),
            served_per_s: Some(0.4),
            workers: 1,
            slots: 16,
            oldest_s: Some(1.4),
            wait_s: Some(0.0),
            ..self.lane("cloud", Zone::Cloud)
        };
        for _ in 0..3 {
            self.decide();
        }
        Fleet {
            at: Timestamp::now(),
            silent_s: 0,
            intake: Intake {
                waiting: if self.is_calm { 0 } else { 31 },
                in_flight: 64,
                capacity: 100_000,
                decided_per_s: Some(13.6),
            },
            workers: self.workers(&fast),
            lanes: vec![cloud, deep, fast],
            budgets: budgets(),
            decisions: self.decisions.iter().cloned().collect(),
            policy_versions: vec![],
            zombies: 0,
            dead_letters: 14,
            new_dead_letters: if self.is_calm { 0 } else { 3 },
        }
    }

    fn lane(&self, name: &str, zone: Zone) -> Lane {
        let name = LaneName::new(name).unwrap();
        let is_paused = self.paused.contains(&name);
        Lane {
            name,
            zone,
            waiting: 0,
            in_flight: 0,
            fullest: 0,
            capacity: 5_000,
            is_paused,
            oldest_s: None,
            arrivals_per_s: None,
            served_per_s: None,
            workers: 0,
            slots: 0,
            busy: 0,
            wait_s: None,
            drain_s: None,
            full_s: None,
        }
    }

    fn fast(&mut self) -> Lane {
        let lane = self.lane("local-fast", Zone::Local);
        let served = if lane.is_paused { 0.0 } else { 4.1 };
        // The flood comes in waves, so that there is something to see.
        let wave = 1.0 + 0.5 * (self.looks as f64 / 9.0).sin();
        let arrivals = self.arrivals_per_s * wave;
        self.depth = (self.depth + (arrivals - served) * LOOK_S).max(0.0);
        let busy = if lane.is_paused { 0 } else { 8 };
        let (waiting, in_flight) = (self.depth as u64, u64::from(busy));
        let grows = arrivals > served;
        Lane {
            waiting,
            in_flight,
            fullest: (self.depth * 0.8) as u64 + in_flight,
            oldest_s: (waiting > 0).then(|| self.depth / 4.1),
            arrivals_per_s: Some(arrivals),
            served_per_s: Some(served),
            workers: 2,
            slots: 8,
            busy,
            wait_s: (served > 0.0).then_some(self.depth / 4.1),
            drain_s: (!grows).then(|| self.depth / (served - arrivals)),
            full_s: grows.then(|| (5_000.0 - self.depth).max(0.0) / (arrivals - served)),
            ..lane
        }
    }

    fn workers(&self, fast: &Lane) -> Vec<Worker> {
        let worker = |name: &str, lane: &str, zone, model: &str, slots, busy| Worker {
            name: name.to_owned(),
            lane: LaneName::new(lane).unwrap(),
            zone,
            host: if zone == Zone::Cloud { "gateway-1" } else { "node-3" }.to_owned(),
            pid: 4_211,
            version: "0.1.0".to_owned(),
            models: vec![ModelName::new(model).unwrap()],
            state: WorkerState::Ready,
            health: WorkerHealth::Alive,
            slots,
            busy,
            finished: 1_200 + self.looks * 4,
            heard_s: 1.2,
            stalled_s: 0,
            clock_ahead_s: 0.02,
            started_at: self.started_at.checked_sub(SignedDuration::from_hours(5)).unwrap(),
        };
        let hung = worker("local-fast-9b02c1", "local-fast", Zone::Local, "smollm2-135m", 4, 4);
        let hung_health = if self.is_calm { WorkerHealth::Alive } else { WorkerHealth::Hung };
        let silent = worker("local-deep-77e0aa", "local-deep", Zone::Local, "qwen2.5-coder-0.5b", 4, 0);
        let mut workers = vec![
            worker("cloud-51ff20", "cloud", Zone::Cloud, "claude-sonnet", 16, 2),
            worker("local-deep-1c9d3e", "local-deep", Zone::Local, "qwen2.5-coder-0.5b", 4, 4),
            worker("local-fast-2f6a77", "local-fast", Zone::Local, "smollm2-135m", 4, fast.busy.min(4)),
            Worker { health: hung_health, stalled_s: if self.is_calm { 0 } else { 340 }, ..hung },
        ];
        if !self.is_calm {
            workers.insert(2, Worker { health: WorkerHealth::Silent, heard_s: 95.0, ..silent });
        }
        workers
    }

    fn decide(&mut self) {
        self.decided += 1;
        let number = self.decided;
        let kinds = [
            (
                "local-fast",
                "smollm2-135m",
                "good_enough",
                "the cheapest lane whose chance is good enough",
                0.18,
            ),
            (
                "local-fast",
                "smollm2-135m",
                "good_enough",
                "the cheapest lane whose chance is good enough",
                0.24,
            ),
            (
                "local-deep",
                "qwen2.5-coder-0.5b",
                "strongest",
                "private, and no local lane is good enough: the strongest one",
                0.81,
            ),
            ("cloud", "claude-sonnet", "good_enough", "the cheapest lane whose chance is good enough", 0.77),
        ];
        let (lane, model, reason, explanation, complexity) = kinds[(number % 4) as usize];
        let agent = ["support", "marketing", "billing"][(number % 3) as usize];
        self.decisions.push_front(Decided {
            agent: AgentName::new(agent).unwrap(),
            task_id: TaskId::new(format!(
                "{}-{number:05}",
                ["ticket", "copy", "invoice"][(number % 3) as usize]
            ))
            .unwrap(),
            lane: LaneName::new(lane).unwrap(),
            model: ModelName::new(model).unwrap(),
            sensitivity: if lane == "local-deep" { "private" } else { "public" },
            reason,
            explanation: explanation.to_owned(),
            complexity,
            policy_version: "2026-11".to_owned(),
            classifier: "classifier-4e".to_owned(),
            at: Timestamp::now(),
        });
        self.decisions.truncate(MAX_DECISIONS);
    }

    fn alerts(&self, fleet: &Fleet) -> Vec<Alert> {
        if self.is_calm {
            return Vec::new();
        }
        let ago = |minutes| self.started_at.checked_sub(SignedDuration::from_mins(minutes)).unwrap();
        let alert =
            |kind: &str, lane: &str, state, message: &str, meaning: &str, action: &str, minutes| Alert {
                state,
                meaning: meaning.to_owned(),
                action: action.to_owned(),
                at: fleet.at,
                ..Alert::new(kind, lane, message, ago(minutes))
            };
        use AlertState::{Firing, Resolved};
        vec![
            alert(
                "lane_filling",
                "local-fast",
                Firing,
                "local-fast takes in 12.4 tasks a second and serves 4.1; it is full in 9 min",
                "Tasks wait longer and longer; once it is full, classifiers are slowed down.",
                "Start more workers for local-fast, or pause its loudest producer.",
                4,
            ),
            alert(
                "worker_hung",
                "local-fast",
                Firing,
                "worker local-fast-9b02c1 on node-3 has 4 tasks and has not got on with any for 340 s",
                "Its tasks wait until their leases end.",
                "Look at its log, then restart it: nothing is lost.",
                2,
            ),
            Alert {
                at: ago(20),
                ..alert(
                    "clock_skew",
                    "fleet",
                    Resolved,
                    "the clock of node-2 was 31 s ahead",
                    "Deadlines and times in results were off by as much.",
                    "Let both hosts synchronise their clocks.",
                    26,
                )
            },
        ]
    }
}

/// The result of a task that a cloud lane has answered.
pub(crate) fn answered(agent: &str, task_id: &str) -> TaskResult {
    let finished_at = Timestamp::now().checked_sub(SignedDuration::from_secs(40)).unwrap();
    let decided_at = finished_at.checked_sub(SignedDuration::from_millis(4_120)).unwrap();
    serde_json::from_value(json!({
        "task_id": task_id, "agent": agent, "task_seq": 7, "status": "done", "text": "the answer", "finish": "stop",
        "lane": "cloud", "model": "claude-sonnet",
        "usage": {"prompt_tokens": 912, "completion_tokens": 240, "cached_tokens": 0},
        "cost_usd": 0.0063, "timing_ms": {"queued": 38, "waited": 410, "first_token": 640, "run": 3_710},
        "attempts": 1, "finished_at": finished_at,
        "decision": {
            "lane": "cloud", "zone": "cloud", "model": "claude-sonnet", "reason": "good_enough",
            "explanation": "the cheapest lane whose chance is good enough",
            "screen": {"sensitivity": "public", "findings": []},
            "score": {"complexity": 0.77, "source": "cold_start", "contributions": [], "prompt_tokens": 912},
            "threshold": 0.7,
            "candidates": [
                {"lane": "local-deep", "model": "qwen2.5-coder-0.5b", "chance": 0.41, "expected_cost_usd": 0.0, "verdict": "too_weak"},
                {"lane": "cloud", "model": "claude-sonnet", "chance": 0.93, "expected_cost_usd": 0.0061, "verdict": "eligible"},
            ],
            "adjustments": [], "propensity": 1.0, "policy_version": "2026-11", "decided_at": decided_at,
        },
    }))
    .unwrap()
}

fn budgets() -> Vec<Budget> {
    let midnight = Timestamp::now().checked_add(SignedDuration::from_hours(9)).unwrap();
    let budget = |agent: Option<&str>, window, spent_usd, reserved_usd, limit_usd, expected_usd| Budget {
        agent: agent.map(|agent| AgentName::new(agent).unwrap()),
        window,
        spent_usd,
        reserved_usd,
        limit_usd,
        expected_usd,
        ends_at: midnight,
    };
    vec![
        budget(None, "day", 3.412, 0.041, Some(10.0), 5.46),
        budget(None, "week", 21.88, 0.041, Some(40.0), 29.1),
        budget(Some("marketing"), "day", 1.83, 0.02, Some(2.0), 2.93),
    ]
}
