//! Streams, consumers and buckets as data: a pure function of the configuration.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{
    Compression, Config as Stream, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};
use trilane_protocol::task::Priority;
use trilane_protocol::{LaneName, Zone, subjects};

pub use trilane_protocol::streams::{
    ADVISORIES, ALERTS, CANCEL, CANCELLED, CANCELS, CLASSIFY, DEAD, DUE, EXAMPLES, FEEDBACK, JANITOR,
    LANE_CLOUD, LANE_LOCAL, LATER, LEDGER, NOTIFY, OUTCOMES, PIPELINES, POLICY, RESULTS, RETURNS,
    RETURNS_CLOUD, ROUTES, SHADOW, SHADOWED, SHADOWS, TAKE_BACK, TASKS, WORKERS, WORKERS_STREAM, consumer_of,
    shadow_consumer_of, stream_of,
};
use trilane_routing::registry::{Lane, Registry};
use trilane_service::Config;
use trilane_service::config::Streams;

/// Signs of life that may be missed before the bucket forgets a worker.
pub const HEARTBEATS_KEPT: u32 = 3;

/// How long an advisory is kept. A janitor that was away for longer finds by its sweep what they told of.
const ADVISORIES_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Advisories that are kept, at some 400 bytes each; the oldest go first, and the sweep is there for those too.
const ADVISORIES_MAX_MESSAGES: i64 = 100_000;

/// How long it is kept how an alert began and ended.
const ALERTS_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Beginnings and endings that are kept, of all alerts and of one; the oldest go first.
const ALERTS_MAX_MESSAGES: i64 = 10_000;
const ALERTS_MAX_MESSAGES_PER_SUBJECT: i64 = 200;

/// Bytes of one of them, at most.
const ALERT_MAX_BYTES: i32 = 16 * 1_024;

/// Seconds after which a notifier that fell silent loses the alerts that it had in hand, and how many those may be.
const ALERTS_ACK_WAIT_S: u64 = 60;
const ALERTS_MAX_IN_FLIGHT: i64 = 256;

/// Bytes of one verdict on a result, at most.
const FEEDBACK_MAX_BYTES: i32 = 1_024;

/// Shadows that may wait for a classifier, and for how long: they are run when nothing else is, or not at all.
const SHADOWS_MAX_MESSAGES: i64 = 1_000;
const SHADOWS_MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

/// Snapshots of the learned policy that the bucket has room for, bytes: each head has less than a megabyte, and old
/// versions are taken out by the learner.
const POLICY_MAX_BYTES: i64 = 128 * 1_024 * 1_024;

/// Seconds after which a janitor that fell silent loses the advisory that it had in hand.
const ADVISORIES_ACK_WAIT_S: u64 = 60;

/// Advisories that all janitors together may have in hand.
const ADVISORIES_MAX_IN_FLIGHT: i64 = 64;

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
    /// The topology for the lanes and bounds of a configuration.
    pub fn new(config: &Config) -> Self {
        let Config { streams, registry, .. } = config;
        let heartbeat = config.worker.heartbeat();
        let seal_valid = Duration::from_secs(config.security.seal_valid_s);
        let lanes_in = |zone| registry.lanes.iter().filter(move |(_, lane)| lane.zone == zone);
        let zones = [(LANE_LOCAL, Zone::Local), (LANE_CLOUD, Zone::Cloud)];
        let lane_streams = zones
            .into_iter()
            .filter(|(_, zone)| lanes_in(*zone).next().is_some())
            .map(|(name, zone)| lane_stream(name, lanes_in(zone).map(|(lane, _)| lane), streams));
        let mut consumers = classifier_consumers(streams);
        consumers.push((ADVISORIES, janitor_consumer()));
        consumers.push((ALERTS, notifier_consumer()));
        for (name, lane) in &registry.lanes {
            let consumer = |priority| (stream_of(lane.zone), lane_consumer(name, lane, priority));
            consumers.extend(Priority::ALL.map(consumer));
            if lane.zone == Zone::Local {
                consumers.push((LANE_LOCAL, shadow_consumer(name, lane)));
            }
        }
        Self {
            streams: [intake(streams), later(streams)]
                .into_iter()
                .chain(returns(streams, registry))
                .chain(lane_streams)
                .chain(logs(streams))
                .chain(cancellations(streams, seal_valid))
                .chain([workers_bucket(heartbeat, streams)])
                .chain([ledger(streams), advisories(streams), alerts(streams)])
                .chain(learning(streams))
                .collect(),
            consumers,
            buckets: vec![pipelines_bucket(streams), policy_bucket(streams)],
        }
    }

    /// The names of the streams whose messages go once they are done.
    pub fn work_queues(&self) -> impl Iterator<Item = &str> {
        let queues = self.streams.iter().filter(|stream| stream.retention == RetentionPolicy::WorkQueue);
        queues.map(|stream| stream.name.as_str())
    }
}

/// Workers that may show themselves at once.
const MAX_WORKERS: i64 = 4_096;

/// Bytes of a sign of life, at most.
const MAX_HEARTBEAT_BYTES: i64 = 8 * 1_024;

/// Cancelled tasks that workers are told of, at most; older ones have long been passed over.
const MAX_CANCELLED: i64 = 100_000;

/// Bytes that cancellations take, generously.
const CANCELLED_BYTES: i64 = 256;

fn intake(streams: &Streams) -> Stream {
    Stream {
        name: TASKS.into(),
        subjects: vec![subjects::TASKS.into()],
        max_messages: streams.intake_max_messages,
        max_bytes: streams.intake_max_bytes,
        ..queue(streams)
    }
}

/// Room for everything that is on lanes to come back at once: workers must never wait for each other's lanes.
fn returns(streams: &Streams, registry: &Registry) -> [Stream; 2] {
    let queues = i64::try_from(registry.lanes.len() * Priority::ALL.len()).unwrap_or(i64::MAX);
    [(RETURNS, subjects::REROUTES), (RETURNS_CLOUD, subjects::RETURNED)].map(|(name, subject)| Stream {
        name: name.into(),
        subjects: vec![subject.into()],
        max_messages: streams.lane_max_messages.saturating_mul(queues).saturating_mul(2),
        max_bytes: streams.lane_max_bytes.saturating_mul(2),
        ..queue(streams)
    })
}

/// Schedules: the server itself puts a message on `due.` when its time has come. A stream with schedules cannot refuse
/// what it has no room for, so it has no bound of its own; the classifier keeps `streams.later_max_bytes`.
fn later(streams: &Streams) -> Stream {
    Stream {
        name: LATER.into(),
        subjects: vec![subjects::LATER.into(), subjects::DUE.into()],
        discard: DiscardPolicy::Old,
        allow_message_schedules: true,
        ..queue(streams)
    }
}

/// What producers cancel, and what workers are told of it for as long as they could still run it.
fn cancellations(streams: &Streams, seal_valid: Duration) -> [Stream; 2] {
    let bounded = |name: &str, subject: &str| Stream {
        name: name.into(),
        subjects: vec![subject.into()],
        max_messages: MAX_CANCELLED,
        max_bytes: MAX_CANCELLED * CANCELLED_BYTES,
        max_messages_per_subject: 1,
        ..queue(streams)
    };
    let told = bounded(CANCELLED, subjects::CANCELLED);
    [
        Stream { max_messages_per_subject: -1, ..bounded(CANCELS, subjects::CANCELS) },
        Stream {
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_age: seal_valid,
            allow_direct: true,
            ..told
        },
    ]
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
    let routes = log(ROUTES, subjects::ROUTES, streams.routes_max_age_s, streams.routes_max_bytes);
    [
        Stream { republish: Some(announced), ..results },
        Stream { deny_delete: true, deny_purge: true, ..routes },
        log(DEAD, subjects::DEAD, streams.dead_max_age_s, streams.dead_max_bytes),
    ]
}

/// What the learner reads and writes. Of feedback on one result the last word is kept, so that one that does not read can be
/// mended; the learner takes the first that does.
fn learning(streams: &Streams) -> [Stream; 5] {
    let kept = |name: &str, subject: &str, max_age_s: u64, max_bytes: i64| Stream {
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
    let Streams { examples_max_age_s, examples_max_bytes, outcomes_max_age_s, outcomes_max_bytes, .. } =
        *streams;
    let feedback = kept(FEEDBACK, subjects::FEEDBACK, outcomes_max_age_s, outcomes_max_bytes);
    [
        Stream { max_messages_per_subject: 1, max_message_size: FEEDBACK_MAX_BYTES, ..feedback },
        kept(OUTCOMES, subjects::OUTCOMES, outcomes_max_age_s, outcomes_max_bytes),
        kept(EXAMPLES, subjects::EXAMPLES, examples_max_age_s, examples_max_bytes),
        kept(SHADOWED, subjects::SHADOWED, examples_max_age_s, examples_max_bytes),
        Stream {
            name: SHADOWS.into(),
            subjects: vec![subjects::SHADOWS.into()],
            max_messages: SHADOWS_MAX_MESSAGES,
            max_age: SHADOWS_MAX_AGE,
            ..queue(streams)
        },
    ]
}

fn advisories(streams: &Streams) -> Stream {
    Stream {
        name: ADVISORIES.into(),
        subjects: vec![subjects::MAX_DELIVERIES.into()],
        max_age: ADVISORIES_MAX_AGE,
        max_messages: ADVISORIES_MAX_MESSAGES,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: streams.replicas,
        ..Stream::default()
    }
}

/// The last word on each alert is what its next one is held against, so that of many monitors one speaks.
fn alerts(streams: &Streams) -> Stream {
    Stream {
        name: ALERTS.into(),
        subjects: vec![subjects::ALERTED.into()],
        max_age: ALERTS_MAX_AGE,
        max_messages: ALERTS_MAX_MESSAGES,
        max_messages_per_subject: ALERTS_MAX_MESSAGES_PER_SUBJECT,
        max_message_size: ALERT_MAX_BYTES,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: streams.replicas,
        allow_direct: true,
        ..Stream::default()
    }
}

/// Read by direct get only, written by compare-and-set only, and never cleared: whoever can empty it can spend again.
fn ledger(streams: &Streams) -> Stream {
    Stream {
        name: LEDGER.into(),
        subjects: vec![subjects::SPENDING.into()],
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

fn janitor_consumer() -> pull::Config {
    consumer(JANITOR, "", ADVISORIES_ACK_WAIT_S, ADVISORIES_MAX_IN_FLIGHT)
}

/// What monitors say from now on: whoever starts the first notifier is not told of what was.
fn notifier_consumer() -> pull::Config {
    pull::Config {
        deliver_policy: DeliverPolicy::New,
        ..consumer(NOTIFY, "", ALERTS_ACK_WAIT_S, ALERTS_MAX_IN_FLIGHT)
    }
}

/// What classifiers pull from; together at most so much of each may be in their hands.
fn classifier_consumers(streams: &Streams) -> Vec<(&'static str, pull::Config)> {
    let of = |stream, name, subject| {
        (stream, consumer(name, subject, streams.intake_ack_wait_s, streams.intake_max_in_flight))
    };
    vec![
        of(TASKS, CLASSIFY, ""),
        of(RETURNS, TAKE_BACK, ""),
        of(RETURNS_CLOUD, TAKE_BACK, ""),
        of(LATER, DUE, subjects::DUE),
        of(CANCELS, CANCEL, ""),
        of(SHADOWS, SHADOW, ""),
    ]
}

fn lane_consumer(name: &LaneName, lane: &Lane, priority: Priority) -> pull::Config {
    let subject = subjects::lane(name, priority);
    consumer(&consumer_of(name, priority), &subject, lane.ack_wait_s, lane.max_in_flight.into())
}

/// What a local lane tries once more when it has nothing else to do.
fn shadow_consumer(name: &LaneName, lane: &Lane) -> pull::Config {
    let subject = subjects::lane_shadow(name);
    consumer(&shadow_consumer_of(name), &subject, lane.ack_wait_s, lane.max_in_flight.into())
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

/// The stream of a key-value bucket. Made as a stream, because a bucket would let any writer roll up the whole of it.
fn workers_bucket(heartbeat: Duration, streams: &Streams) -> Stream {
    Stream {
        name: WORKERS_STREAM.into(),
        subjects: vec![format!("$KV.{WORKERS}.>")],
        max_age: heartbeat * HEARTBEATS_KEPT,
        max_bytes: MAX_WORKERS * MAX_HEARTBEAT_BYTES,
        max_message_size: i32::try_from(MAX_HEARTBEAT_BYTES).unwrap_or(i32::MAX),
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        // A bucket in memory is gone after a restart of the server, definition and all.
        storage: StorageType::File,
        num_replicas: streams.replicas,
        allow_direct: true,
        deny_delete: true,
        ..Stream::default()
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

fn policy_bucket(streams: &Streams) -> kv::Config {
    kv::Config {
        bucket: POLICY.into(),
        max_bytes: POLICY_MAX_BYTES,
        history: 1,
        storage: StorageType::File,
        num_replicas: streams.replicas,
        ..kv::Config::default()
    }
}
