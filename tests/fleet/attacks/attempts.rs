//! What the holder of each key tries, as data.

/// One thing that the holder of a key tries.
pub(super) enum Attempt {
    /// To publish on a subject, with an answer to an inbox that it may hear.
    Publish(String, &'static str),
    /// To hear a subject.
    Hear(String),
}

impl Attempt {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Publish(subject, payload) => format!("publish on {subject} {payload}"),
            Self::Hear(subject) => format!("subscribe to {subject}"),
        }
    }

    /// What the server says where it refuses.
    pub(super) fn refusal(&self) -> String {
        match self {
            Self::Publish(subject, _) => format!("Permissions Violation for Publish to \"{subject}\""),
            Self::Hear(subject) => format!("Permissions Violation for Subscription to \"{subject}\""),
        }
    }
}

pub(super) fn publish(subject: impl Into<String>, payload: &'static str) -> Attempt {
    Attempt::Publish(subject.into(), payload)
}

pub(super) fn hear(subject: impl Into<String>) -> Attempt {
    Attempt::Hear(subject.into())
}

/// What nobody but the fleet's own core may do, whoever it is that tries.
pub(super) fn on_the_core(api: &str) -> Vec<Attempt> {
    let streams = [
        "TASKS",
        "RETURNS",
        "RETURNS_CLOUD",
        "LATER",
        "LANE_LOCAL",
        "RESULTS",
        "ROUTES",
        "DEAD",
        "CANCELS",
        "KV_pipelines",
        "KV_workers",
    ];
    let mut attempts = Vec::new();
    for stream in streams {
        let request = |what: &str| format!("{api}.{what}.{stream}");
        attempts.extend([
            publish(request("STREAM.INFO"), ""),
            publish(request("STREAM.MSG.GET"), "{\"seq\":1}"),
            publish(request("STREAM.MSG.DELETE"), "{\"seq\":1}"),
            publish(request("STREAM.PURGE"), ""),
            publish(request("STREAM.DELETE"), ""),
            publish(request("STREAM.SNAPSHOT"), "{\"deliver_subject\":\"x\"}"),
            publish(request("DIRECT.GET"), "{\"seq\":1}"),
            publish(request("CONSUMER.CREATE"), "{\"config\":{}}"),
            publish(format!("{api}.CONSUMER.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("{api}.CONSUMER.DURABLE.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("{api}.CONSUMER.MSG.NEXT.{stream}.classify"), "1"),
            publish(format!("$JS.ACK.{stream}.classify.1.1.1.1.0"), "+NXT"),
            publish(format!("$JS.ACK.{stream}.classify.1.1.1.1.0"), "+ACK"),
        ]);
    }
    attempts.extend([
        publish(format!("{api}.CONSUMER.MSG.NEXT.LANE_LOCAL.local-deep_normal"), "1"),
        publish("$JS.ACK.LANE_LOCAL.local-deep_normal.1.1.1.1.0", "+NXT"),
        publish("$JS.ACK.LANE_LOCAL.local-deep_normal.1.1.1.1.0", "+TERM"),
        // A stream that mirrors, sources or republishes another.
        publish(format!("{api}.STREAM.CREATE.SPY"), "{\"name\":\"SPY\",\"mirror\":{\"name\":\"TASKS\"}}"),
        publish(format!("{api}.STREAM.UPDATE.TASKS"), "{\"name\":\"TASKS\",\"republish\":{\"dest\":\"x\"}}"),
        publish(format!("{api}.CONSUMER.PAUSE.LANE_CLOUD.cloud_normal"), "{}"),
        publish("lane.local-fast.normal", "x"),
        publish("lane.cloud.normal", "x"),
        publish("route.classifier-1", "x"),
        publish("later.TASKS-1", "x"),
        publish("due.TASKS-1", "x"),
        publish("cancelled.00", ""),
        publish("result.other.1", "{}"),
        publish("results.other.1", "{}"),
        publish("dead.local-fast", "{}"),
        publish("$KV.pipelines.a.b", ""),
        publish("$KV.workers.local.x", ""),
        hear(">"),
        hear("*.>"),
        hear("tasks.*"),
        hear("lane.>"),
        hear("lane.local-fast.*"),
        hear("result.>"),
        hear("route.>"),
        hear("reroute.*"),
        hear("return.*"),
        hear("$JS.>"),
        hear("$JS.API.>"),
        hear("$JS.ACK.>"),
        hear("$KV.>"),
        hear("_INBOX_ROLE.>"),
        hear("_INBOX_ROLE.classifier.>"),
        hear("_INBOX_ROLE.local.>"),
        hear("_INBOX_AGENT.>"),
        hear("$SYS.>"),
    ]);
    attempts
}

pub(super) fn by_a_cloud_worker() -> Vec<Attempt> {
    let mut attempts = on_the_core("CORE.API");
    attempts.extend(on_the_core("$JS.API"));
    attempts.extend([
        publish("tasks.sample", "{\"prompt\":\"x\"}"),
        publish("cancel.sample.1", ""),
        publish("dead.cloud", "{}"),
        publish("CORE.API.DIRECT.GET.RESULTS.result.sample.1", ""),
        publish("CORE.API.DIRECT.GET.KV_workers.$KV.workers.local.x", ""),
        hear("_INBOX.>"),
        hear("_INBOX_ROLE.*.>"),
        hear("results.>"),
        hear("partial.>"),
        hear("cancel.>"),
    ]);
    attempts
}

pub(super) fn by_a_producer(another: &str) -> Vec<Attempt> {
    let mut attempts = on_the_core("CORE.API");
    attempts.extend(on_the_core("$JS.API"));
    attempts.extend([
        publish(format!("tasks.{another}"), "{\"prompt\":\"x\"}"),
        publish(format!("cancel.{another}.1"), ""),
        publish(format!("CORE.API.DIRECT.GET.RESULTS.result.{another}.1"), ""),
        publish("reroute.marketing", ""),
        publish("return.marketing", ""),
        publish("spend.marketing.1", "{}"),
        publish("partial.marketing.1", "{}"),
        hear(format!("results.{another}.*")),
        hear("results.>"),
        hear("results.*.*"),
        hear(format!("partial.{another}.*")),
        hear(format!("_INBOX_AGENT.{another}.>")),
        hear("_INBOX.>"),
        hear("cancelled.*"),
    ]);
    attempts
}

/// Those who look, and the monitor.
pub(super) fn by_an_operator() -> Vec<Attempt> {
    let mut attempts = on_the_core("$JS.API");
    for stream in ["TASKS", "RETURNS", "RETURNS_CLOUD", "LATER", "LANE_LOCAL", "LANE_CLOUD", "KV_pipelines"] {
        attempts.extend([
            publish(format!("CORE.API.CONSUMER.CREATE.{stream}"), "{\"config\":{}}"),
            publish(format!("CORE.API.CONSUMER.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("CORE.API.CONSUMER.DURABLE.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("CORE.API.CONSUMER.MSG.NEXT.{stream}.classify"), "1"),
            publish(format!("CORE.API.DIRECT.GET.{stream}"), "{\"seq\":1}"),
            publish(format!("CORE.API.STREAM.PURGE.{stream}"), ""),
            publish(format!("CORE.API.STREAM.DELETE.{stream}"), ""),
        ]);
    }
    attempts.extend([
        publish("tasks.sample", ""),
        publish("cancel.sample.1", ""),
        publish("lane.cloud.normal", ""),
        publish("route.x", ""),
        publish("spend.a.1", ""),
        publish("reroute.a", ""),
        publish("return.a", ""),
        publish("later.TASKS-1", ""),
        publish("$KV.workers.local.x", ""),
        hear(">"),
        hear("tasks.*"),
        hear("lane.>"),
        hear("_INBOX_ROLE.>"),
        hear("_INBOX_ROLE.classifier.>"),
    ]);
    attempts
}

/// It reads what was decided and answered, and writes policies; it decides and answers nothing.
pub(super) fn by_a_learner() -> Vec<Attempt> {
    let mut attempts = by_an_operator();
    for stream in ["DEAD", "ALERTS", "SHADOWS", "KV_workers", "CANCELS", "CANCELLED"] {
        attempts.extend([
            publish(format!("CORE.API.CONSUMER.CREATE.{stream}.spy"), "{\"config\":{}}"),
            publish(format!("CORE.API.DIRECT.GET.{stream}"), "{\"seq\":1}"),
            publish(format!("CORE.API.STREAM.MSG.GET.{stream}"), "{\"seq\":1}"),
        ]);
    }
    for stream in ["RESULTS", "FEEDBACK", "OUTCOMES", "EXAMPLES", "SHADOWED", "LEDGER", "ROUTES", "KV_policy"]
    {
        attempts.extend([
            publish(format!("CORE.API.STREAM.MSG.DELETE.{stream}"), "{\"seq\":1}"),
            publish(format!("CORE.API.STREAM.PURGE.{stream}"), ""),
            publish(format!("CORE.API.STREAM.UPDATE.{stream}"), "{}"),
            publish(format!("CORE.API.STREAM.DELETE.{stream}"), ""),
        ]);
    }
    attempts.extend([
        publish("result.a.1", "{}"),
        publish("results.a.1", "{}"),
        publish("dead.intake", "{}"),
        publish("example.a.1", "{}"),
        publish("feedback.a.1", "{}"),
        publish("shadowed.a.1", "{}"),
        publish("lane.local-deep.shadow", "{}"),
        publish("cancelled.00", ""),
        publish("alerted.lane_slow.cloud", "{}"),
        publish("partial.a.1", "{}"),
        publish("$KV.pipelines.a.b", ""),
        publish("$KV.workers.local.x", ""),
        publish("CORE.API.CONSUMER.PAUSE.LANE_LOCAL.local-fast_normal", "{}"),
        hear("results.*.*"),
        hear("partial.*.*"),
        hear("route.*"),
        hear("alert.*.*"),
    ]);
    attempts
}

pub(super) fn by_a_local_worker() -> Vec<Attempt> {
    let subjects = [
        "tasks.sample",
        "lane.cloud.normal",
        "lane.local-fast.normal",
        "route.classifier-1",
        "dead.cloud",
        "return.sample",
        "spend.sample.1",
        "later.TASKS-1",
        "cancelled.00",
        "return.sample",
        "CORE.API.STREAM.MSG.GET.TASKS",
        "CORE.API.CONSUMER.CREATE.LANE_CLOUD.spy",
        "CORE.API.CONSUMER.MSG.NEXT.LANE_CLOUD.cloud_normal",
        "$JS.API.STREAM.MSG.GET.TASKS",
        "$JS.API.CONSUMER.CREATE.LANE_CLOUD.spy",
        "$JS.API.CONSUMER.MSG.NEXT.LANE_CLOUD.cloud_normal",
        "$JS.ACK.LANE_CLOUD.cloud_normal.1.1.1.1.0",
        "$JS.ACK.TASKS.classify.1.1.1.1.0",
        "$KV.workers.cloud.x",
    ];
    let heard = ["tasks.*", "lane.>", "_INBOX_ROLE.classifier.>", "result.>", ">"];
    subjects.into_iter().map(|subject| publish(subject, "")).chain(heard.into_iter().map(hear)).collect()
}
