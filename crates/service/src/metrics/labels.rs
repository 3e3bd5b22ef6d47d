//! What may stand in a label. Each type can be made from bounded values only, so a metric that is labelled with it is
//! bounded too.

use metrics::SharedString;
use trilane_protocol::subjects::INTAKE;
use trilane_protocol::{AgentName, LaneName, ModelName, Status};

use super::names;

/// A label as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What bounds its values.
    pub bound: &'static str,
}

/// A value of one label.
pub trait LabelValue: Sized {
    /// The label.
    const LABEL: Label;
    /// The value.
    fn value(self) -> SharedString;
}

/// Values of all labels of a metric.
pub trait Labels {
    /// The labels.
    const LABELS: &'static [Label];
    /// The values, in the same order.
    fn values(self) -> Vec<SharedString>;
}

macro_rules! tuple {
    ($($type:ident)*) => {
        impl<$($type: LabelValue),*> Labels for ($($type,)*) {
            const LABELS: &'static [Label] = &[$($type::LABEL),*];

            #[expect(non_snake_case, reason = "a value is named like its type")]
            fn values(self) -> Vec<SharedString> {
                let ($($type,)*) = self;
                vec![$($type.value()),*]
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);

impl<A: LabelValue> Labels for A {
    const LABELS: &'static [Label] = &[A::LABEL];

    fn values(self) -> Vec<SharedString> {
        vec![self.value()]
    }
}

impl Labels for () {
    const LABELS: &'static [Label] = &[];

    fn values(self) -> Vec<SharedString> {
        Vec::new()
    }
}

macro_rules! label {
    ($(#[$doc:meta])* $type:ident = $name:literal, $bound:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $type(SharedString);

        impl LabelValue for $type {
            const LABEL: Label = Label { name: $name, bound: $bound };

            fn value(self) -> SharedString {
                self.0
            }
        }
    };
}

label! {
    /// A lane, or the intake.
    Lane = "lane", "lanes of the configuration, `intake`, `other`"
}

label! {
    /// A producer.
    Agent = "agent", "agents of the configuration, 100 others, `other`; `*` is all together"
}

label! {
    /// A model.
    Model = "model", "models of the configuration, `other`"
}

label! {
    /// A stable error code.
    Code = "code", "100 codes, `other`"
}

label! {
    /// The version of a policy or a program.
    Version = "version", "16 a process, `other`"
}

label! {
    /// How a task ended.
    Outcome = "outcome", "`done`, `failed`, `expired`, `cancelled`, `rejected`"
}

label! {
    /// The rule that decided where a task goes.
    Reason = "reason", "the rules of routing"
}

label! {
    /// The span of a budget.
    Window = "window", "`day`, `week`"
}

label! {
    /// A trust zone.
    Zone = "zone", "`local`, `cloud`"
}

impl Lane {
    /// A lane.
    pub fn of(lane: &LaneName) -> Self {
        Self::place(lane.as_str())
    }

    /// A lane, or [`INTAKE`].
    pub fn place(place: &str) -> Self {
        Self(names::LANES.value(place))
    }

    /// The intake.
    pub fn intake() -> Self {
        Self(SharedString::const_str(INTAKE))
    }

    /// The one lane that serves a model.
    pub fn serving(model: &ModelName) -> Self {
        Self(names::lane_of_model(model.as_str()))
    }
}

impl Agent {
    /// An agent.
    pub fn of(agent: &AgentName) -> Self {
        Self(names::AGENTS.value(agent.as_str()))
    }

    /// All agents together; no agent is called so.
    pub fn all() -> Self {
        Self(SharedString::const_str("*"))
    }
}

impl Model {
    /// A model.
    pub fn of(model: &ModelName) -> Self {
        Self(names::MODELS.value(model.as_str()))
    }
}

impl Code {
    /// An error's code.
    pub fn of(code: &str) -> Self {
        Self(names::CODES.value(code))
    }
}

impl Version {
    /// A version.
    pub fn of(version: &str) -> Self {
        Self(names::VERSIONS.value(version))
    }
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self(SharedString::const_str(status.as_str()))
    }
}

impl From<trilane_protocol::decision::Reason> for Reason {
    fn from(reason: trilane_protocol::decision::Reason) -> Self {
        Self(SharedString::const_str(reason.as_str()))
    }
}

impl From<trilane_protocol::Zone> for Zone {
    fn from(zone: trilane_protocol::Zone) -> Self {
        Self(SharedString::const_str(zone.as_str()))
    }
}

impl Window {
    /// The span of a budget, by its word.
    pub fn of(word: &str) -> Self {
        Self(SharedString::const_str(if word == "day" { "day" } else { "week" }))
    }
}

macro_rules! closed {
    (
        $(#[$doc:meta])* $type:ident = $label:literal {
            $(#[$first_of:meta])* $first:ident = $first_word:literal,
            $($(#[$of:meta])* $variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $(#[$first_of])* $first,
            $($(#[$of])* $variant),*
        }

        impl $type {
            /// The word in the label.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$variant => $word),*
                }
            }
        }

        impl LabelValue for $type {
            const LABEL: Label =
                Label { name: $label, bound: concat!("`", $first_word, "`", $(", `", $word, "`"),*) };

            fn value(self) -> SharedString {
                SharedString::const_str(self.as_str())
            }
        }
    };
}

closed! {
    /// A binary of the fleet.
    Process = "process" {
        /// Routes tasks.
        Classifier = "classifier",
        /// Runs llama.cpp.
        LocalWorker = "local-worker",
        /// Asks a local inference server.
        EndpointWorker = "endpoint-worker",
        /// Asks a provider.
        CloudWorker = "cloud-worker",
        /// Watches.
        Monitor = "monitor",
        /// Posts alerts.
        Notifier = "notifier",
        /// Learns.
        Learner = "learner",
    }
}

closed! {
    /// Why a call is made again.
    Cause = "cause" {
        /// Nobody knows how the call before ended.
        Ambiguous = "ambiguous",
        /// The call before was answered, and its answer got lost.
        Answered = "answered",
    }
}

closed! {
    /// What a webhook made of an alert.
    Posted = "answer" {
        /// It has taken it.
        Taken = "taken",
        /// It will never take it.
        Refused = "refused",
        /// It did not take it, and is asked again.
        Failed = "failed",
    }
}

closed! {
    /// How a worker is.
    Health = "health" {
        /// It is heard, and gets on with what it has.
        Alive = "alive",
        /// It is heard, has tasks, and gets on with none of them.
        Hung = "hung",
        /// It is not heard any more.
        Silent = "silent",
    }
}

closed! {
    /// What a validator said of an answer.
    Checked = "checked" {
        /// The answer will do.
        Passed = "passed",
        /// It will not.
        Failed = "failed",
        /// It could not be run, and says nothing.
        NotRun = "not_run",
    }
}

closed! {
    /// Who says how good an answer was.
    Source = "source" {
        /// The worker's own signs.
        Signs = "signs",
        /// A judge that held a shadow against the cloud's answer.
        Shadow = "shadow",
        /// The task's validators.
        Validators = "validators",
        /// Feedback on the result.
        Feedback = "feedback",
    }
}

impl From<trilane_protocol::learning::OutcomeSource> for Source {
    fn from(source: trilane_protocol::learning::OutcomeSource) -> Self {
        use trilane_protocol::learning::OutcomeSource;
        match source {
            OutcomeSource::Signs => Self::Signs,
            OutcomeSource::Shadow => Self::Shadow,
            OutcomeSource::Validators => Self::Validators,
            OutcomeSource::Feedback => Self::Feedback,
        }
    }
}

closed! {
    /// What became of a shadow.
    Shadow = "shadow" {
        /// It was put on its lane.
        Put = "put",
        /// The screen found it private, and it was not run.
        Private = "private",
        /// Its lane could not take it.
        Unfit = "unfit",
        /// It was asked for too long ago.
        Expired = "expired",
        /// It has answered.
        Answered = "answered",
        /// It came to nothing.
        Failed = "failed",
        /// It made room for real work, and waits again.
        Stopped = "stopped",
    }
}

closed! {
    /// Why something teaches nothing.
    Unused = "why" {
        /// There is no such result.
        UnknownTask = "unknown_task",
        /// What was kept of the task is gone, or is another's of the same id.
        NoExample = "no_example",
        /// It does not read.
        Garbage = "garbage",
        /// Something weightier was learned of the same answer.
        Superseded = "superseded",
        /// The task ended without an answer.
        NoAnswer = "no_answer",
    }
}
