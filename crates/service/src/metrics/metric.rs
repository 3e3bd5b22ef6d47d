//! What a metric is, and how it is emitted. The only place that speaks to the recorder.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use metrics::{Key, Label as KeyLabel, Level, Metadata, SharedString, with_recorder};

use super::labels::{Label, Labels, Process};

/// What a metric says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sum that only grows.
    Counter,
    /// A value of now.
    Gauge,
    /// How many observations were at most as large as each bound.
    Histogram,
}

impl Kind {
    /// The word after `# TYPE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is measured. Decides the buckets of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Anything that is counted: tasks, workers, calls.
    Count,
    /// 1, for metrics whose labels say all.
    Info,
    /// Tokens.
    Tokens,
    /// Seconds.
    Seconds,
    /// Seconds since 1970.
    Timestamp,
    /// Tasks a second.
    PerSecond,
    /// Tokens a second.
    TokensPerSecond,
    /// From 0 to 1.
    Ratio,
    /// US dollars.
    Dollars,
    /// Billionths of a US dollar: whole numbers, as the ledger has them, so that no sum is ever rounded.
    Nanodollars,
}

impl Unit {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Info => "1",
            Self::Tokens => "tokens",
            Self::Seconds => "seconds",
            Self::Timestamp => "seconds since 1970",
            Self::PerSecond => "tasks a second",
            Self::TokensPerSecond => "tokens a second",
            Self::Ratio => "0 to 1",
            Self::Dollars => "dollars",
            Self::Nanodollars => "nano-dollars",
        }
    }

    /// Upper bounds of a histogram's buckets.
    pub(crate) fn buckets(self) -> &'static [f64] {
        match self {
            // From a cached prompt's first token to a queue that takes a working day.
            Self::Seconds => &[
                0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0,
                7200.0, 28_800.0,
            ],
            // From one slow processor core to a provider's fastest model.
            Self::TokensPerSecond => &[1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0],
            Self::Ratio => &[0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0],
            _ => &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0],
        }
    }
}

/// A metric as it is documented.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// The constant of the catalogue.
    pub constant: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub kind: Kind,
    /// What is measured.
    pub unit: Unit,
    /// Its labels.
    pub labels: &'static [Label],
    /// Which processes emit it.
    pub from: &'static [Process],
    /// What it counts, one sentence.
    pub help: &'static str,
}

impl Description {
    /// Tells the recorder of it.
    pub(super) fn describe(&self) {
        let (name, help) = (self.name.into(), SharedString::const_str(self.help));
        with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        });
    }

    /// Shows a counter at 0, where it has no labels that would have to be known.
    pub(super) fn begin(&self) {
        if self.kind == Kind::Counter && self.labels.is_empty() {
            let key = Key::from_static_name(self.name);
            with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(0));
        }
    }
}

static METADATA: Metadata<'static> = Metadata::new("trilane", Level::INFO, None);

/// The series of one metric, by their labels.
#[derive(Debug)]
struct Family<L> {
    description: Description,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Family<L> {
    fn key(&self, values: &[SharedString]) -> Key {
        if values.is_empty() {
            return Key::from_static_name(self.description.name);
        }
        let labels = L::LABELS.iter().zip(values);
        let labels: Vec<_> = labels.map(|(label, value)| KeyLabel::new(label.name, value.clone())).collect();
        Key::from_parts(self.description.name, labels)
    }
}

macro_rules! metric {
    ($(#[$doc:meta])* $type:ident { $($field:ident: $of:ty = $empty:expr)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $type<L> {
            family: Family<L>,
            $($field: $of)?
        }

        impl<L: Labels> $type<L> {
            pub(super) const fn new(
                constant: &'static str,
                name: &'static str,
                unit: Unit,
                from: &'static [Process],
                help: &'static str,
            ) -> Self {
                let description =
                    Description { constant, name, kind: Kind::$type, unit, labels: L::LABELS, from, help };
                Self { family: Family { description, labels: PhantomData }, $($field: $empty)? }
            }

            /// The metric as it is documented.
            pub fn description(&self) -> Description {
                self.family.description
            }
        }
    };
}

metric! {
    /// A sum that only grows.
    Counter {}
}

metric! {
    /// How many observations were at most as large as each bound.
    Histogram {}
}

metric! {
    /// A value of now.
    Gauge { shown: Mutex<BTreeSet<Vec<SharedString>>> = Mutex::new(BTreeSet::new()) }
}

impl<L: Labels> Counter<L> {
    /// Adds to the series of these labels.
    pub fn add(&self, count: u64, labels: L) {
        let key = self.family.key(&labels.values());
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(count));
    }
}

impl<L: Labels> Histogram<L> {
    /// Takes an observation into the series of these labels.
    pub fn record(&self, value: f64, labels: L) {
        let key = self.family.key(&labels.values());
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(value));
    }
}

impl<L: Labels> Gauge<L> {
    /// Sets the series of these labels.
    pub fn set(&self, value: f64, labels: L) {
        self.put(value, &labels.values());
    }

    /// Sets the series of all labels there are. Those of the call before that are not among them any more become NaN, as
    /// does what is not known: a number that nobody stands by would look like one of now. No alert fires on NaN.
    pub fn show(&self, series: impl IntoIterator<Item = (L, Option<f64>)>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *shown);
        for (labels, value) in series {
            let values = labels.values();
            self.put(value.unwrap_or(f64::NAN), &values);
            gone.remove(&values);
            shown.insert(values);
        }
        gone.iter().for_each(|values| self.put(f64::NAN, values));
    }

    fn put(&self, value: f64, values: &[SharedString]) {
        let key = self.family.key(values);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).set(value));
    }
}
