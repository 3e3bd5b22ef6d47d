//! What is wrong with the fleet as it is now. Pure: whether anybody is told is decided by its life.

use trilane_protocol::{LaneName, Zone, subjects};
use trilane_routing::snapshot::versions_in;
use trilane_service::Config;
use trilane_service::config::LaneLimits;

use super::advice;
use super::kind::Kind;
use crate::watch::fleet::{Fleet, Lane, Worker, WorkerHealth};

/// What is not about one lane.
pub(crate) const FLEET: &str = "fleet";

/// Share of a bound below which what was above it is right again. Between the two nothing changes.
const RELAX: f64 = 0.8;

/// Share of a lane's room that must be taken before its filling is worth a word.
const LEAST_FILLED: f64 = 0.1;

/// Workers that a message names; the others are counted.
const MAX_NAMED: usize = 5;

/// Something that is wrong, or was and is not quite right yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// What it is about.
    pub(crate) kind: String,
    /// The lane, or `intake`, or `fleet`.
    pub(crate) place: String,
    /// Whether it is wrong, or between wrong and right.
    pub(crate) is_wrong: bool,
    /// Whether it fires without being looked at for a while: it has happened, so it does not flap.
    pub(crate) is_sudden: bool,
    /// What is wrong.
    pub(crate) message: String,
    /// What it means.
    pub(crate) meaning: String,
    /// What to do.
    pub(crate) action: String,
}

/// Everything that is wrong. What is not named is right.
pub(crate) fn of(fleet: &Fleet, config: &Config) -> Vec<Reading> {
    if fleet.silent_s >= config.alerts.unreachable_s {
        return vec![unreachable(fleet, config)];
    }
    let lanes = fleet.lanes.iter().flat_map(|lane| of_lane(lane, &config.alerts.limits_of(&lane.name)));
    let workers = fleet.lanes.iter().flat_map(|lane| of_workers(fleet, &lane.name, config));
    let whole = [
        intake_full(fleet, config),
        intake_unserved(fleet),
        budget(fleet, config),
        policy(fleet, config),
        zombies(fleet),
        dead_letters(fleet, config),
        clocks(fleet, config),
    ];
    lanes.chain(workers).chain(whole.into_iter().flatten()).collect()
}

impl Reading {
    fn new(kind: Kind, place: &str, message: String, action: String) -> Self {
        Self {
            kind: kind.as_str().to_owned(),
            place: place.to_owned(),
            is_wrong: true,
            is_sudden: false,
            message,
            meaning: kind.meaning().to_owned(),
            action,
        }
    }

    /// The same where `value` is above `bound`; not quite right yet where it is close below.
    fn above(self, value: f64, bound: f64) -> Option<Self> {
        (value > bound * RELAX).then_some(Self { is_wrong: value > bound, ..self })
    }
}

fn of_lane(lane: &Lane, limits: &LaneLimits) -> impl Iterator<Item = Reading> + use<> {
    // A pause is somebody's wish, and its queue grows by it.
    let checks = match lane.is_paused {
        true => vec![full(lane, limits)],
        false => vec![
            slow(lane, limits),
            old(lane, limits),
            full(lane, limits),
            filling(lane, limits),
            unserved(lane),
            saturated(lane, limits),
        ],
    };
    checks.into_iter().flatten()
}

fn slow(lane: &Lane, limits: &LaneLimits) -> Option<Reading> {
    let Some(wait_s) = lane.wait_s else {
        // Nothing is served, so nobody can say how long: what was wrong is not right by that.
        let message = format!("{} tasks wait on `{}`, and none was finished lately", lane.waiting, lane.name);
        let action = advice::more_workers(lane, limits.wait_s as f64);
        let reading = Reading::new(Kind::LaneSlow, lane.name.as_str(), message, action);
        return (lane.waiting > 0).then_some(Reading { is_wrong: false, ..reading });
    };
    let message = format!(
        "{} tasks wait on `{}`; one that comes now waits {}, more than {} (alerts.limits.wait_s)",
        lane.waiting,
        lane.name,
        advice::length(wait_s),
        advice::length(limits.wait_s as f64)
    );
    let action = advice::more_workers(lane, limits.wait_s as f64);
    Reading::new(Kind::LaneSlow, lane.name.as_str(), message, action).above(wait_s, limits.wait_s as f64)
}

fn old(lane: &Lane, limits: &LaneLimits) -> Option<Reading> {
    let oldest_s = lane.oldest_s?;
    let message = format!(
        "the oldest task on `{}` has been there for {}, more than {} (alerts.limits.age_s)",
        lane.name,
        advice::length(oldest_s),
        advice::length(limits.age_s as f64)
    );
    let action = match lane.waiting > u64::from(lane.slots) {
        true => advice::more_workers(lane, limits.wait_s as f64),
        false => "look at the workers' logs for a task that fails again and again, and at their `stalled_s` \
                  (`trilane lanes`)"
            .to_owned(),
    };
    Reading::new(Kind::LaneOld, lane.name.as_str(), message, action).above(oldest_s, limits.age_s as f64)
}

fn full(lane: &Lane, limits: &LaneLimits) -> Option<Reading> {
    let share = lane.fullest as f64 / lane.capacity.max(1) as f64;
    let message = format!(
        "`{}` holds {} tasks of one priority, {:.0} % of its bound (streams.lane_max_messages)",
        lane.name,
        lane.fullest,
        share * 100.0
    );
    let action = match lane.is_paused {
        true => format!("let it go on: `trilane lanes resume {}`", lane.name),
        false => advice::more_workers(lane, limits.wait_s as f64),
    };
    Reading::new(Kind::LaneFull, lane.name.as_str(), message, action).above(share, limits.full)
}

fn filling(lane: &Lane, limits: &LaneLimits) -> Option<Reading> {
    let full_s = lane.full_s?;
    if (lane.fullest as f64) < lane.capacity as f64 * LEAST_FILLED {
        return None;
    }
    let message = format!(
        "`{}` will be full in {}: {} arrive, {} are served",
        lane.name,
        advice::length(full_s),
        advice::rate(lane.arrivals_per_s),
        advice::rate(lane.served_per_s)
    );
    let bound = limits.wait_s as f64;
    let action = advice::more_workers(lane, bound);
    let reading = Reading::new(Kind::LaneFilling, lane.name.as_str(), message, action);
    (full_s < bound / RELAX).then_some(Reading { is_wrong: full_s < bound, ..reading })
}

fn unserved(lane: &Lane) -> Option<Reading> {
    let message = format!("{} tasks wait on `{}`, and no worker takes them", lane.waiting, lane.name);
    let action = advice::start_one(lane);
    let reading = Reading::new(Kind::LaneUnserved, lane.name.as_str(), message, action);
    (lane.waiting > 0 && lane.workers == 0).then_some(reading)
}

fn saturated(lane: &Lane, limits: &LaneLimits) -> Option<Reading> {
    if lane.zone != Zone::Local || lane.slots == 0 || lane.waiting <= u64::from(lane.slots) {
        return None;
    }
    let share = f64::from(lane.busy) / f64::from(lane.slots);
    let message = format!(
        "{} of {} slots of `{}` are busy, and {} tasks wait",
        lane.busy, lane.slots, lane.name, lane.waiting
    );
    let action = advice::more_workers(lane, limits.wait_s as f64);
    let reading = Reading::new(Kind::LaneSaturated, lane.name.as_str(), message, action);
    (share >= limits.saturation * RELAX)
        .then_some(Reading { is_wrong: share >= limits.saturation, ..reading })
}

fn of_workers(fleet: &Fleet, lane: &LaneName, config: &Config) -> impl Iterator<Item = Reading> {
    let of = |health| {
        let workers = fleet.workers.iter();
        workers.filter(|worker| worker.lane == *lane && worker.health == health).collect::<Vec<_>>()
    };
    let (silent, hung) = (of(WorkerHealth::Silent), of(WorkerHealth::Hung));
    let silent = (!silent.is_empty()).then(|| {
        let message = format!("{} of `{lane}` said nothing for too long: {}", count(&silent), names(&silent));
        let action = "look at the host and the log of each; start it again, or another".to_owned();
        Reading::new(Kind::WorkerSilent, lane.as_str(), message, action)
    });
    let hung = (!hung.is_empty()).then(|| {
        let message = format!(
            "{} of `{lane}` did not get on with anything for {}: {}",
            count(&hung),
            advice::length(config.alerts.hung_s as f64),
            names(&hung)
        );
        let action =
            "end the process (SIGKILL, it does not answer): its tasks go to others after the lane's \
                      `ack_wait_s`, and a task that does this to every worker ends as `poison_task`"
                .to_owned();
        Reading::new(Kind::WorkerHung, lane.as_str(), message, action)
    });
    [silent, hung].into_iter().flatten()
}

fn count(workers: &[&Worker]) -> String {
    match workers.len() {
        1 => "a worker".to_owned(),
        more => format!("{more} workers"),
    }
}

fn names(workers: &[&Worker]) -> String {
    let named = workers.iter().take(MAX_NAMED);
    let named = named.map(|worker| format!("{} (process {} on {})", worker.name, worker.pid, worker.host));
    let mut text = named.collect::<Vec<_>>().join(", ");
    if workers.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", workers.len() - MAX_NAMED));
    }
    text
}

fn intake_full(fleet: &Fleet, config: &Config) -> Option<Reading> {
    let intake = &fleet.intake;
    let held = intake.waiting + intake.in_flight;
    let share = held as f64 / intake.capacity.max(1) as f64;
    let message = format!("the intake holds {held} tasks, {:.0} % of its bound", share * 100.0);
    let action = "look which lane is full (`trilane lanes`) and scale it, or start more classifiers; raise \
                  streams.intake_max_messages where the load is meant to be so"
        .to_owned();
    Reading::new(Kind::LaneFull, subjects::INTAKE, message, action).above(share, config.alerts.limits.full)
}

fn intake_unserved(fleet: &Fleet) -> Option<Reading> {
    let intake = &fleet.intake;
    let is_still = intake.decided_per_s == Some(0.0) && intake.in_flight == 0;
    let message = format!("{} tasks wait in the intake, and no classifier takes them", intake.waiting);
    let action =
        "start a classifier (`trilane-classifier`, or `docker compose up --detach classifier`)".to_owned();
    (intake.waiting > 0 && is_still)
        .then(|| Reading::new(Kind::LaneUnserved, subjects::INTAKE, message, action))
}

fn budget(fleet: &Fleet, config: &Config) -> Option<Reading> {
    let share = |limit: f64, usd: f64| if limit > 0.0 { usd / limit } else { 0.0 };
    let limited = fleet.budgets.iter().filter_map(|budget| Some((budget, budget.limit_usd?)));
    let (budget, limit) = limited.max_by(|(a, of_a), (b, of_b)| {
        share(*of_a, a.expected_usd).total_cmp(&share(*of_b, b.expected_usd))
    })?;
    let whose = budget.agent.as_ref().map_or("all agents".to_owned(), |agent| format!("agent `{agent}`"));
    let message = format!(
        "{whose} spent ${:.2} of ${limit:.2} this {}, and will have spent ${:.2} by {} at this pace",
        budget.spent_usd, budget.window, budget.expected_usd, budget.ends_at
    );
    let action =
        "look at `trilane budget` for who spends; raise the budget, or raise lanes.<lane>.skill or lower \
                  policy.good_enough so that more stays local"
            .to_owned();
    Reading::new(Kind::BudgetBurn, FLEET, message, action)
        .above(share(limit, budget.expected_usd.max(budget.spent_usd)), config.alerts.budget)
}

fn policy(fleet: &Fleet, config: &Config) -> Option<Reading> {
    let own = &config.policy.version;
    // What was learned changes without a restart, and each classifier takes it up by itself.
    let is_mixed = fleet.policy_versions.iter().any(|(version, _)| versions_in(version).0 != own);
    let versions: Vec<String> = fleet
        .policy_versions
        .iter()
        .map(|(version, classifier)| format!("`{version}` ({classifier})"))
        .collect();
    let message =
        format!("classifiers decide by {}; this monitor's configuration has `{own}`", versions.join(" and "));
    let action =
        "give all processes the same configuration, and start those again that have an older one".to_owned();
    is_mixed.then(|| Reading::new(Kind::PolicyMixed, FLEET, message, action))
}

fn zombies(fleet: &Fleet) -> Option<Reading> {
    let message =
        format!("{} messages lie in queues, and the server will not deliver them again", fleet.zombies);
    let action = "`trilane provision` takes the bound away that somebody has set; `trilane dead list` shows the tasks \
                  once the janitor has ended them"
        .to_owned();
    (fleet.zombies > 0).then(|| Reading::new(Kind::Zombies, FLEET, message, action))
}

fn dead_letters(fleet: &Fleet, config: &Config) -> Option<Reading> {
    let bound = config.alerts.dead_letters as f64;
    let message = format!(
        "{} dead letters within ten minutes, more than {} (alerts.dead_letters)",
        fleet.new_dead_letters, config.alerts.dead_letters
    );
    let action = "`trilane dead list` says why; mend the cause, then `trilane dead replay`".to_owned();
    Reading::new(Kind::DeadLetters, FLEET, message, action).above(fleet.new_dead_letters as f64, bound)
}

fn clocks(fleet: &Fleet, config: &Config) -> Option<Reading> {
    let living = fleet.workers.iter().filter(|worker| worker.health != WorkerHealth::Silent);
    let worst = living.max_by(|a, b| a.clock_ahead_s.abs().total_cmp(&b.clock_ahead_s.abs()))?;
    let way = if worst.clock_ahead_s > 0.0 { "ahead of" } else { "behind" };
    let message = format!(
        "the clock of host `{}` is {} {way} this monitor's (worker {})",
        worst.host,
        advice::length(worst.clock_ahead_s.abs()),
        worst.name
    );
    let action =
        "let all hosts keep time by NTP; if many are named in turn, it is the monitor's own clock".to_owned();
    Reading::new(Kind::ClockSkew, FLEET, message, action)
        .above(worst.clock_ahead_s.abs(), config.alerts.clock_skew_s as f64)
}

fn unreachable(fleet: &Fleet, config: &Config) -> Reading {
    let message = format!(
        "the NATS server did not answer for {}; what else this monitor knows is that old",
        advice::length(fleet.silent_s as f64)
    );
    let action = format!("look at the server and the way to it: {}", without_credentials(&config.nats.url));
    Reading::new(Kind::ServerUnreachable, FLEET, message, action)
}

fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

#[cfg(test)]
mod tests;
