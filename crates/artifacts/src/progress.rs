//! Progress of a fetch: a bar where stderr is a terminal, a line for each tenth elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress(Display);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Display {
    Bar,
    Lines,
    Hidden,
}

impl Progress {
    /// On stderr: a bar with bytes, speed and time left where it is a terminal, else a line each 10 %.
    pub fn stderr() -> Self {
        Self(if std::io::stderr().is_terminal() { Display::Bar } else { Display::Lines })
    }

    /// Nowhere.
    pub fn hidden() -> Self {
        Self(Display::Hidden)
    }

    /// Starts to measure one file.
    pub(crate) fn meter(self, label: &str) -> Meter {
        let bar = match self.0 {
            Display::Bar => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            Display::Lines | Display::Hidden => ProgressBar::hidden(),
        };
        bar.set_style(style(SPINNER));
        bar.set_prefix(label.to_owned());
        Meter {
            display: self.0,
            label: label.to_owned(),
            bar,
            count: Mutex::new(Count::starting_now(0, None)),
        }
    }
}

const BAR: &str = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
const SPINNER: &str = "{prefix} {bytes} {bytes_per_sec}";

/// The templates are constants, so the plain bar is never shown; it spares a panic where one is mistyped.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Progress of one file.
#[derive(Debug)]
pub(crate) struct Meter {
    display: Display,
    label: String,
    bar: ProgressBar,
    count: Mutex<Count>,
}

#[derive(Debug)]
struct Count {
    started: Instant,
    from: u64,
    position: u64,
    total: Option<u64>,
}

impl Count {
    fn starting_now(from: u64, total: Option<u64>) -> Self {
        Self { started: Instant::now(), from, position: from, total }
    }
}

impl Meter {
    /// Says how many bytes there will be, where that is known, and how many an earlier fetch left.
    pub(crate) fn begin(&self, from: u64, total: Option<u64>) {
        self.with_count(|count| *count = Count::starting_now(from, total));
        self.bar.set_position(from);
        if let Some(total) = total {
            self.bar.set_length(total);
            self.bar.set_style(style(BAR));
        }
        self.bar.reset_eta();
    }

    /// Says how many bytes are there.
    pub(crate) fn set_position(&self, position: u64) {
        self.bar.set_position(position);
        let line = self.with_count(|count| {
            let before = std::mem::replace(&mut count.position, position);
            let tenth = tenth_reached(before, position, count.total?)?;
            Some(progress_line(tenth, position, count.from, count.started.elapsed().as_secs_f64()))
        });
        if let (Display::Lines, Some(line)) = (self.display, line) {
            self.print(&line);
        }
    }

    /// Says something once, above the bar.
    pub(crate) fn note(&self, message: &str) {
        match self.display {
            Display::Bar => self.bar.println(format!("{}: {message}", self.label)),
            Display::Lines => self.print(message),
            Display::Hidden => {}
        }
    }

    fn print(&self, message: &str) {
        // A closed stderr is no reason to stop a download.
        let _ = writeln!(std::io::stderr(), "{}: {message}", self.label);
    }

    fn with_count<T>(&self, change: impl FnOnce(&mut Count) -> T) -> T {
        change(&mut self.count.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The tenth of `total`, in percent, that lies between two positions.
fn tenth_reached(before: u64, after: u64, total: u64) -> Option<u64> {
    let tenth = |position: u64| position.saturating_mul(10) / total.max(1) * 10;
    (tenth(after) > tenth(before)).then(|| tenth(after).min(100))
}

fn progress_line(percent: u64, bytes: u64, from: u64, seconds: f64) -> String {
    let megabytes = bytes as f64 / 1e6;
    let speed = bytes.saturating_sub(from) as f64 / 1e6 / seconds.max(0.001);
    format!("{percent} %, {megabytes:.0} MB, {speed:.1} MB/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenth_is_reported_once() {
        let positions: Vec<u64> = (0..=100).map(|step| step * 37).collect();
        let reported: Vec<u64> =
            positions.windows(2).filter_map(|pair| tenth_reached(pair[0], pair[1], 3_700)).collect();
        assert_eq!(reported, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
        assert_eq!(tenth_reached(0, 5, 0), Some(100));
    }

    #[test]
    fn a_line_has_percent_megabytes_and_speed() {
        assert_eq!(progress_line(30, 30_000_000, 10_000_000, 2.0), "30 %, 30 MB, 10.0 MB/s");
    }
}
