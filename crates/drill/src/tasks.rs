//! The tasks of a drill, made from its seed: what is published, and what may become of it.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use trilane_protocol::{AgentName, Encoding, Status, Task, TaskId};

use crate::markers::Marker;
use crate::script::{self, TOO_LONG_WORD};

/// Producers, each with a connection and agents of its own.
pub const PRODUCERS: usize = 4;

/// Agents of each producer: whose default is public, whose default is private, and one that nobody has heard
/// of, so that it takes the default of the policy.
const PUBLIC_AGENT: &str = "press";
const PRIVATE_AGENT: &str = "clinic";
const UNKNOWN_AGENT: &str = "walkin";

/// The cloud model, as the configuration names it.
pub const CLOUD_MODEL: &str = "drill-cloud";

/// How a task ends if nothing goes wrong, or if everything does.
const ANSWERED: &[Status] = &[Status::Done, Status::Failed];
const TIMED: &[Status] = &[Status::Done, Status::Failed, Status::Expired];
const CANCELLED: &[Status] = &[Status::Done, Status::Failed, Status::Cancelled];
const REFUSED: &[Status] = &[Status::Rejected];

/// The chances of each kind of task, in hundredths.
const KINDS: [(Kind, u32); 18] = [
    (Kind::Easy, 21),
    (Kind::Middling, 10),
    (Kind::Hard, 20),
    (Kind::PrivateByAgent, 7),
    (Kind::PrivateByTag, 5),
    (Kind::PrivateByField, 5),
    (Kind::PrivateByDetector, 5),
    (Kind::PrivateByPolicy, 3),
    (Kind::PrivatePinned, 2),
    (Kind::Pipeline, 3),
    (Kind::TaintedPipeline, 3),
    (Kind::TooLong, 3),
    (Kind::PrivateTooLong, 1),
    (Kind::Deadline, 3),
    (Kind::Later, 2),
    (Kind::Cancelled, 3),
    (Kind::Malformed, 3),
    (Kind::InvalidAgent, 1),
];

/// What a task is there to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Public, for `local-fast`.
    Easy,
    /// Public, for `local-deep`.
    Middling,
    /// Public, for the cloud.
    Hard,
    /// Hard, of an agent whose default is private.
    PrivateByAgent,
    /// Hard, with a tag that the policy names.
    PrivateByTag,
    /// Hard, marked by its producer.
    PrivateByField,
    /// Hard and marked public, with the number of a card in its prompt.
    PrivateByDetector,
    /// Hard, unmarked, of an unknown agent.
    PrivateByPolicy,
    /// Marked private and pinned to the cloud's model.
    PrivatePinned,
    /// Two public steps: cloud, then local.
    Pipeline,
    /// Three hard steps of which the second is private, and so the third.
    TaintedPipeline,
    /// Public; `local-fast` finds it too long and hands it up.
    TooLong,
    /// The same, private.
    PrivateTooLong,
    /// Public, with so short a deadline that it may expire.
    Deadline,
    /// Public, not to be run at once.
    Later,
    /// Public, and cancelled as soon as it is acknowledged.
    Cancelled,
    /// Not a task.
    Malformed,
    /// On a subject that names no agent: only a dead letter tells.
    InvalidAgent,
}

/// A task that will be published.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTask {
    /// What it is there to try.
    pub kind: Kind,
    /// Where it is published.
    pub subject: String,
    /// Its `Nats-Msg-Id`.
    pub message_id: String,
    /// Its `Content-Type`; none where the first byte is to tell.
    pub encoding: Option<Encoding>,
    /// What is published.
    pub payload: Vec<u8>,
    /// Agent and id of its result; none where there cannot be one.
    pub key: Option<(AgentName, TaskId)>,
    /// Its markers that no cloud model may ever see.
    pub private: Vec<Marker>,
    /// The text of its result where that is `done`.
    pub answer: Option<String>,
    /// What its result may say.
    pub may_end: &'static [Status],
}

/// The tasks of a seed, in the order in which they are published.
pub fn plan(seed: u64, count: usize) -> Vec<PlannedTask> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|index| planned(index, kind(&mut random), &mut random)).collect()
}

/// The agents of each producer that the configuration has an entry for, and whether they are private.
pub fn agents() -> impl Iterator<Item = (String, bool)> {
    (0..PRODUCERS).flat_map(|producer| {
        [(format!("{PUBLIC_AGENT}-{producer}"), false), (format!("{PRIVATE_AGENT}-{producer}"), true)]
    })
}

fn kind(random: &mut StdRng) -> Kind {
    let drawn = KINDS.choose_weighted(random, |(_, chance)| *chance);
    drawn.map_or(Kind::Easy, |(kind, _)| *kind)
}

fn planned(index: usize, kind: Kind, random: &mut StdRng) -> PlannedTask {
    let agent = agent(kind, index % PRODUCERS);
    let message_id = format!("m-{index}");
    // Of a malformed task only the id in the headers is sure to be read.
    let may_have_id = !matches!(kind, Kind::Malformed | Kind::InvalidAgent);
    let own_id = (may_have_id && random.random_bool(0.3)).then(|| format!("own-{index}"));
    let Content { mut fields, prompts, private } = content(index, kind, random);
    if let Some(id) = &own_id {
        fields["id"] = json!(id);
    }
    vary(&mut fields, random);
    let (encoding, payload) = payload(kind, &fields, random);
    let id = own_id.unwrap_or_else(|| message_id.clone());
    let key = AgentName::new(agent.as_str()).ok().zip(TaskId::new(id).ok());
    PlannedTask {
        kind,
        subject: format!("tasks.{agent}"),
        message_id,
        encoding,
        payload,
        key,
        private,
        answer: (!prompts.is_empty()).then(|| last_answer(&prompts)),
        may_end: match kind {
            Kind::Malformed | Kind::InvalidAgent => REFUSED,
            Kind::Deadline => TIMED,
            Kind::Cancelled => CANCELLED,
            _ => ANSWERED,
        },
    }
}

fn agent(kind: Kind, producer: usize) -> String {
    match kind {
        Kind::PrivateByAgent => format!("{PRIVATE_AGENT}-{producer}"),
        Kind::PrivateByPolicy => format!("{UNKNOWN_AGENT}-{producer}"),
        Kind::InvalidAgent => format!("n√{producer}"),
        _ => format!("{PUBLIC_AGENT}-{producer}"),
    }
}

/// The fields of a task; the prompts that its models are shown, one a step, with `{{…}}` where a step takes
/// up what the step before has said; the markers that stay local.
struct Content {
    fields: Value,
    prompts: Vec<String>,
    private: Vec<Marker>,
}

fn content(index: usize, kind: Kind, random: &mut StdRng) -> Content {
    let marker = |step| Marker { task: index, step };
    let prompt = format!("Please sort item {} into its shelf.", marker(0));
    let public = |complexity: f64, prompt: String| {
        let fields = json!({"prompt": prompt, "complexity": complexity});
        Content { fields, prompts: vec![prompt], private: Vec::new() }
    };
    let private = |more: Value, prompt: String| {
        let content = public(0.95, prompt);
        Content { fields: merged(content.fields, more), private: vec![marker(0)], ..content }
    };
    match kind {
        Kind::Easy | Kind::Cancelled => public(random.random_range(0.05..0.3), prompt),
        Kind::Middling => public(random.random_range(0.42..0.55), prompt),
        Kind::Hard => public(0.95, prompt),
        Kind::PrivateByAgent | Kind::PrivateByPolicy => private(json!({}), prompt),
        Kind::PrivateByTag => private(json!({"tags": ["spring", "client-document"]}), prompt),
        Kind::PrivateByField => private(json!({"sensitivity": "private"}), prompt),
        Kind::PrivateByDetector => {
            let prompt = format!("Please charge 4111 1111 1111 1111 for item {}.", marker(0));
            private(json!({"sensitivity": "public"}), prompt)
        }
        Kind::PrivatePinned => private(json!({"sensitivity": "private", "model": CLOUD_MODEL}), prompt),
        Kind::Pipeline => {
            pipeline(&[(marker(0), json!({"complexity": 0.95})), (marker(1), json!({"complexity": 0.1}))])
        }
        Kind::TaintedPipeline => {
            let hard = json!({"complexity": 0.95});
            let private = json!({"complexity": 0.95, "sensitivity": "private"});
            let steps = [(marker(0), hard.clone()), (marker(1), private), (marker(2), hard)];
            Content { private: vec![marker(1), marker(2)], ..pipeline(&steps) }
        }
        Kind::TooLong => public(0.1, format!("{prompt} It is {TOO_LONG_WORD}.")),
        Kind::PrivateTooLong => {
            let content = public(0.1, format!("{prompt} It is {TOO_LONG_WORD}."));
            let fields = merged(content.fields, json!({"sensitivity": "private"}));
            Content { fields, private: vec![marker(0)], ..content }
        }
        Kind::Deadline => {
            let content = public(0.1, prompt);
            let deadline = json!({"deadline": random.random_range(0.5..6.0)});
            Content { fields: merged(content.fields, deadline), ..content }
        }
        Kind::Later => {
            let content = public(0.1, prompt);
            let later = json!({"not_before": random.random_range(0.5..4.0)});
            Content { fields: merged(content.fields, later), ..content }
        }
        Kind::Malformed | Kind::InvalidAgent => {
            Content { fields: json!({"prompt": prompt}), prompts: Vec::new(), private: vec![marker(0)] }
        }
    }
}

fn pipeline(steps: &[(Marker, Value)]) -> Content {
    let name = |step: usize| format!("s{step}");
    let prompt = |(position, (marker, _)): (usize, &(Marker, Value))| match position {
        0 => format!("Please sort item {marker}: {{{{input}}}}"),
        _ => format!("Please go over item {marker} again: {{{{steps.{}.text}}}}", name(position - 1)),
    };
    let prompts = steps.iter().enumerate().map(prompt).collect::<Vec<_>>();
    let listed = steps.iter().zip(&prompts).enumerate().map(|(position, ((_, more), prompt))| {
        merged(json!({"name": name(position), "prompt": prompt}), more.clone())
    });
    let fields = json!({"prompt": INPUT, "steps": listed.collect::<Vec<_>>()});
    Content { fields, prompts, private: Vec::new() }
}

/// What pipelines begin with.
const INPUT: &str = "the shelves of the north wing";

/// What the last model says, when each is shown what the one before has said.
fn last_answer(prompts: &[String]) -> String {
    prompts.iter().enumerate().fold(String::new(), |said, (position, prompt)| {
        let before = format!("{{{{steps.s{}.text}}}}", position.saturating_sub(1));
        script::answer(&prompt.replace("{{input}}", INPUT).replace(&before, &said))
    })
}

fn merged(mut fields: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
    fields
}

/// What any task may have besides.
fn vary(fields: &mut Value, random: &mut StdRng) {
    if let Some(priority) = [None, None, Some("high"), Some("low")].choose(random).copied().flatten() {
        fields["priority"] = json!(priority);
    }
    if random.random_bool(0.15) {
        fields["stream"] = json!(true);
    }
    if random.random_bool(0.1) {
        fields["max_cost_usd"] = json!(1.0);
    }
    if random.random_bool(0.2) {
        fields["metadata"] = json!({"drill": "metadata"});
    }
}

/// The fields as bytes; of a malformed task, such as no task has.
fn payload(kind: Kind, fields: &Value, random: &mut StdRng) -> (Option<Encoding>, Vec<u8>) {
    let json = fields.to_string().into_bytes();
    if kind == Kind::Malformed {
        return match random.random_range(0..3) {
            0 => (None, b"sort my shelves, please".to_vec()),
            1 => (Some(Encoding::Json), json[..json.len() - 1].to_vec()),
            _ => (Some(Encoding::Json), merged(fields.clone(), json!({"promt": 1})).to_string().into_bytes()),
        };
    }
    let task = serde_json::from_value::<Task>(fields.clone()).ok().filter(|_| random.random_bool(0.3));
    match task {
        Some(task) => (Some(Encoding::Msgpack), Encoding::Msgpack.encode(&task)),
        None => (random.random_bool(0.5).then_some(Encoding::Json), json),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_tasks() {
        assert_eq!(plan(1, 200), plan(1, 200));
        assert_ne!(plan(1, 200), plan(2, 200));
    }

    #[test]
    fn ids_are_unique_and_every_kind_comes_up() {
        let tasks = plan(3, 2_000);
        assert_eq!(tasks.iter().map(|task| &task.message_id).collect::<BTreeSet<_>>().len(), tasks.len());
        let keys = tasks.iter().filter_map(|task| task.key.as_ref()).collect::<Vec<_>>();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        assert_eq!(tasks.iter().map(|task| task.kind).collect::<BTreeSet<_>>().len(), KINDS.len());
        let without_key = tasks.iter().filter(|task| task.key.is_none());
        assert!(without_key.into_iter().all(|task| task.kind == Kind::InvalidAgent));
    }

    #[test]
    fn all_but_the_malformed_are_tasks() {
        for task in plan(4, 1_000) {
            let encoding = Encoding::detect(None, &task.payload);
            let read = encoding.ok().and_then(|encoding| encoding.decode::<Task>(&task.payload).ok());
            assert_eq!(read.is_some(), task.kind != Kind::Malformed, "{task:?}");
        }
    }

    #[test]
    fn the_answer_of_a_pipeline_is_that_of_its_last_step() {
        let task = plan(5, 1_000).into_iter().find(|task| task.kind == Kind::TaintedPipeline).unwrap();
        let steps = crate::markers::markers_in(task.answer.as_deref().unwrap());
        assert_eq!(steps.iter().map(|marker| marker.step).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
