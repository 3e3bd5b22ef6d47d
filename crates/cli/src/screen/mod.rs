//! `trilane screen`: measures the detectors on labelled texts; needs no server, no key and no network.

mod report;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use trilane_routing::detect::Detectors;
use trilane_routing::detect::measure::{Measure, Times, Verdict};
use trilane_routing::screen::detected_in_messages;

use crate::output::print;
use crate::rows::{Row, RowError, Rows};
use report::{Listed, Report};

/// Measures how much of what must stay private the detectors find, and what they raise for nothing.
///
/// Each line of a file is a JSON object, the file plain or gzipped:
///
/// {"id": "7", "text": "Call Ada on 555-0100", "kinds": ["PERSON", "PHONE"], "private": true}
///
/// `text` may be a list too: the messages of one conversation. `kinds` says what the text holds, under names of
/// your own, and may be empty. A text counts as found when the detectors alone would keep it local; tags and defaults
/// play no part. Other fields are ignored.
#[derive(Debug, Clone, Args)]
#[command(verbatim_doc_comment)]
pub struct ScreenArgs {
    /// Files of labelled texts; may be given several times.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Also list these texts by their ids: private ones that were missed, or others that were found.
    #[arg(long, value_name = "WHICH")]
    show: Vec<Show>,
    /// List them with their text. It may be private: mind where the output goes.
    #[arg(long, requires = "show")]
    with_text: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Which texts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// Private, and not found.
    Missed,
    /// Not private, and found.
    False,
}

/// One labelled text.
#[derive(Debug, Deserialize)]
struct Labelled {
    id: String,
    text: Text,
    kinds: Vec<String>,
    private: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
enum Text {
    One(String),
    Messages(Vec<String>),
}

impl Text {
    fn messages(&self) -> Vec<&str> {
        match self {
            Self::One(text) => vec![text],
            Self::Messages(texts) => texts.iter().map(String::as_str).collect(),
        }
    }
}

/// Runs `trilane screen`.
///
/// # Errors
/// A file or row that does not read, with its line; a text without a word, an id that comes twice, no row at all.
pub fn run(args: &ScreenArgs) -> anyhow::Result<()> {
    let report = measure(args)?;
    for note in report.notes() {
        eprintln!("{note}");
    }
    print(&report, args.json, || report.to_string())
}

fn measure(args: &ScreenArgs) -> anyhow::Result<Report> {
    let mut measured = Measured::default();
    for file in &args.data {
        for row in Rows::open(file)? {
            measured.take(file, row?, args)?;
        }
    }
    if measured.counts.texts() == 0 {
        bail!("found no row, expected one JSON object a line with `id`, `text`, `kinds` and `private`");
    }
    Ok(Report::new(&measured.counts, &measured.times, measured.listed))
}

/// What has been measured so far.
#[derive(Debug, Default)]
struct Measured {
    counts: Measure,
    times: Times,
    listed: Vec<Listed>,
    /// Where each id stands: the file's place among the arguments is not needed, its name is.
    places: HashMap<String, (PathBuf, usize)>,
}

impl Measured {
    fn take(&mut self, file: &Path, row: Row<Labelled>, args: &ScreenArgs) -> Result<(), RowError> {
        let Row { line, row } = row;
        let error = |problem: String| RowError { file: file.to_owned(), line: Some(line), problem };
        let messages = row.text.messages();
        if messages.iter().all(|text| text.trim().is_empty()) {
            return Err(error("field `text`: empty; leave the row out".to_owned()));
        }
        if let Some((file, line)) = self.places.insert(row.id.clone(), (file.to_owned(), line)) {
            let first = format!("{}, line {line}", file.display());
            return Err(error(format!("field `id`: {first} has the same; give each text an id of its own")));
        }
        let detectors = Detectors::shared();
        let start = Instant::now();
        let found = detected_in_messages(&messages, detectors);
        self.times.add(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let is_found = !found.is_empty();
        let verdict = Verdict { kinds: &row.kinds, is_private: row.private, is_found };
        self.counts.add(verdict).map_err(|problem| error(format!("field `kinds`: {problem}")))?;
        let show = if row.private { Show::Missed } else { Show::False };
        if is_found != row.private && args.show.contains(&show) {
            let text = args.with_text.then(|| messages.join("\n\n"));
            let found = found.into_keys().collect();
            self.listed.push(Listed { id: row.id, show, kinds: row.kinds, found, text });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
