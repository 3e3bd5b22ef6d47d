//! The faults of a drill, made from its seed: what happens to whom, after how many acknowledged tasks.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Acknowledged tasks between two faults.
const TASKS_PER_FAULT: usize = 16;

/// Faults of a drill however short.
const FEWEST_FAULTS: usize = 20;

/// What the tasks' random numbers are not drawn from, so that more tasks change no fault.
const STREAM: u64 = 0xfa_17;

/// The lanes, as the configuration names them.
pub const LANES: [&str; 3] = ["local-fast", "local-deep", "cloud"];

/// Kinds of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `nats-server`.
    Server,
    /// `trilane-classifier`.
    Classifier,
    /// `trilane-endpoint-worker`, on this lane.
    Endpoint(&'static str),
    /// `trilane-cloud-worker`.
    Cloud,
    /// `trilane-monitor`.
    Monitor,
}

/// The processes between the producers and the models.
pub const FLEET: [Role; 8] = [
    Role::Classifier,
    Role::Classifier,
    Role::Endpoint("local-fast"),
    Role::Endpoint("local-fast"),
    Role::Endpoint("local-deep"),
    Role::Cloud,
    Role::Cloud,
    Role::Monitor,
];

impl Role {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "nats-server",
            Self::Classifier => "classifier",
            Self::Endpoint(_) => "endpoint-worker",
            Self::Cloud => "cloud-worker",
            Self::Monitor => "monitor",
        }
    }
}

/// Whose process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// A position in [`FLEET`].
    Fleet(usize),
    /// A node of the queue.
    Server(usize),
}

/// Whose connection to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A position in [`FLEET`].
    One(usize),
    /// All of [`FLEET`].
    Fleet,
    /// All producers.
    Producers,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Killed at once; started again after a while.
    Kill(Process, Duration),
    /// Stopped for a while, and then let go on as if nothing had been.
    Stop(Process, Duration),
    /// Told to stop; started again when it has.
    Terminate(Process),
    /// Its connections are closed.
    Cut(Link),
    /// Every piece on it takes so much longer, for a while.
    Delay(Link, Duration, Duration),
    /// It swallows everything for a while.
    HalfOpen(Link, Duration),
    /// The lane is paused for a while.
    Pause(&'static str, Duration),
    /// The models of the lane answer nothing but 503 for a while.
    Down(&'static str, Duration),
}

impl Fault {
    /// Whether it befalls a node of the queue.
    pub fn is_on_server(self) -> bool {
        let (Self::Kill(process, _) | Self::Stop(process, _) | Self::Terminate(process)) = self else {
            return false;
        };
        matches!(process, Process::Server(_))
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill(Process::Fleet(_), _) => "kill",
            Self::Kill(Process::Server(_), _) => "kill_server",
            Self::Stop(Process::Fleet(_), _) => "stop",
            Self::Stop(Process::Server(_), _) => "stop_server",
            Self::Terminate(Process::Fleet(_)) => "terminate",
            Self::Terminate(Process::Server(_)) => "terminate_server",
            Self::Cut(_) => "cut",
            Self::Delay(..) => "delay",
            Self::HalfOpen(..) => "half_open",
            Self::Pause(..) => "pause_lane",
            Self::Down(..) => "models_down",
        }
    }
}

/// A fault and its place in the drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduled {
    /// It begins when so many tasks were acknowledged.
    pub after: usize,
    /// What goes wrong.
    pub fault: Fault,
}

/// The faults of a seed, in the order in which they begin, for so many tasks and nodes of the queue.
pub fn plan(seed: u64, tasks: usize, servers: usize) -> Vec<Scheduled> {
    let mut random = StdRng::seed_from_u64(seed ^ STREAM);
    let count = (tasks / TASKS_PER_FAULT).max(FEWEST_FAULTS);
    let scheduled =
        |index: usize| Scheduled { after: index * tasks / count, fault: fault(&mut random, servers) };
    (0..count).map(scheduled).collect()
}

fn fault(random: &mut StdRng, servers: usize) -> Fault {
    let fleet = random.random_range(0..FLEET.len());
    let process = Process::Fleet(fleet);
    let server = Process::Server(random.random_range(0..servers));
    let link = match random.random_range(0..10) {
        0..2 => Link::Fleet,
        2..4 => Link::Producers,
        _ => Link::One(fleet),
    };
    let lane = LANES.choose(random).copied().unwrap_or(LANES[0]);
    let short = random.random_range(Duration::from_millis(50)..Duration::from_millis(1_000));
    // Long enough that leases run out and signs of life are missed.
    let long = random.random_range(Duration::from_millis(300)..Duration::from_millis(4_500));
    match random.random_range(0..100) {
        0..22 => Fault::Kill(process, short),
        22..38 => Fault::Stop(process, long),
        38..52 => Fault::Terminate(process),
        52..59 => Fault::Kill(server, short),
        59..65 => Fault::Stop(server, short * 2),
        65..70 => Fault::Terminate(server),
        70..77 => Fault::Cut(link),
        77..82 => Fault::Delay(link, short / 5, long),
        82..90 => Fault::HalfOpen(link, long),
        90..95 => Fault::Pause(lane, short * 2),
        _ => Fault::Down(lane, short * 2),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_in_order() {
        let faults = plan(1, 5_000, 1);
        assert_eq!(faults, plan(1, 5_000, 1));
        assert_ne!(faults, plan(2, 5_000, 1));
        assert!(faults.len() > 300 && faults.is_sorted_by_key(|scheduled| scheduled.after));
        assert!(faults.iter().all(|scheduled| scheduled.after < 5_000));
    }

    #[test]
    fn a_full_drill_has_every_fault_on_every_process() {
        let faults = plan(1, 5_000, 3);
        let names = faults.iter().map(|scheduled| scheduled.fault.name()).collect::<BTreeSet<_>>();
        assert_eq!(names.len(), 11, "{names:?}");
        for process in (0..FLEET.len()).map(Process::Fleet).chain((0..3).map(Process::Server)) {
            let is_on = |kind: fn(Process, Fault) -> bool| faults.iter().any(|one| kind(process, one.fault));
            assert!(is_on(|process, fault| matches!(fault, Fault::Kill(killed, _) if killed == process)));
            assert!(is_on(|process, fault| matches!(fault, Fault::Stop(stopped, _) if stopped == process)));
            assert!(is_on(|process, fault| fault == Fault::Terminate(process)));
        }
    }

    #[test]
    fn a_short_drill_has_faults_too() {
        assert_eq!(plan(1, 50, 1).len(), FEWEST_FAULTS);
    }
}
