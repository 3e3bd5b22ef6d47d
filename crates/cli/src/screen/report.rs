//! What `trilane screen` prints: rates with the counts behind them, as JSON or as a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use trilane_routing::detect::measure::{Measure, Share, Times};

use super::Show;
use crate::output;

/// The measurement. The first five keys are the ones that others read; the rest says what they rest on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    /// Share of the private texts that are found; null without one.
    recall: Option<f64>,
    /// The same by what the texts hold, whether or not they are private.
    recall_by_kind: BTreeMap<String, Option<f64>>,
    /// Share of the other texts that are found; null without one.
    false_positive_rate: Option<f64>,
    /// Mean time of one text, microseconds, of the build that measures.
    text_us: f64,
    text_us_p99: f64,
    text_us_p50: f64,
    texts: u64,
    private: u64,
    not_private: u64,
    /// Private texts that are found.
    found: u64,
    /// Other texts that are found.
    false_positives: u64,
    texts_by_kind: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listed: Vec<Listed>,
}

/// One text that was missed, or found for nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) show: Show,
    /// What its label says.
    pub(super) kinds: Vec<String>,
    /// What the detectors say.
    pub(super) found: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
}

impl Show {
    fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::False => "false",
        }
    }
}

impl Serialize for Show {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Report {
    pub(super) fn new(counts: &Measure, times: &Times, listed: Vec<Listed>) -> Self {
        let by_kind = || counts.by_kind.iter();
        Self {
            recall: counts.private.of_all(),
            recall_by_kind: by_kind().map(|(kind, share)| (kind.clone(), share.of_all())).collect(),
            false_positive_rate: counts.not_private.of_all(),
            text_us: times.mean_us(),
            text_us_p99: times.percentile_us(0.99),
            text_us_p50: times.percentile_us(0.5),
            texts: counts.texts(),
            private: counts.private.texts,
            not_private: counts.not_private.texts,
            found: counts.private.found,
            false_positives: counts.not_private.found,
            texts_by_kind: by_kind().map(|(kind, share)| (kind.clone(), share.texts)).collect(),
            listed,
        }
    }

    /// What a reader of the numbers should know and might not see.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.recall.is_none() {
            notes.push("no text is marked private, so there is no recall; add rows with \"private\": true");
        }
        if self.false_positive_rate.is_none() {
            notes.push(
                "every text is marked private, so there is no false positive rate; add rows with \"private\": false",
            );
        }
        if cfg!(debug_assertions) {
            notes.push("a debug build: times are those of a release build several times over");
        }
        notes.into_iter().map(str::to_owned).collect()
    }

    fn rates(&self) -> comfy_table::Table {
        let mut table = output::table(&["what", "found", "texts", "share"]);
        let mut row = |what: &str, share: Share| {
            let rate = share.of_all().map_or("-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
            table.add_row([what, &share.found.to_string(), &share.texts.to_string(), &rate]);
        };
        row("private", Share { found: self.found, texts: self.private });
        row("not private", Share { found: self.false_positives, texts: self.not_private });
        for (kind, rate) in &self.recall_by_kind {
            let texts = self.texts_by_kind[kind];
            let found = (rate.unwrap_or_default() * texts as f64).round() as u64;
            row(&format!("  with {kind}"), Share { found, texts });
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text_us, text_us_p50, text_us_p99, .. } = self;
        writeln!(to, "{}", self.rates().trim_fmt())?;
        write!(to, "\na text takes {text_us:.1} µs (p50 {text_us_p50:.1}, p99 {text_us_p99:.1})")?;
        if self.listed.is_empty() {
            return Ok(());
        }
        let mut table = output::table(&["which", "id", "holds", "found", "text"]);
        for listed in &self.listed {
            let text = listed.text.as_deref().map(|text| output::beginning(text, usize::MAX));
            table.add_row([
                listed.show.as_str(),
                &listed.id,
                &listed.kinds.join(", "),
                &listed.found.join(", "),
                &text.unwrap_or_default(),
            ]);
        }
        write!(to, "\n\n{}", table.trim_fmt())
    }
}
