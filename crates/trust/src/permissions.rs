//! What each role may publish and hear at the server, as data. What is not listed is refused.
//!
//! Nobody but the admin may create a consumer on a stream that holds tasks (a classifier may change those of the lanes,
//! by name), and acknowledgements are bound to a stream and its consumers: an acknowledgement that asks for the next
//! message (`+NXT`) would otherwise read any stream.

use std::collections::BTreeMap;

use trilane_protocol::learning::JUDGE;
use trilane_protocol::streams::{
    ADVISORIES, ALERTS, CANCEL, CANCELLED, CANCELS, CLASSIFY, DEAD, DUE, EXAMPLES, FEEDBACK, JANITOR,
    LANE_CLOUD, LANE_LOCAL, LATER, LEDGER, NOTIFY, OUTCOMES, PIPELINES, POLICY, RESULTS, RETURNS,
    RETURNS_CLOUD, ROUTES, SHADOW, SHADOWED, SHADOWS, TAKE_BACK, TASKS, WORKERS, bucket_stream, consumer_of,
    shadow_consumer_of, stream_of,
};
use trilane_protocol::task::Priority;
use trilane_protocol::{LaneName, Zone, subjects};

use crate::role::{Account, Role};

/// The lanes that permissions are made for, with their zones.
pub type Lanes = BTreeMap<LaneName, Zone>;

/// What a role may do. Subjects may hold wildcards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What it may publish.
    pub publish: Vec<String>,
    /// What it may subscribe to.
    pub subscribe: Vec<String>,
}

impl Permissions {
    /// The permissions of `role` in a fleet with these lanes.
    pub fn of(role: &Role, lanes: &Lanes) -> Self {
        let mut permissions = match role {
            Role::Producer => producer("*"),
            Role::Agent(agent) => producer(agent.as_str()),
            Role::Classifier => classifier(lanes),
            Role::LocalWorker => local_worker(lanes),
            Role::CloudWorker => cloud_worker(lanes),
            Role::Observer => observer(),
            Role::Monitor => monitor(lanes),
            Role::Notifier => notifier(),
            Role::Learner => learner(),
            Role::Admin => Self { publish: vec![">".into()], subscribe: vec![">".into()] },
        };
        if *role != Role::Admin {
            permissions.subscribe.push(format!("{}.>", role.inbox_prefix()));
        }
        permissions
    }

    /// The permissions of a client without credentials, where those are let in: a producer's, for any agent.
    pub fn anonymous() -> Self {
        let mut permissions = producer("*");
        permissions.subscribe.push("_INBOX.>".into());
        permissions
    }

    fn may_publish(&mut self, subjects: impl IntoIterator<Item = String>) {
        self.publish.extend(subjects);
    }

    /// To pull from a consumer that is there, and to say what became of its messages.
    fn may_consume(&mut self, api: &str, stream: &str, consumer: &str) {
        self.may_publish([
            format!("{api}.CONSUMER.INFO.{stream}.{consumer}"),
            format!("{api}.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            format!("$JS.ACK.{stream}.{consumer}.>"),
        ]);
    }

    /// To read a stream of records by readers of its own.
    fn may_read(&mut self, api: &str, stream: &str) {
        self.may_publish([
            format!("{api}.STREAM.INFO.{stream}"),
            format!("{api}.CONSUMER.CREATE.{stream}"),
            format!("{api}.CONSUMER.CREATE.{stream}.>"),
            format!("{api}.CONSUMER.INFO.{stream}.*"),
            format!("{api}.CONSUMER.DELETE.{stream}.*"),
            format!("{api}.CONSUMER.MSG.NEXT.{stream}.*"),
            format!("{api}.DIRECT.GET.{stream}"),
            format!("{api}.DIRECT.GET.{stream}.>"),
        ]);
    }
}

/// `agent` may be a wildcard.
fn producer(agent: &str) -> Permissions {
    let api = Account::Producers.api_prefix();
    Permissions {
        publish: vec![
            format!("tasks.{agent}"),
            format!("cancel.{agent}.*"),
            format!("feedback.{agent}.*"),
            format!("{api}.DIRECT.GET.{RESULTS}.result.{agent}.*"),
        ],
        subscribe: vec![format!("results.{agent}.*"), format!("partial.{agent}.*")],
    }
}

fn classifier(lanes: &Lanes) -> Permissions {
    let mut permissions = Permissions::default();
    let api = Account::Core.api_prefix();
    for (stream, consumer) in [
        (TASKS, CLASSIFY),
        (RETURNS, TAKE_BACK),
        (RETURNS_CLOUD, TAKE_BACK),
        (LATER, DUE),
        (CANCELS, CANCEL),
        (SHADOWS, SHADOW),
    ] {
        permissions.may_consume(api, stream, consumer);
    }
    permissions.may_publish(lanes.keys().map(subjects::lane_all));
    permissions.may_publish(
        ["route.*", "dead.*", "result.*.*", "later.*", "cancelled.*", "alert.*.*", "example.*.*"]
            .map(Into::into),
    );
    // How much of a lane its workers may have in hand: a change of a consumer by its name and its filter.
    for (lane, zone) in lanes {
        permissions.may_publish(Priority::ALL.map(|priority| {
            let (consumer, filter) = (consumer_of(lane, priority), subjects::lane(lane, priority));
            format!("{api}.CONSUMER.CREATE.{}.{consumer}.{filter}", stream_of(*zone))
        }));
    }
    // How long the lanes are.
    permissions.may_publish([LANE_LOCAL, LANE_CLOUD].map(|stream| format!("{api}.CONSUMER.INFO.{stream}.*")));
    permissions.may_publish([RESULTS, CANCELLED].map(|stream| format!("{api}.DIRECT.GET.{stream}.>")));
    permissions.may_publish([format!("{api}.DIRECT.GET.{LEDGER}"), format!("{api}.DIRECT.GET.{LEDGER}.>")]);
    permissions.may_publish([format!("{api}.STREAM.INFO.{LATER}"), format!("{api}.DIRECT.GET.{ROUTES}.>")]);
    let policy = bucket_stream(POLICY);
    permissions.may_publish([format!("{api}.STREAM.INFO.{policy}"), format!("{api}.DIRECT.GET.{policy}.>")]);
    let pipelines = bucket_stream(PIPELINES);
    permissions.may_publish([
        format!("{api}.STREAM.INFO.{pipelines}"),
        format!("{api}.DIRECT.GET.{pipelines}.>"),
        format!("$KV.{PIPELINES}.>"),
    ]);
    permissions.may_read(api, &bucket_stream(WORKERS));
    permissions.subscribe.push(subjects::CANCELLED.into());
    permissions
}

fn local_worker(lanes: &Lanes) -> Permissions {
    let mut permissions = worker(lanes, Zone::Local);
    let own = in_zone(lanes, Zone::Local);
    permissions.may_publish(own.map(|lane| subjects::dead(lane.as_str())));
    let api = Account::Local.api_prefix();
    permissions.may_publish([
        "result.*.*".into(),
        subjects::REROUTES.into(),
        format!("{api}.DIRECT.GET.{RESULTS}.>"),
        subjects::SHADOWED.into(),
    ]);
    for lane in in_zone(lanes, Zone::Local) {
        permissions.may_consume(api, LANE_LOCAL, &shadow_consumer_of(lane));
    }
    permissions
}

/// It cannot write a result or a dead letter: it hands in how a task ended, and a classifier does, once it has seen
/// its own seal on that task.
fn cloud_worker(lanes: &Lanes) -> Permissions {
    let mut permissions = worker(lanes, Zone::Cloud);
    let api = Account::Cloud.api_prefix();
    permissions.may_publish([
        "return.*".into(),
        subjects::SPENDING.into(),
        format!("{api}.DIRECT.GET.{LEDGER}"),
        format!("{api}.DIRECT.GET.{LEDGER}.>"),
    ]);
    permissions
}

/// What workers of both zones do.
fn worker(lanes: &Lanes, zone: Zone) -> Permissions {
    let mut permissions = Permissions::default();
    let role = if zone == Zone::Cloud { Role::CloudWorker } else { Role::LocalWorker };
    let api = role.account().api_prefix();
    for lane in in_zone(lanes, zone) {
        for priority in Priority::ALL {
            permissions.may_consume(api, stream_of(zone), &consumer_of(lane, priority));
        }
        permissions.may_publish([format!("alert.*.{lane}")]);
    }
    permissions.may_publish([
        subjects::PARTIALS.into(),
        format!("$KV.{WORKERS}.{}.*", zone.as_str()),
        format!("{api}.DIRECT.GET.{CANCELLED}.>"),
    ]);
    permissions.subscribe.push(subjects::CANCELLED.into());
    permissions
}

fn in_zone(lanes: &Lanes, zone: Zone) -> impl Iterator<Item = &LaneName> {
    lanes.iter().filter(move |(_, of)| **of == zone).map(|(lane, _)| lane)
}

fn observer() -> Permissions {
    let mut permissions = Permissions::default();
    let api = Account::Operators.api_prefix();
    permissions.may_publish(
        [
            "INFO",
            "STREAM.NAMES",
            "STREAM.LIST",
            "STREAM.INFO.*",
            "CONSUMER.NAMES.*",
            "CONSUMER.LIST.*",
            "CONSUMER.INFO.*.*",
        ]
        .map(|request| format!("{api}.{request}")),
    );
    for stream in [RESULTS, ROUTES, DEAD, LEDGER, ALERTS, FEEDBACK, OUTCOMES] {
        permissions.may_read(api, stream);
    }
    permissions.may_publish([format!("{api}.DIRECT.GET.{}.>", bucket_stream(POLICY))]);
    permissions.may_read(api, &bucket_stream(WORKERS));
    permissions.subscribe.extend(
        ["results.*.*", "results.>", "route.*", subjects::PARTIALS, "partial.>", subjects::ALERTS, "alert.>"]
            .map(String::from),
    );
    permissions
}

/// The one role with a way out, and so with nothing but what may go out.
fn notifier() -> Permissions {
    let mut permissions = Permissions::default();
    permissions.may_consume(Account::Notifiers.api_prefix(), ALERTS, NOTIFY);
    permissions
}

/// It sees what public tasks said, and of private ones their results and counts; what it asks a judge stays local. It writes policies, which can only order the lanes that the
/// screen has left, and asks for shadows, which are screened again.
fn learner() -> Permissions {
    let mut permissions = Permissions::default();
    let api = Account::Learners.api_prefix();
    for stream in [RESULTS, ROUTES, LEDGER, FEEDBACK, OUTCOMES, EXAMPLES, SHADOWED] {
        permissions.may_read(api, stream);
    }
    let policy = bucket_stream(POLICY);
    permissions.may_publish([
        format!("{api}.STREAM.INFO.{policy}"),
        format!("{api}.DIRECT.GET.{policy}.>"),
        format!("$KV.{POLICY}.>"),
        subjects::OUTCOMES.into(),
        subjects::SHADOWS.into(),
        format!("tasks.{JUDGE}"),
        "alert.*.*".into(),
    ]);
    permissions
}

/// It reads stuck messages by their sequence, which no other role may, and takes them away once they are buried.
fn monitor(lanes: &Lanes) -> Permissions {
    let mut permissions = observer();
    let api = Account::Operators.api_prefix();
    permissions.may_consume(api, ADVISORIES, JANITOR);
    for stream in [TASKS, RETURNS, RETURNS_CLOUD, LATER, CANCELS, LANE_LOCAL, LANE_CLOUD] {
        permissions.may_publish([
            format!("{api}.STREAM.MSG.GET.{stream}"),
            format!("{api}.STREAM.MSG.DELETE.{stream}"),
        ]);
    }
    permissions.may_publish(lanes.keys().map(|lane| subjects::dead(lane.as_str())));
    permissions.may_publish([subjects::dead(subjects::INTAKE), "result.*.*".into(), "alert.*.*".into()]);
    // How alerts began and ended, and the switch of each lane that the dashboard has.
    permissions.may_publish([subjects::ALERTED.into()]);
    permissions
        .may_publish([LANE_LOCAL, LANE_CLOUD].map(|stream| format!("{api}.CONSUMER.PAUSE.{stream}.*")));
    permissions
}
