//! A fleet that is well, for tests to make ill.

use jiff::Timestamp;
use trilane_protocol::Zone;
use trilane_protocol::heartbeat::WorkerState;
use trilane_service::Config;
use trilane_service::config::load_from;

use crate::watch::fleet::{Fleet, Intake, Lane, Worker, WorkerHealth};

pub(crate) fn config(toml: &str) -> Config {
    load_from(Some(toml), []).unwrap()
}

/// Two workers with four slots each, all busy with tasks of a second; as much arrives as is served.
pub(crate) fn lane(name: &str) -> Lane {
    Lane {
        name: name.parse().unwrap(),
        zone: if name == "cloud" { Zone::Cloud } else { Zone::Local },
        waiting: 0,
        in_flight: 8,
        fullest: 8,
        capacity: 1_000,
        is_paused: false,
        oldest_s: Some(1.0),
        arrivals_per_s: Some(8.0),
        served_per_s: Some(8.0),
        workers: 2,
        slots: 8,
        busy: 8,
        wait_s: Some(0.0),
        drain_s: None,
        full_s: None,
    }
}

pub(crate) fn worker(name: &str, health: WorkerHealth) -> Worker {
    Worker {
        name: name.into(),
        lane: "local-fast".parse().unwrap(),
        zone: Zone::Local,
        host: "h1".into(),
        pid: 7,
        version: "0".into(),
        models: vec![],
        state: WorkerState::Ready,
        health,
        slots: 4,
        busy: 4,
        finished: 10,
        heard_s: 0.0,
        stalled_s: 0,
        clock_ahead_s: 0.1,
        started_at: Timestamp::UNIX_EPOCH,
    }
}

pub(crate) fn fleet() -> Fleet {
    Fleet {
        at: Timestamp::UNIX_EPOCH,
        silent_s: 0,
        intake: Intake { capacity: 1_000, decided_per_s: Some(8.0), ..Intake::default() },
        lanes: ["local-fast", "local-deep", "cloud"].map(lane).into(),
        workers: vec![worker("w1", WorkerHealth::Alive), worker("w2", WorkerHealth::Alive)],
        budgets: vec![],
        decisions: vec![],
        policy_versions: vec![("shipped-1".into(), "c1".into())],
        zombies: 0,
        dead_letters: 0,
        new_dead_letters: 0,
    }
}
