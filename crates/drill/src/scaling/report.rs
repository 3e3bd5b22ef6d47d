//! The report: one JSON object for programs, tables in Markdown for people.

use std::fmt::Write;

use serde::Serialize;

use super::change::{Change, HandBack};
use super::load::Fate;
use super::stand::Ground;
use super::{classifiers, growth};

/// What the benchmark comes to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Cores of the machine that all processes share.
    pub cores: usize,
    /// `debug` or `release`.
    pub build: &'static str,
    /// Tasks that each worker runs at once.
    pub slots_per_worker: usize,
    /// How long the model sleeps.
    pub sleep_ms: u128,
    /// More and more workers.
    pub workers: Vec<growth::Row>,
    /// A worker that joins and leaves.
    pub join_and_leave: Change,
    /// A worker that leaves more than it can finish.
    pub hand_back: HandBack,
    /// More and more classifiers beside the server.
    pub near_classifiers: Vec<classifiers::Row>,
    /// More and more behind slow connections.
    pub far_classifiers: Vec<classifiers::Row>,
}

impl Report {
    /// Sums everything up.
    pub fn new(
        ground: &Ground,
        workers: Vec<growth::Row>,
        join_and_leave: Change,
        hand_back: HandBack,
        near_classifiers: Vec<classifiers::Row>,
        far_classifiers: Vec<classifiers::Row>,
    ) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            slots_per_worker: ground.slots,
            sleep_ms: ground.sleep.as_millis(),
            workers,
            join_and_leave,
            hand_back,
            near_classifiers,
            far_classifiers,
        }
    }

    /// What does not hold, one sentence each.
    pub fn faults(&self, at_least: f64) -> Vec<String> {
        let mut faults = Vec::new();
        if let (Some(one), Some(most)) = (self.workers.first(), self.workers.last()) {
            let times = most.tasks_per_s / one.tasks_per_s;
            if most.workers > one.workers && times < at_least {
                faults.push(format!(
                    "{} workers are {times:.2} times as fast as one, not {at_least}",
                    most.workers
                ));
            }
        }
        let rows = self.workers.iter().map(|row| (format!("{} workers", row.workers), row.fate));
        let changes = [("join and leave", self.join_and_leave.fate), ("hand back", self.hand_back.fate)];
        for (name, fate) in rows.chain(changes.map(|(name, fate)| (name.to_owned(), fate))) {
            let Fate { lost, doubled, unanswered, .. } = fate;
            if lost + doubled + unanswered > 0 {
                faults.push(format!(
                    "{name}: {lost} lost, {doubled} answered twice, {unanswered} not answered"
                ));
            }
        }
        let rows = self.near_classifiers.iter().chain(&self.far_classifiers);
        for row in rows.filter(|row| row.lost + row.doubled > 0) {
            faults.push(format!(
                "{} classifiers: {} lost, {} on the lane twice",
                row.classifiers, row.lost, row.doubled
            ));
        }
        if self.hand_back.held == 0 {
            faults.push("hand back: the worker that left has handed nothing back".to_owned());
        }
        faults
    }

    /// For people.
    pub fn tables(&self) -> String {
        let mut text = format!(
            "{} cores, {} build; {} slots a worker; the model sleeps {} ms\n\n{}\n",
            self.cores,
            self.build,
            self.slots_per_worker,
            self.sleep_ms,
            self.worker_table()
        );
        text.push_str(&self.sentences());
        for rows in [&self.near_classifiers, &self.far_classifiers] {
            let _ = write!(text, "\n{}", classifier_table(rows));
        }
        text
    }

    fn worker_table(&self) -> String {
        let header = ["workers", "slots", "tasks", "seconds", "tasks/s", "speed-up", "of the ideal"];
        let rows = self.workers.iter().map(|row| {
            let one = self.workers.first().map_or(row.tasks_per_s, |first| first.tasks_per_s);
            [
                row.workers.to_string(),
                row.slots.to_string(),
                row.fate.tasks.to_string(),
                format!("{:.1}", row.seconds),
                format!("{:.1}", row.tasks_per_s),
                format!("{:.2}", row.tasks_per_s / one),
                format!("{:.0} %", 100.0 * row.tasks_per_s / row.ideal_tasks_per_s),
            ]
        });
        table(header, rows)
    }

    fn sentences(&self) -> String {
        let Change { alone_per_s, first_task_s, all_slots_s, both_per_s, left_s, alone_again_per_s, fate } =
            &self.join_and_leave;
        let HandBack { held, grace_s, elsewhere_s, since_sigterm_s, fate: back } = &self.hand_back;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "- A second worker joins: its first task {first_task_s:.2} s after its process starts, all slots busy after \
             {all_slots_s:.2} s; {alone_per_s:.1} tasks/s become {both_per_s:.1}."
        );
        let _ = writeln!(
            text,
            "- It leaves on SIGTERM: ended after {left_s:.2} s with all that it ran; {alone_again_per_s:.1} tasks/s again. \
             {}.",
            ending(fate)
        );
        let _ = writeln!(
            text,
            "- A worker leaves {held} tasks that outlast its grace time of {grace_s:.0} s: the last of them runs elsewhere \
             {:.0} ms after it is let go, {since_sigterm_s:.2} s after SIGTERM. {}.",
            elsewhere_s * 1_000.0,
            ending(back)
        );
        text
    }
}

fn classifier_table(rows: &[classifiers::Row]) -> String {
    let one = rows.first().map_or(1.0, |first| first.tasks_per_s);
    let cells = rows.iter().map(|row| {
        [
            row.classifiers.to_string(),
            format!("{} ms", row.distance_ms),
            row.tasks.to_string(),
            format!("{:.0}", row.tasks_per_s),
            format!("{:.2}", row.tasks_per_s / one),
        ]
    });
    table(["classifiers", "away", "tasks", "routed/s", "speed-up"], cells)
}

fn ending(fate: &Fate) -> String {
    let Fate { tasks, lost, doubled, second_attempts, .. } = fate;
    format!("Of {tasks} tasks {lost} lost, {doubled} answered twice, {second_attempts} second attempts")
}

/// A table in Markdown whose columns line up.
fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> String {
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let mut text = String::new();
    for (position, row) in rows.iter().enumerate() {
        let cells = row.iter().enumerate().map(|(column, cell)| format!(" {cell:>0$} |", width(column)));
        let _ = writeln!(text, "|{}", cells.collect::<String>());
        if position == 0 {
            let lines = (0..COLUMNS).map(|column| format!(" {}: |", "-".repeat(width(column) - 1)));
            let _ = writeln!(text, "|{}", lines.collect::<String>());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker_row(workers: usize, tasks_per_s: f64) -> growth::Row {
        let fate = Fate { tasks: workers * 10, ..Fate::default() };
        let ideal_tasks_per_s = workers as f64 * 20.0;
        growth::Row { workers, slots: workers * 4, seconds: 1.0, tasks_per_s, ideal_tasks_per_s, fate }
    }

    fn report(eight_per_s: f64) -> Report {
        let change = Change {
            alone_per_s: 1.0,
            first_task_s: 1.0,
            all_slots_s: 1.0,
            both_per_s: 2.0,
            left_s: 1.0,
            alone_again_per_s: 1.0,
            fate: Fate::default(),
        };
        let fate = Fate { second_attempts: 4, ..Fate::default() };
        let hand_back = HandBack { held: 4, grace_s: 1.0, elsewhere_s: 0.01, since_sigterm_s: 1.01, fate };
        Report {
            cores: 2,
            build: "debug",
            slots_per_worker: 4,
            sleep_ms: 200,
            workers: vec![worker_row(1, 16.0), worker_row(8, eight_per_s)],
            join_and_leave: change,
            hand_back,
            far_classifiers: Vec::new(),
            near_classifiers: vec![classifiers::Row {
                classifiers: 1,
                distance_ms: 0,
                tasks: 9,
                tasks_per_s: 300.0,
                lost: 0,
                doubled: 0,
            }],
        }
    }

    #[test]
    fn the_speed_up_is_held_against_one_worker() {
        assert_eq!(report(16.0 * 7.0).faults(7.0), Vec::<String>::new());
        assert_eq!(report(16.0 * 6.9).faults(7.0), ["8 workers are 6.90 times as fast as one, not 7"]);
        let table = report(112.0).worker_table();
        let cells: Vec<_> = table.lines().last().unwrap().split('|').map(str::trim).collect();
        assert_eq!(cells[1..8], ["8", "32", "80", "1.0", "112.0", "7.00", "70 %"]);
    }

    #[test]
    fn a_task_that_is_lost_or_doubled_anywhere_is_a_fault() {
        let faults = |change: fn(&mut Report)| {
            let mut report = report(120.0);
            change(&mut report);
            report.faults(7.0).len()
        };
        assert_eq!(faults(|report| report.workers[1].fate.lost = 1), 1);
        assert_eq!(faults(|report| report.join_and_leave.fate.doubled = 1), 1);
        assert_eq!(faults(|report| report.hand_back.fate.unanswered = 1), 1);
        assert_eq!(faults(|report| report.near_classifiers[0].doubled = 1), 1);
        assert_eq!(faults(|report| report.hand_back.held = 0), 1);
    }
}
