//! `trilane lanes`: queues and workers of each lane; pause and resume.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use trilane_broker::{Broker, Role};
use trilane_protocol::heartbeat::{Heartbeat, WorkerState};
use trilane_protocol::nearest::suggestion;
use trilane_protocol::{LaneName, ModelName, Zone};
use trilane_routing::registry::{Lane, Registry};
use trilane_service::Config;

use crate::length::parse_length;
use crate::output::{self, length, print};

/// Shows each lane with its queue and its workers, pauses one, or lets it go on.
#[derive(Debug, Clone, Args)]
pub struct LanesArgs {
    #[command(subcommand)]
    verb: Option<LanesVerb>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum LanesVerb {
    /// Show each lane (the default).
    List,
    /// Let the lane's tasks wait; its workers finish what they have.
    Pause {
        /// The lane.
        lane: LaneName,
        /// For how long, such as 30m; it goes on by itself after that.
        #[arg(long = "for", value_name = "LENGTH", default_value = "1h", value_parser = parse_length)]
        length: Duration,
    },
    /// Let a paused lane go on.
    Resume {
        /// The lane.
        lane: LaneName,
    },
}

/// One lane as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    name: LaneName,
    zone: Zone,
    models: Vec<ModelName>,
    waiting: u64,
    in_flight: u64,
    is_paused: bool,
    workers: Vec<Heartbeat>,
}

/// Runs `trilane lanes`.
///
/// # Errors
/// No connection, an unknown lane, or what the server refused.
pub async fn run(args: LanesArgs, config: &Config) -> anyhow::Result<()> {
    match args.verb {
        None | Some(LanesVerb::List) => {
            let rows = rows(&crate::connect(config, Role::Observer).await?, config).await?;
            print(&rows, args.json, || tables(&rows))
        }
        Some(LanesVerb::Pause { lane, length: pause }) => {
            let zone = find(&config.registry, &lane)?.zone;
            crate::connect(config, Role::Admin).await?.pause(&lane, zone, pause).await?;
            eprintln!(
                "`{lane}` is paused for {}; `trilane lanes resume {lane}` ends it sooner",
                length(pause)
            );
            Ok(())
        }
        Some(LanesVerb::Resume { lane }) => {
            let zone = find(&config.registry, &lane)?.zone;
            crate::connect(config, Role::Admin).await?.resume(&lane, zone).await?;
            eprintln!("`{lane}` goes on");
            Ok(())
        }
    }
}

/// The lane of this name, or an error with the nearest one.
fn find<'a>(registry: &'a Registry, lane: &LaneName) -> anyhow::Result<&'a Lane> {
    registry.lanes.get(lane).ok_or_else(|| {
        let hint = suggestion(lane.as_str(), registry.lanes.keys().map(LaneName::as_str));
        anyhow::anyhow!("`trilane lanes` lists no `{lane}`{hint}")
    })
}

async fn rows(broker: &Broker, config: &Config) -> anyhow::Result<Vec<Row>> {
    let mut alive = broker.workers().await?.alive().await?;
    alive.sort_by(|a, b| a.worker.cmp(&b.worker));
    let mut rows = Vec::new();
    for (name, lane) in &config.registry.lanes {
        let depth = broker.depth(name, lane.zone).await?;
        rows.push(Row {
            name: name.clone(),
            zone: lane.zone,
            models: lane.models.clone(),
            waiting: depth.waiting,
            in_flight: depth.in_flight,
            is_paused: depth.is_paused,
            workers: alive.iter().filter(|worker| worker.lane == *name).cloned().collect(),
        });
    }
    Ok(rows)
}

fn tables(rows: &[Row]) -> String {
    let lanes = lanes_table(rows);
    match rows.iter().any(|row| !row.workers.is_empty()) {
        true => format!("{lanes}\n\n{}", workers_table(rows)),
        false => lanes,
    }
}

fn lanes_table(rows: &[Row]) -> String {
    let mut table =
        output::table(&["lane", "zone", "models", "workers", "busy", "waiting", "in flight", "paused"]);
    for row in rows {
        let sum = |count: fn(&Heartbeat) -> u32| row.workers.iter().map(count).map(u64::from).sum::<u64>();
        table.add_row([
            row.name.to_string(),
            row.zone.as_str().to_owned(),
            joined(&row.models),
            row.workers.len().to_string(),
            format!("{}/{}", sum(|worker| worker.busy), sum(|worker| worker.slots)),
            row.waiting.to_string(),
            row.in_flight.to_string(),
            if row.is_paused { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.trim_fmt()
}

fn workers_table(rows: &[Row]) -> String {
    let mut table = output::table(&["worker", "state", "busy", "finished", "models", "host", "pid"]);
    for worker in rows.iter().flat_map(|row| &row.workers) {
        table.add_row([
            worker.worker.clone(),
            state(worker.state).to_owned(),
            format!("{}/{}", worker.busy, worker.slots),
            worker.finished.to_string(),
            joined(&worker.models),
            worker.host.clone(),
            worker.pid.to_string(),
        ]);
    }
    table.trim_fmt()
}

fn joined(models: &[ModelName]) -> String {
    models.iter().map(ModelName::as_str).collect::<Vec<_>>().join(", ")
}

fn state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Starting => "starting",
        WorkerState::Ready => "ready",
        WorkerState::Draining => "draining",
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn worker(busy: u32) -> Heartbeat {
        Heartbeat {
            worker: format!("local-fast-{busy}"),
            zone: Zone::Local,
            lane: LaneName::new("local-fast").unwrap(),
            models: vec![ModelName::new("smollm2-135m").unwrap()],
            state: WorkerState::Ready,
            slots: 8,
            busy,
            finished: 41,
            stalled_s: 0,
            host: "desk".into(),
            pid: 77,
            version: "0.1.0".into(),
            started_at: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn slots_of_all_workers_add_up() {
        let row = Row {
            name: LaneName::new("local-fast").unwrap(),
            zone: Zone::Local,
            models: vec![ModelName::new("smollm2-135m").unwrap()],
            waiting: 5,
            in_flight: 3,
            is_paused: true,
            workers: vec![worker(1), worker(2)],
        };
        insta::assert_snapshot!(tables(&[row]), @r"
        lane        zone   models        workers  busy  waiting  in flight  paused
        local-fast  local  smollm2-135m  2        3/16  5        3          yes

        worker        state  busy  finished  models        host  pid
        local-fast-1  ready  1/8   41        smollm2-135m  desk  77
        local-fast-2  ready  2/8   41        smollm2-135m  desk  77
        ");
    }

    #[test]
    fn an_unknown_lane_is_refused_with_the_nearest() {
        let config = trilane_service::config::load_from(None, []).unwrap();
        let error = find(&config.registry, &LaneName::new("local-fats").unwrap()).unwrap_err().to_string();
        assert!(error.contains("did you mean `local-fast`?"), "{error}");
    }
}
