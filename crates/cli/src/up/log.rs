//! What a process says: into a file of bounded size, on stderr where that is wanted, and its end for messages.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

/// A log file that is larger is put aside as `NAME.log.old`, in place of the one before, bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A line is cut here, bytes.
const MAX_LINE_BYTES: usize = 16 << 10;

/// Lines that are kept for messages.
const TAIL_LINES: usize = 12;

/// Bytes read at once.
const READ_BYTES: usize = 8 << 10;

/// The log of one process.
#[derive(Debug)]
pub(super) struct Log {
    name: String,
    path: PathBuf,
    file: Option<File>,
    written: u64,
    to_stderr: bool,
    tail: VecDeque<String>,
}

impl Log {
    /// A log that goes on where the file ends.
    pub(super) fn new(name: &str, folder: &std::path::Path, to_stderr: bool) -> Self {
        let path = folder.join(format!("{name}.log"));
        Self { name: name.to_owned(), path, file: None, written: 0, to_stderr, tail: VecDeque::new() }
    }

    /// Takes what a process says until it has ended.
    pub(super) async fn copy(&mut self, source: impl AsyncRead + Unpin) {
        self.tail.clear();
        let mut source = BufReader::new(source);
        let mut chunk = vec![0; READ_BYTES];
        let mut line = Vec::new();
        while let Ok(read @ 1..) = source.read(&mut chunk).await {
            for &byte in &chunk[..read] {
                if byte != b'\n' {
                    line.push(byte);
                }
                if byte == b'\n' || line.len() >= MAX_LINE_BYTES {
                    self.take(&line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.take(&line);
        }
    }

    /// Its last lines, and where the rest is.
    pub(super) fn message(&self) -> String {
        let tail: Vec<String> = self.tail.iter().map(|line| format!("  {line}")).collect();
        let shown = if tail.is_empty() { "  (it said nothing)".to_owned() } else { tail.join("\n") };
        format!("{shown}\n  log: {}", self.path.display())
    }

    fn take(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        if self.to_stderr {
            eprintln!("{}: {line}", self.name);
        }
        self.write(&line);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// A log that cannot be written is no reason to stop the process.
    fn write(&mut self, line: &str) {
        if self.written >= MAX_FILE_BYTES {
            self.file = None;
            let _ = std::fs::rename(&self.path, self.path.with_extension("log.old"));
        }
        if self.file.is_none() {
            self.file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
            let length = |file: &File| file.metadata().map_or(0, |data| data.len());
            self.written = self.file.as_ref().map_or(0, length);
        }
        if let Some(file) = &mut self.file
            && writeln!(file, "{line}").is_ok()
        {
            self.written += line.len() as u64 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_has_everything_and_the_message_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new("worker", folder.path(), false);
        let said: String = (0..30).map(|index| format!("line {index}\n")).collect();
        log.copy(said.as_bytes()).await;
        assert_eq!(std::fs::read_to_string(folder.path().join("worker.log")).unwrap(), said);
        let message = log.message();
        assert!(message.contains("line 29") && message.contains("worker.log"), "{message}");
        assert!(!message.contains("line 17\n"), "{message}");
    }

    #[tokio::test]
    async fn a_large_file_is_put_aside_and_a_long_line_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.log");
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES).unwrap();
        let mut log = Log::new("worker", folder.path(), false);
        log.copy([&b"first\n"[..], &[b'x'; MAX_LINE_BYTES + 5], b"\n"].concat().as_slice()).await;
        let lengths: Vec<usize> = std::fs::read_to_string(&path).unwrap().lines().map(str::len).collect();
        assert_eq!(lengths, [MAX_LINE_BYTES, 5]);
        assert!(folder.path().join("worker.log.old").exists());
    }
}
