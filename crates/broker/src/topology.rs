//! Streams, consumers and buckets as data: a pure function of the configuration.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{
    Compression, Config as Stream, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};
use trilane_protocol::task::Priority;
use trilane_protocol::{LaneName, Zone, subjects};
use trilane_routing::registry::{Lane, Registry};
use trilane_service::config::Streams;

/// The intake.
pub const TASKS: &str = "TASKS";
/// Tasks for the lanes of the local zone.
pub const LANE_LOCAL: &str = "LANE_LOCAL";
/// Tasks for the lanes of the cloud zone.
pub const LANE_CLOUD: &str = "LANE_CLOUD";
/// One result for each task.
pub const RESULTS: &str = "RESULTS";
/// The routing log.
pub const ROUTES: &str = "ROUTES";
/// Dead letters.
pub const DEAD: &str = "DEAD";
/// The spend ledger.
pub const LEDGER: &str = "LEDGER";
/// The classifiers' consumer of [`TASKS`].
pub const CLASSIFY: &str = "classify";
/// The bucket of signs of life.
pub const WORKERS: &str = "workers";
/// The bucket of pipelines under way.
pub const PIPELINES: &str = "pipelines";

/// Signs of life that may be missed before the bucket forgets a worker.
pub const HEARTBEATS_KEPT: u32 = 3;

/// All that must exist on the server before the fleet can work.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The streams.
    pub streams: Vec<Stream>,
    /// The consumers, each with its stream's name.
    pub consumers: Vec<(&'static str, pull::Config)>,
    /// The key-value buckets.
    pub buckets: Vec<kv::Config>,
}

impl Topology {
    /// The topology for these lanes and bounds.
    pub fn new(streams: &Streams, registry: &Registry, heartbeat: Duration) -> Self {
        let lanes_in = |zone| registry.lanes.iter().filter(move |(_, lane)| lane.zone == zone);
        let zones = [(LANE_LOCAL, Zone::Local), (LANE_CLOUD, Zone::Cloud)];
        let lane_streams = zones
            .into_iter()
            .filter(|(_, zone)| lanes_in(*zone).next().is_some())
            .map(|(name, zone)| lane_stream(name, lanes_in(zone).map(|(lane, _)| lane), streams));
        let mut consumers = vec![(TASKS, classify_consumer(streams))];
        for (name, lane) in &registry.lanes {
            let consumer = |priority| (stream_of(lane.zone), lane_consumer(name, lane, priority));
            consumers.extend(Priority::ALL.map(consumer));
        }
        Self {
            streams: [intake(streams)]
                .into_iter()
                .chain(lane_streams)
                .chain(logs(streams))
                .chain([ledger(streams)])
                .collect(),
            consumers,
            buckets: vec![workers_bucket(heartbeat, streams), pipelines_bucket(streams)],
        }
    }
}

/// The stream that holds a zone's lanes.
pub fn stream_of(zone: Zone) -> &'static str {
    match zone {
        Zone::Local => LANE_LOCAL,
        Zone::Cloud => LANE_CLOUD,
    }
}

/// The consumer of one lane and priority.
pub fn consumer_of(lane: &LaneName, priority: Priority) -> String {
    format!("{lane}_{}", priority.as_str())
}

fn intake(streams: &Streams) -> Stream {
    Stream {
        name: TASKS.into(),
        subjects: vec![subjects::TASKS.into(), subjects::REROUTES.into()],
        max_messages: streams.intake_max_messages,
        max_bytes: streams.intake_max_bytes,
        ..queue(streams)
    }
}

fn lane_stream<'a>(name: &str, lanes: impl Iterator<Item = &'a LaneName>, streams: &Streams) -> Stream {
    Stream {
        name: name.into(),
        subjects: lanes.map(subjects::lane_all).collect(),
        max_bytes: streams.lane_max_bytes,
        max_messages_per_subject: streams.lane_max_messages,
        discard_new_per_subject: true,
        ..queue(streams)
    }
}

/// A work queue that refuses what it cannot hold, so that nothing is dropped in silence.
fn queue(streams: &Streams) -> Stream {
    Stream {
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: streams.replicas,
        duplicate_window: Duration::from_secs(streams.duplicate_window_s),
        ..Stream::default()
    }
}

/// Results, routing log and dead letters are kept for a time and may be browsed.
fn logs(streams: &Streams) -> [Stream; 3] {
    let log = |name: &str, subject: &str, max_age_s: u64, max_bytes: i64| Stream {
        name: name.into(),
        subjects: vec![subject.into()],
        max_age: Duration::from_secs(max_age_s),
        max_bytes,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: streams.replicas,
        duplicate_window: Duration::from_secs(streams.duplicate_window_s),
        allow_direct: true,
        ..Stream::default()
    };
    let (source, destination) = subjects::ANNOUNCED;
    let announced = Republish { source: source.into(), destination: destination.into(), headers_only: false };
    let results = log(RESULTS, subjects::RESULTS, streams.results_max_age_s, streams.results_max_bytes);
    [
        Stream { republish: Some(announced), ..results },
        log(ROUTES, subjects::ROUTES, streams.routes_max_age_s, streams.routes_max_bytes),
        log(DEAD, subjects::DEAD, streams.dead_max_age_s, streams.dead_max_bytes),
    ]
}

/// Read by direct get only, written by compare-and-set only, and never cleared: whoever can empty it can spend again.
fn ledger(streams: &Streams) -> Stream {
    Stream {
        name: LEDGER.into(),
        subjects: vec![subjects::SPEND.into()],
        max_age: Duration::from_secs(streams.ledger_max_age_s),
        max_bytes: streams.ledger_max_bytes,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        // Each entry repeats nearly all of the book before it.
        compression: Some(Compression::S2),
        num_replicas: streams.replicas,
        duplicate_window: Duration::from_secs(streams.duplicate_window_s),
        allow_direct: true,
        deny_delete: true,
        deny_purge: true,
        ..Stream::default()
    }
}

fn classify_consumer(streams: &Streams) -> pull::Config {
    consumer(CLASSIFY, "", streams.intake_ack_wait_s, streams.intake_max_in_flight)
}

fn lane_consumer(name: &LaneName, lane: &Lane, priority: Priority) -> pull::Config {
    let subject = subjects::lane(name, priority);
    consumer(&consumer_of(name, priority), &subject, lane.ack_wait_s, lane.max_in_flight.into())
}

/// Deliveries are not bounded here: at the server's bound a message would stay in its stream for ever. The
/// workers count them, and the last one ends as a dead letter.
fn consumer(name: &str, subject: &str, ack_wait_s: u64, max_in_flight: i64) -> pull::Config {
    pull::Config {
        durable_name: Some(name.into()),
        filter_subject: subject.into(),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(ack_wait_s),
        max_deliver: -1,
        max_ack_pending: max_in_flight,
        ..pull::Config::default()
    }
}

fn workers_bucket(heartbeat: Duration, streams: &Streams) -> kv::Config {
    kv::Config {
        bucket: WORKERS.into(),
        max_age: heartbeat * HEARTBEATS_KEPT,
        history: 1,
        // A bucket in memory is gone after a restart of the server, definition and all.
        storage: StorageType::File,
        num_replicas: streams.replicas,
        ..kv::Config::default()
    }
}

fn pipelines_bucket(streams: &Streams) -> kv::Config {
    kv::Config {
        bucket: PIPELINES.into(),
        max_age: Duration::from_secs(streams.results_max_age_s),
        max_bytes: streams.intake_max_bytes,
        history: 1,
        storage: StorageType::File,
        num_replicas: streams.replicas,
        ..kv::Config::default()
    }
}
