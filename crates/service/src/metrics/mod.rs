//! The fleet's metrics: each is declared once, with its kind, labels and help, and nothing else can be emitted.
//!
//! * [`catalogue`]: every metric
//! * [`metric`]: what a metric is, and how it is emitted
//! * [`labels`]: what may stand in a label, and what bounds it
//! * `names`: names that nobody here has chosen, bounded
//! * [`finished`]: what the end of a task counts as

pub mod catalogue;
pub mod finished;
pub mod labels;
pub mod metric;
mod names;

use crate::config::Config;
use labels::{Process, Version};

pub use finished::count_finished;

/// Tells the recorder what there is, and the labels which names they may take. Counters without labels begin at 0, so
/// that their first increment is seen as one.
pub fn describe(config: &Config, process: Process) {
    names::learn(&config.registry);
    for description in catalogue::all() {
        description.describe();
        if description.from.contains(&process) {
            description.begin();
        }
    }
    catalogue::BUILD_INFO.set(1.0, (process, Version::of(env!("CARGO_PKG_VERSION"))));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use metrics_exporter_prometheus::PrometheusHandle;
    use trilane_protocol::{AgentName, Status};

    use super::catalogue::{QUEUE_DEPTH, TASK_WAIT, TASKS};
    use super::labels::{Agent, Lane};
    use super::names::MAX_OTHER_AGENTS;
    use super::*;
    use crate::{config, telemetry};

    /// What is served after `emit`, by a process of its own.
    fn served(process: Process, emit: impl FnOnce(&PrometheusHandle)) -> String {
        let recorder = telemetry::builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe(&config::load_from(None, []).unwrap(), process);
            emit(&handle);
        });
        handle.render()
    }

    #[test]
    fn a_thousand_agents_leave_as_many_series_as_the_bound_allows() {
        let text = served(Process::Classifier, |_| {
            for index in 0..1_000 {
                let agent = AgentName::new(format!("made-up-{index}")).unwrap();
                TASKS.add(1, (Lane::intake(), Status::Done.into(), Agent::of(&agent)));
            }
        });
        let series: Vec<_> = text.lines().filter(|line| line.starts_with("trilane_tasks_total{")).collect();
        assert_eq!(series.len(), MAX_OTHER_AGENTS + 1);
        let rest = series.iter().find(|line| line.contains(r#"agent="other""#)).unwrap();
        assert!(rest.ends_with(&format!(" {}", 1_000 - MAX_OTHER_AGENTS)), "none is lost: {rest}");
    }

    #[test]
    fn everything_is_served_with_its_help_and_type_and_buckets_by_its_unit() {
        let text = served(Process::Classifier, |_| {
            TASK_WAIT.record(3000.0, Lane::intake());
        });
        let waits = "trilane_task_wait_seconds";
        assert!(text.contains(&format!("# HELP {waits} From publish to the start of the last attempt.\n")));
        assert!(text.contains(&format!("# TYPE {waits} histogram\n")));
        assert!(text.contains(&format!("{waits}_bucket{{lane=\"intake\",le=\"1800\"}} 0\n")), "{text}");
        assert!(text.contains(&format!("{waits}_bucket{{lane=\"intake\",le=\"7200\"}} 1\n")), "{text}");
    }

    #[test]
    fn a_process_begins_with_its_counters_at_0_and_says_what_it_is() {
        let text = served(Process::Classifier, |_| {});
        assert!(text.contains("\ntrilane_parked_total 0\n"), "{text}");
        assert!(!text.contains("trilane_ambiguous_calls_total"), "that is the cloud worker's");
        let version = env!("CARGO_PKG_VERSION");
        let info = format!("trilane_build_info{{process=\"classifier\",version=\"{version}\"}} 1\n");
        assert!(text.contains(&info), "{text}");
    }

    #[test]
    fn what_nobody_stands_by_any_more_is_no_number() {
        let text = served(Process::Monitor, |_| {
            QUEUE_DEPTH.show([(Lane::intake(), Some(4.0)), (Lane::place("cloud"), Some(5.0))]);
            QUEUE_DEPTH.show([(Lane::intake(), None)]);
        });
        let mut series: Vec<_> =
            text.lines().filter(|line| line.starts_with("trilane_queue_depth{")).collect();
        series.sort_unstable();
        assert_eq!(
            series,
            ["trilane_queue_depth{lane=\"cloud\"} NaN", "trilane_queue_depth{lane=\"intake\"} NaN"]
        );
    }

    #[test]
    fn each_metric_is_declared_once_and_named_as_prometheus_wants_it() {
        let all = catalogue::all();
        let names: BTreeSet<_> = all.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all.len());
        for metric in all {
            let is_counter = metric.kind == metric::Kind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
            assert!(metric.name.starts_with("trilane_") && !metric.from.is_empty(), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
