//! Shows how far a long step has come: a log line at each quarter, and a bar where a person looks on.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Parts of a whole that get a log line.
const QUARTERS: u32 = 4;
/// Resolution of the bar.
const BAR_STEPS: u64 = 1_000;

/// One long step. Its bar goes away at the end.
#[derive(Debug)]
pub struct Progress {
    step: &'static str,
    model: String,
    logged_quarters: u32,
    bar: ProgressBar,
}

impl Progress {
    /// Starts a step, such as `loading`, for a model.
    pub fn new(step: &'static str, model: &str) -> Self {
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new(BAR_STEPS) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3} %") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("{step} {model}"));
        Self { step, model: model.into(), logged_quarters: 0, bar }
    }

    /// Tells how much is done, 0 to 1.
    pub fn tell(&mut self, done: f32) {
        self.bar.set_position((done.clamp(0.0, 1.0) * BAR_STEPS as f32) as u64);
        if let Some(quarters) = newly_reached(self.logged_quarters, done) {
            self.logged_quarters = quarters;
            tracing::info!(model = %self.model, percent = quarters * 100 / QUARTERS, "{}", self.step);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The quarters that `done` has reached, if these are more than `before`.
fn newly_reached(before: u32, done: f32) -> Option<u32> {
    let quarters = (done.clamp(0.0, 1.0) * QUARTERS as f32) as u32;
    (quarters > before).then_some(quarters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quarter_is_told_once() {
        let mut told = Vec::new();
        let mut before = 0;
        for step in 0..=100 {
            if let Some(quarters) = newly_reached(before, step as f32 / 100.0) {
                before = quarters;
                told.push(quarters);
            }
        }
        assert_eq!(told, [1, 2, 3, 4]);
        assert_eq!(newly_reached(0, f32::NAN), None);
    }
}
