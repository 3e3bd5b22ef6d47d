//! What was seen, as gauges for Prometheus. What is not known is NaN and not the number of before.

use std::collections::BTreeMap;

use trilane_protocol::LaneName;
use trilane_service::metrics::catalogue::{
    BUDGET_EXPECTED, BUDGET_LEFT, BUDGET_LIMIT, CLOCK_SKEW, DEAD_LETTERS_KEPT, DEAD_LETTERS_RECENT,
    LANE_INFO, LANE_PAUSED, LANE_SLOTS, LANE_SLOTS_BUSY, LANE_WORKERS, LAST_LOOK, QUEUE_ARRIVALS,
    QUEUE_CAPACITY, QUEUE_DEPTH, QUEUE_FULLEST, QUEUE_IN_FLIGHT, QUEUE_OLDEST, QUEUE_PREDICTED_DRAIN,
    QUEUE_PREDICTED_FULL, QUEUE_PREDICTED_WAIT, QUEUE_SERVED, RESERVED, SERVER_SILENT, SPEND, ZOMBIES,
};
use trilane_service::metrics::labels::{self, Agent, Health, Window};
use trilane_service::metrics::metric::Gauge;

use crate::watch::fleet::{Budget, Fleet, Intake, Lane, Worker, WorkerHealth};

/// Seconds without an answer of the server after which what was seen before is shown no more.
const STALE_S: u64 = 30;

/// Shows the fleet to Prometheus. Nothing that the server has said is shown once it has been silent for [`STALE_S`].
pub(crate) fn export(fleet: &Fleet) {
    LAST_LOOK.set(fleet.at.as_millisecond() as f64 / 1000.0, ());
    SERVER_SILENT.set(fleet.silent_s as f64, ());
    let is_known = fleet.silent_s < STALE_S;
    let lanes = if is_known { fleet.lanes.as_slice() } else { &[] };
    let workers = if is_known { fleet.workers.as_slice() } else { &[] };
    let budgets = if is_known { fleet.budgets.as_slice() } else { &[] };
    export_lanes(lanes);
    export_queues(is_known.then_some(&fleet.intake), lanes);
    export_workers(lanes, workers);
    export_budgets(budgets);
    let whole = |gauge: &Gauge<()>, count: u64| gauge.show([((), is_known.then_some(count as f64))]);
    whole(&ZOMBIES, fleet.zombies);
    whole(&DEAD_LETTERS_KEPT, fleet.dead_letters);
    whole(&DEAD_LETTERS_RECENT, fleet.new_dead_letters);
}

fn label(lane: &LaneName) -> labels::Lane {
    labels::Lane::of(lane)
}

fn export_lanes(lanes: &[Lane]) {
    LANE_INFO.show(lanes.iter().map(|lane| ((label(&lane.name), lane.zone.into()), Some(1.0))));
    let show = |gauge: &Gauge<labels::Lane>, value: fn(&Lane) -> f64| {
        gauge.show(lanes.iter().map(|lane| (label(&lane.name), Some(value(lane)))));
    };
    show(&LANE_PAUSED, |lane| f64::from(u8::from(lane.is_paused)));
    show(&LANE_SLOTS, |lane| lane.slots.into());
    show(&LANE_SLOTS_BUSY, |lane| lane.busy.into());
}

/// The intake is a queue as the lanes are; what is known of lanes only is left out for it.
fn export_queues(intake: Option<&Intake>, lanes: &[Lane]) {
    let show = |gauge: &Gauge<labels::Lane>,
                of_intake: fn(&Intake) -> Option<f64>,
                of_lane: fn(&Lane) -> Option<f64>| {
        let first = intake.map(|intake| (labels::Lane::intake(), of_intake(intake)));
        gauge.show(first.into_iter().chain(lanes.iter().map(|lane| (label(&lane.name), of_lane(lane)))));
    };
    show(&QUEUE_DEPTH, |intake| Some(intake.waiting as f64), |lane| Some(lane.waiting as f64));
    show(&QUEUE_IN_FLIGHT, |intake| Some(intake.in_flight as f64), |lane| Some(lane.in_flight as f64));
    show(
        &QUEUE_FULLEST,
        |intake| Some((intake.waiting + intake.in_flight) as f64),
        |lane| Some(lane.fullest as f64),
    );
    show(&QUEUE_CAPACITY, |intake| Some(intake.capacity as f64), |lane| Some(lane.capacity as f64));
    show(&QUEUE_SERVED, |intake| intake.decided_per_s, |lane| lane.served_per_s);
    let of_lanes = |gauge: &Gauge<labels::Lane>, value: fn(&Lane) -> Option<f64>| {
        gauge.show(lanes.iter().map(|lane| (label(&lane.name), value(lane))));
    };
    of_lanes(&QUEUE_ARRIVALS, |lane| lane.arrivals_per_s);
    // An empty queue has no oldest task, and none that is old.
    of_lanes(&QUEUE_OLDEST, |lane| Some(lane.oldest_s.unwrap_or(0.0)));
    of_lanes(&QUEUE_PREDICTED_WAIT, |lane| lane.wait_s);
    of_lanes(&QUEUE_PREDICTED_DRAIN, |lane| lane.drain_s);
    of_lanes(&QUEUE_PREDICTED_FULL, |lane| lane.full_s);
}

/// Every lane has a number of every health, 0 included, so that one that goes is seen to go.
fn export_workers(lanes: &[Lane], workers: &[Worker]) {
    let healths = [
        (Health::Alive, WorkerHealth::Alive),
        (Health::Hung, WorkerHealth::Hung),
        (Health::Silent, WorkerHealth::Silent),
    ];
    let mut counts = BTreeMap::new();
    let mut skews = BTreeMap::new();
    for lane in lanes {
        counts.insert(&lane.name, healths.map(|_| 0));
    }
    for worker in workers {
        let of_lane = counts.entry(&worker.lane).or_insert(healths.map(|_| 0));
        for (count, (_, health)) in of_lane.iter_mut().zip(healths) {
            *count += u32::from(worker.health == health);
        }
        // What a silent one said last is no news of its clock.
        if worker.health != WorkerHealth::Silent {
            let worst: &mut f64 = skews.entry(&worker.lane).or_default();
            *worst = worst.max(worker.clock_ahead_s.abs());
        }
    }
    let series = counts.iter().flat_map(|(lane, counts)| {
        let of_lane = healths.iter().zip(counts);
        of_lane.map(|((health, _), count)| ((label(lane), *health), Some(f64::from(*count))))
    });
    LANE_WORKERS.show(series);
    CLOCK_SKEW.show(skews.iter().map(|(lane, skew)| (label(lane), Some(*skew))));
}

fn export_budgets(budgets: &[Budget]) {
    let show = |gauge: &Gauge<(Agent, Window)>, value: fn(&Budget) -> Option<f64>| {
        let labels = |budget: &Budget| {
            (budget.agent.as_ref().map_or_else(Agent::all, Agent::of), Window::of(budget.window))
        };
        gauge.show(budgets.iter().map(|budget| (labels(budget), value(budget))));
    };
    show(&SPEND, |budget| Some(budget.spent_usd));
    show(&RESERVED, |budget| Some(budget.reserved_usd));
    show(&BUDGET_LIMIT, |budget| budget.limit_usd);
    show(&BUDGET_LEFT, |budget| {
        budget.limit_usd.map(|limit| (limit - budget.spent_usd - budget.reserved_usd).max(0.0))
    });
    show(&BUDGET_EXPECTED, |budget| Some(budget.expected_usd));
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use trilane_protocol::Zone;
    use trilane_protocol::heartbeat::WorkerState;
    use trilane_service::{config, metrics};

    use super::*;

    fn lane() -> Lane {
        Lane {
            name: LaneName::new("local-fast").unwrap(),
            zone: Zone::Local,
            waiting: 3,
            in_flight: 2,
            fullest: 4,
            capacity: 50,
            is_paused: true,
            oldest_s: None,
            arrivals_per_s: Some(1.5),
            served_per_s: None,
            workers: 1,
            slots: 4,
            busy: 2,
            wait_s: Some(2.0),
            drain_s: None,
            full_s: None,
        }
    }

    fn worker(health: WorkerHealth, clock_ahead_s: f64) -> Worker {
        Worker {
            name: "w".into(),
            lane: lane().name,
            zone: Zone::Local,
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            models: Vec::new(),
            state: WorkerState::Ready,
            health,
            slots: 4,
            busy: 2,
            finished: 0,
            heard_s: 0.0,
            stalled_s: 0,
            clock_ahead_s,
            started_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn fleet() -> Fleet {
        Fleet {
            at: Timestamp::from_second(1_000).unwrap(),
            silent_s: 0,
            intake: Intake { waiting: 7, in_flight: 1, capacity: 100, decided_per_s: Some(2.5) },
            lanes: vec![lane()],
            workers: vec![
                worker(WorkerHealth::Alive, -4.0),
                worker(WorkerHealth::Hung, 1.0),
                worker(WorkerHealth::Silent, 900.0),
            ],
            budgets: vec![Budget {
                agent: None,
                window: "day",
                spent_usd: 6.0,
                reserved_usd: 1.0,
                limit_usd: Some(10.0),
                expected_usd: 12.0,
                ends_at: Timestamp::UNIX_EPOCH,
            }],
            decisions: Vec::new(),
            policy_versions: vec![],
            zombies: 1,
            dead_letters: 20,
            new_dead_letters: 2,
        }
    }

    /// What `/metrics` says after these looks.
    fn served(looks: &[Fleet]) -> Vec<String> {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::describe(&config::load_from(None, []).unwrap(), labels::Process::Monitor);
            looks.iter().for_each(export);
        });
        handle.render().lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_was_seen_is_shown_and_what_is_not_known_is_nan() {
        let lines = served(&[fleet()]);
        for line in [
            r#"trilane_last_look_timestamp_seconds 1000"#,
            r#"trilane_queue_depth{lane="intake"} 7"#,
            r#"trilane_queue_depth{lane="local-fast"} 3"#,
            r#"trilane_queue_fullest{lane="intake"} 8"#,
            r#"trilane_queue_served_per_second{lane="intake"} 2.5"#,
            r#"trilane_queue_served_per_second{lane="local-fast"} NaN"#,
            r#"trilane_queue_oldest_seconds{lane="local-fast"} 0"#,
            r#"trilane_queue_predicted_wait_seconds{lane="local-fast"} 2"#,
            r#"trilane_queue_predicted_full_seconds{lane="local-fast"} NaN"#,
            r#"trilane_lane_info{lane="local-fast",zone="local"} 1"#,
            r#"trilane_lane_paused{lane="local-fast"} 1"#,
            r#"trilane_lane_workers{lane="local-fast",health="alive"} 1"#,
            r#"trilane_lane_workers{lane="local-fast",health="silent"} 1"#,
            r#"trilane_clock_skew_seconds{lane="local-fast"} 4"#,
            r#"trilane_budget_left_usd{agent="*",window="day"} 3"#,
            r#"trilane_zombies 1"#,
            r#"trilane_dead_letters_recent 2"#,
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
        }
    }

    #[test]
    fn a_server_that_is_silent_leaves_no_number_of_before() {
        let silent = Fleet { silent_s: STALE_S, ..fleet() };
        let lines = served(&[fleet(), silent]);
        let numbers: Vec<_> = lines
            .iter()
            .filter(|line| !line.starts_with('#') && !line.is_empty() && !line.ends_with(" NaN"))
            .filter(|line| {
                ["queue", "lane", "budget", "spend", "reserved", "zombies", "dead", "clock"]
                    .iter()
                    .any(|kind| line.starts_with(&format!("trilane_{kind}")))
            })
            .collect();
        assert!(numbers.is_empty(), "{numbers:#?}");
        assert!(lines.contains(&format!("trilane_server_silent_seconds {STALE_S}")));
    }

    #[test]
    fn an_agent_whose_budget_is_gone_leaves_no_number() {
        let without = Fleet { budgets: Vec::new(), ..fleet() };
        let lines = served(&[fleet(), without]);
        assert!(lines.contains(&r#"trilane_spend_usd{agent="*",window="day"} NaN"#.to_owned()), "{lines:#?}");
    }
}
