//! Files of JSON lines, plain or gzipped, read a row at a time within bounds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use trilane_protocol::Encoding;

/// Longest line, bytes: as long as the longest task, and then some. A longer one is an error.
const MAX_LINE_BYTES: usize = 4 << 20;

/// Most rows of one file, so that a small gzip file cannot keep the command busy for good.
const MAX_ROWS: usize = 5_000_000;

/// The rows of one file, in order. Blank lines are skipped; nothing follows an error.
pub(crate) struct Rows<T> {
    file: PathBuf,
    lines: Box<dyn BufRead>,
    line: usize,
    rows: usize,
    is_over: bool,
    row: PhantomData<T>,
}

/// One row, and the line that it stands on, from 1.
#[derive(Debug)]
pub(crate) struct Row<T> {
    pub(crate) line: usize,
    pub(crate) row: T,
}

/// A file or a row that does not read. It never repeats what a row says.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", file.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub(crate) struct RowError {
    pub(crate) file: PathBuf,
    /// From 1; none where it is about the file as a whole.
    pub(crate) line: Option<usize>,
    pub(crate) problem: String,
}

impl<T: DeserializeOwned> Rows<T> {
    /// Opens `file`. Whether it is gzipped is told by its first two bytes, not by its name.
    ///
    /// # Errors
    /// [`RowError`] where it cannot be opened or read.
    pub(crate) fn open(file: &Path) -> Result<Self, RowError> {
        let failed = |error: io::Error| RowError {
            file: file.to_owned(),
            line: None,
            problem: format!("cannot be read: {error}"),
        };
        let lines = decompressed(File::open(file).map_err(failed)?).map_err(failed)?;
        Ok(Self { file: file.to_owned(), lines, line: 0, rows: 0, is_over: false, row: PhantomData })
    }

    /// An error about the line that was read last.
    fn error(&self, problem: impl Into<String>) -> RowError {
        RowError { file: self.file.clone(), line: Some(self.line), problem: problem.into() }
    }

    fn read(&mut self) -> Result<Option<Row<T>>, RowError> {
        loop {
            self.line += 1;
            let mut bytes = Vec::new();
            let mut bounded = (&mut self.lines).take(MAX_LINE_BYTES as u64 + 1);
            let read = bounded.read_until(b'\n', &mut bytes);
            match read.map_err(|error| self.error(format!("cannot be read: {error}")))? {
                0 => return Ok(None),
                more if more > MAX_LINE_BYTES => {
                    let problem =
                        format!("longer than {MAX_LINE_BYTES} bytes; expected one JSON object a line");
                    return Err(self.error(problem));
                }
                _ if bytes.trim_ascii().is_empty() => {}
                _ => return self.decode(&bytes).map(Some),
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<Row<T>, RowError> {
        self.rows += 1;
        if self.rows > MAX_ROWS {
            return Err(self.error(format!("more than {MAX_ROWS} rows; split the file")));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            self.error(format!(
                "not UTF-8 at byte {} of the line; save the file as UTF-8",
                error.valid_up_to()
            ))
        })?;
        let text = if self.line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let row = Encoding::Json.decode(text.as_bytes()).map_err(|error| {
            let problem = error.to_string();
            // Where it stands in its line, which is the first of what serde sees.
            self.error(problem.replacen(" at line 1 column ", ", column ", 1))
        })?;
        Ok(Row { line: self.line, row })
    }
}

impl<T: DeserializeOwned> Iterator for Rows<T> {
    type Item = Result<Row<T>, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.read().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The first two bytes of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

fn decompressed(mut file: File) -> io::Result<Box<dyn BufRead>> {
    let mut head = Vec::new();
    (&mut file).take(GZIP.len() as u64).read_to_end(&mut head)?;
    let is_gzip = head == GZIP;
    let whole: Chain<Cursor<Vec<u8>>, File> = Cursor::new(head).chain(file);
    Ok(if is_gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(whole))))
    } else {
        Box::new(BufReader::new(whole))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Named {
        name: String,
    }

    fn read(bytes: &[u8]) -> Result<Vec<(usize, String)>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let rows = Rows::<Named>::open(file.path()).unwrap();
        let named = rows.map(|row| row.map(|row| (row.line, row.row.name)));
        let place = format!("{}, ", file.path().display());
        named.collect::<Result<_, _>>().map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn plain_and_gzipped_files_read_the_same_and_blank_lines_are_skipped() {
        let text = "\u{feff}{\"name\":\"a\"}\r\n\n{\"name\":\"b\",\"more\":1}".as_bytes();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text).unwrap();
        let expected = vec![(1, "a".to_owned()), (3, "b".to_owned())];
        assert_eq!(read(text), Ok(expected.clone()));
        assert_eq!(read(&gzip.finish().unwrap()), Ok(expected));
        assert_eq!(read(b""), Ok(vec![]));
    }

    #[test]
    fn a_bad_row_is_named_by_its_line_and_never_repeated() {
        let error = |line: &[u8]| read(&[b"{\"name\":\"a\"}\n", line].concat()).unwrap_err();
        assert_eq!(error(b"{}"), "line 2: missing field `name`, column 2");
        assert!(error(b"[1]").starts_with("line 2: expected a JSON object"));
        assert!(error(b"{\"name\":\"\xff\"}").starts_with("line 2: not UTF-8 at byte 9"));
        assert!(!error(b"{\"name\":{\"k\":\"tell nobody\"}}").contains("nobody"));
        assert!(error(&vec![b' '; MAX_LINE_BYTES + 1]).starts_with("line 2: longer than"));
    }

    #[test]
    fn a_broken_gzip_file_and_one_that_is_not_there_are_told() {
        assert!(read(&[0x1f, 0x8b, 8, 0, 1]).unwrap_err().starts_with("line 1: cannot be read"));
        let Err(error) = Rows::<Named>::open(Path::new("/nowhere/rows.jsonl")) else { panic!("opened") };
        assert!(error.to_string().starts_with("/nowhere/rows.jsonl: cannot be read"));
    }
}
