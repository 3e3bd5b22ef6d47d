//! Reads tasks whose outcomes are known: one JSON object a line, plain or compressed.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};
use trilane_protocol::LaneName;
use trilane_routing::evaluate::{Outcome, Row};

/// Largest line, bytes: as large as any task may be, and more than outcomes need.
const MAX_ROW_BYTES: u64 = 4 << 20;

/// Most rows of all files together. Each takes a few kilobytes of memory.
const MAX_ROWS: usize = 200_000;

/// Most text of all rows together, bytes.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// Files that are read together, and so may not share an id.
#[derive(Debug, Default)]
pub(super) struct Reader {
    ids: HashSet<String>,
    text_bytes: usize,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRead {
    #[error("cannot open {}", .file.display())]
    Open { file: PathBuf, source: std::io::Error },
    #[error("{} line {line}: cannot be read; is the file whole, and compressed if its name ends in .gz?", .file.display())]
    Read { file: PathBuf, line: usize, source: std::io::Error },
    #[error("{} line {line}: {problem}", .file.display())]
    Row { file: PathBuf, line: usize, problem: Problem },
}

/// What is wrong with a row. Never repeats its prompt.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Problem {
    #[error("longer than {MAX_ROW_BYTES} bytes; shorten it or leave it out")]
    TooLong,
    #[error("row {} of all files; give at most {MAX_ROWS}", MAX_ROWS + 1)]
    TooMany,
    #[error("the prompts together are longer than {MAX_TEXT_BYTES} bytes; give fewer rows")]
    TooMuchText,
    #[error(
        "no JSON object (column {column}); write one object a line, with numbers only: NaN and Infinity are no JSON"
    )]
    Json { column: usize },
    #[error("`{field}` is missing or not {expected}; add it")]
    Field { field: &'static str, expected: &'static str },
    #[error("the prompt is empty; leave the row out")]
    EmptyPrompt,
    #[error(
        "the id `{0}` occurs a second time; a task may be measured once, and not where it was learned from"
    )]
    Duplicate(String),
    #[error("`{0}` is no name of a lane; use 1 to 32 characters out of a-z 0-9 -")]
    Lane(String),
    #[error(
        "the `quality` of {0} is missing or not a number from 0 to 1; give the share of the answer that was right"
    )]
    Quality(LaneName),
    #[error("the `cost_usd` of {0} is not a number from 0 on; give dollars, or leave it out")]
    Cost(LaneName),
}

impl Reader {
    /// All rows of `files`, in order.
    pub(super) fn read(&mut self, files: &[PathBuf]) -> Result<Vec<Row>, NotRead> {
        let mut rows = Vec::new();
        for file in files {
            self.read_file(file, &mut rows)?;
        }
        Ok(rows)
    }

    fn read_file(&mut self, file: &Path, rows: &mut Vec<Row>) -> Result<(), NotRead> {
        let source = File::open(file).map_err(|source| NotRead::Open { file: file.into(), source })?;
        let is_compressed = file.extension().is_some_and(|extension| extension == "gz");
        let plain: Box<dyn Read> =
            if is_compressed { Box::new(MultiGzDecoder::new(source)) } else { Box::new(source) };
        let mut plain = BufReader::new(plain);
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let read = (&mut plain).take(MAX_ROW_BYTES + 1).read_until(b'\n', &mut text);
            let read = read.map_err(|source| NotRead::Read { file: file.into(), line, source })?;
            if read == 0 {
                break;
            }
            if !text.trim_ascii().is_empty() {
                let row = self.row(&text);
                rows.push(row.map_err(|problem| NotRead::Row { file: file.into(), line, problem })?);
            }
        }
        Ok(())
    }

    fn row(&mut self, line: &[u8]) -> Result<Row, Problem> {
        if line.len() as u64 > MAX_ROW_BYTES {
            return Err(Problem::TooLong);
        }
        let row = row(line)?;
        self.text_bytes += row.prompt.len();
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err(Problem::TooMuchText);
        }
        if !self.ids.insert(row.id.clone()) {
            return Err(Problem::Duplicate(row.id));
        }
        if self.ids.len() > MAX_ROWS {
            return Err(Problem::TooMany);
        }
        Ok(row)
    }
}

fn row(line: &[u8]) -> Result<Row, Problem> {
    let mut fields: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| Problem::Json { column: error.column() })?;
    let mut text = |field| match fields.remove(field) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Problem::Field { field, expected: "a text" }),
    };
    let (id, prompt) = (text("id")?, text("prompt")?);
    if prompt.trim().is_empty() {
        return Err(Problem::EmptyPrompt);
    }
    let topic = fields.get("topic").and_then(Value::as_str).map(str::to_owned);
    let Some(Value::Object(lanes)) = fields.remove("outcomes") else {
        return Err(Problem::Field { field: "outcomes", expected: "an object by lane" });
    };
    let outcomes = lanes.into_iter().map(|(lane, outcome)| named_outcome(&lane, &outcome));
    Ok(Row { id, prompt, topic, outcomes: outcomes.collect::<Result<BTreeMap<_, _>, _>>()? })
}

fn named_outcome(lane: &str, outcome: &Value) -> Result<(LaneName, Outcome), Problem> {
    let lane = LaneName::new(lane).map_err(|_| Problem::Lane(lane.to_owned()))?;
    let quality = outcome.get("quality").and_then(Value::as_f64);
    let Some(quality) = quality.filter(|quality| (0.0..=1.0).contains(quality)) else {
        return Err(Problem::Quality(lane));
    };
    let cost_usd = match outcome.get("cost_usd") {
        None | Some(Value::Null) => None,
        Some(cost) => match cost.as_f64().filter(|usd| *usd >= 0.0 && usd.is_finite()) {
            Some(usd) => Some(usd),
            None => return Err(Problem::Cost(lane)),
        },
    };
    Ok((lane, Outcome { quality, cost_usd }))
}
