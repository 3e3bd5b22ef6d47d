//! `docs/METRICS.md`, the catalogue, the code that emits, the alert rules, and what processes serve: each held against the
//! others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use trilane_service::metrics::catalogue;
use trilane_service::metrics::labels::Process as Binary;
use trilane_service::metrics::metric::{Description, Kind};
use trilane_testkit::{FleetBuilder, eventually};

use crate::processes::{Process, metrics};

const ALL: [Binary; 7] = [
    Binary::Classifier,
    Binary::LocalWorker,
    Binary::EndpointWorker,
    Binary::CloudWorker,
    Binary::Monitor,
    Binary::Notifier,
    Binary::Learner,
];

/// Labels that Prometheus itself puts on what it scrapes, and rules may use.
const OF_PROMETHEUS: [&str; 1] = ["instance"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rows of the tables of `docs/METRICS.md` whose first cell begins so.
fn rows(begin: &str) -> Vec<Vec<String>> {
    let text = read("docs/METRICS.md");
    let lines = text.lines().filter(|line| line.starts_with(&format!("| `{begin}")));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The row of a metric, but for what to do with it.
fn row(metric: &Description) -> Vec<String> {
    let from = match metric.from.len() == ALL.len() {
        true => "all".to_owned(),
        false => quoted(metric.from.iter().map(|process| process.as_str())),
    };
    vec![
        format!("`{}`", metric.name),
        metric.kind.as_str().to_owned(),
        metric.unit.as_str().to_owned(),
        quoted(metric.labels.iter().map(|label| label.name)),
        from,
        metric.help.to_owned(),
    ]
}

#[test]
fn the_table_says_what_the_catalogue_says() {
    let mut documented = rows("trilane_");
    for row in &mut documented {
        let advice = row.pop().unwrap_or_default();
        assert!(advice.ends_with('.'), "each row ends with what to do: {row:?} {advice}");
    }
    let declared: Vec<_> = catalogue::all().iter().map(row).collect();
    for (documented, declared) in documented.iter().zip(&declared) {
        assert_eq!(documented, declared);
    }
    assert_eq!(documented.len(), declared.len());
}

#[test]
fn the_table_of_labels_says_what_bounds_them() {
    let all = catalogue::all();
    let declared: BTreeMap<_, _> = all
        .iter()
        .flat_map(|metric| metric.labels)
        .map(|label| (format!("`{}`", label.name), label.bound.to_owned()))
        .collect();
    let documented = read("docs/METRICS.md");
    let (_, table) = documented.split_once("| label | values |\n").unwrap();
    let lines = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let documented: BTreeMap<_, _> = lines
        .map(|line| line.trim_matches('|').split_once(" | ").unwrap())
        .map(|(name, bound)| (name.trim().to_owned(), bound.trim().to_owned()))
        .collect();
    assert_eq!(documented, declared);
}

/// Which processes run the code of a crate.
fn processes_of(folder: &str) -> &'static [Binary] {
    match folder {
        "broker" | "service" => &ALL,
        "worker" => &[Binary::LocalWorker, Binary::EndpointWorker, Binary::CloudWorker],
        "classifier" => &[Binary::Classifier],
        "local-worker" => &[Binary::LocalWorker],
        "endpoint-worker" => &[Binary::EndpointWorker],
        "cloud-worker" => &[Binary::CloudWorker],
        "monitor" => &[Binary::Monitor],
        "notifier" => &[Binary::Notifier],
        "learner" => &[Binary::Learner],
        _ => &[],
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => sources(&entry, found),
            false if entry.extension().is_some_and(|extension| extension == "rs") => found.push(entry),
            false => {}
        }
    }
}

/// The program text of each crate, without the catalogue and without unit tests.
fn code() -> Vec<(String, String)> {
    let folders = std::fs::read_dir(repository().join("crates")).unwrap().map(|entry| entry.unwrap());
    let text = |folder: PathBuf| {
        let mut files = Vec::new();
        sources(&folder, &mut files);
        let files = files.into_iter().filter(|file| !file.ends_with("metrics/catalogue.rs"));
        let whole = files.map(|file| std::fs::read_to_string(file).unwrap());
        whole.map(|text| text.split("#[cfg(test)]").next().unwrap().to_owned()).collect::<String>()
    };
    folders
        .map(|folder| (folder.file_name().into_string().unwrap(), text(folder.path().join("src"))))
        .collect()
}

/// Whether a program emits a metric: calls it, or hands it on.
fn emits(text: &str, constant: &str) -> bool {
    let follows =
        |rest: &str| [".add(", ".record(", ".set(", ".show("].iter().any(|call| rest.starts_with(call));
    text.match_indices(constant).any(|(at, _)| {
        let (before, rest) = (&text[..at], &text[at + constant.len()..]);
        let is_whole = !before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let is_handed_on = before.ends_with('&') && rest.starts_with(',');
        is_whole && (follows(rest) || is_handed_on)
    })
}

#[test]
fn each_metric_is_emitted_where_it_is_said_to_be() {
    let code = code();
    for metric in catalogue::all() {
        let crates = code.iter().filter(|(_, text)| emits(text, metric.constant));
        let able: BTreeSet<_> =
            crates.flat_map(|(folder, _)| processes_of(folder)).map(|process| process.as_str()).collect();
        let said: BTreeSet<_> = metric.from.iter().map(|process| process.as_str()).collect();
        assert!(said.is_subset(&able), "{}: said of {said:?}, emitted by {able:?}", metric.name);
    }
}

/// Names of metrics in a text, each with the label matchers behind it.
fn named(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("trilane_") {
        let rest = &text[at..];
        let end = rest.find(|next: char| !next.is_ascii_lowercase() && next != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let matchers =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let labels = matchers.split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
        let labels = labels.map(|label| label.trim().to_owned()).filter(|label| !label.is_empty());
        found.push((name.to_owned(), labels.collect()));
    }
    found
}

fn known(name: &str) -> Option<Description> {
    catalogue::all().into_iter().find(|metric| match metric.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|suffix| name.strip_suffix(suffix) == Some(metric.name))
        }
        Kind::Counter | Kind::Gauge => name == metric.name,
    })
}

#[test]
fn the_rules_use_what_there_is() {
    let rules = read("config/prometheus/alerts.yaml");
    let named = named(&rules);
    assert!(named.len() > 20, "the rules are read");
    for (name, labels) in named {
        let metric = known(&name).unwrap_or_else(|| panic!("{name} is no metric of the fleet"));
        for label in labels {
            assert!(metric.labels.iter().any(|known| known.name == label), "{name} has no label `{label}`");
        }
    }
    let all = catalogue::all();
    let labels: BTreeSet<_> = all.iter().flat_map(|metric| metric.labels).map(|label| label.name).collect();
    for opening in ["by (", "on ("] {
        for (_, rest) in rules
            .split(opening)
            .skip(1)
            .filter_map(|rest| rest.split_once(')').map(|(inside, _)| ((), inside)))
        {
            for label in rest.split(',').map(str::trim) {
                assert!(
                    labels.contains(label) || OF_PROMETHEUS.contains(&label),
                    "there is no label `{label}`"
                );
            }
        }
    }
}

#[test]
fn the_table_names_each_alert_and_no_other() {
    let rules = read("config/prometheus/alerts.yaml");
    let declared: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let table = read("docs/METRICS.md");
    let documented: BTreeSet<_> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with(|first: char| first.is_ascii_uppercase()))
        .filter(|word| word.chars().all(char::is_alphabetic) && word.chars().any(char::is_lowercase))
        .collect();
    let documented: BTreeSet<_> = documented.into_iter().filter(|word| *word != "NaN").collect();
    assert_eq!(documented, declared);
}

/// What a process serves: names with their kinds, and those with a help.
fn served(text: &str) -> (BTreeMap<&str, &str>, BTreeSet<&str>) {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
    (kinds.collect(), helps.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_is_counted_as_a_reconnect() {
    let mut fleet = FleetBuilder::new().classifiers(0).start().await;
    let classifier = Process::binary("trilane-classifier", &fleet, "", |_| {});
    eventually("it is connected", || async {
        metrics(&classifier).await.contains("trilane_nats_connected 1\n").then_some(())
    })
    .await;
    assert!(metrics(&classifier).await.contains("trilane_nats_reconnects_total 0\n"), "the first is none");
    fleet.server.crash_and_restart().await;
    eventually("it is connected again", || async {
        let text = metrics(&classifier).await;
        let is_back = text.contains("trilane_nats_connected 1\n");
        (is_back && text.contains("trilane_nats_reconnects_total 1\n")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_serves_what_the_catalogue_says_of_it() {
    let fleet = FleetBuilder::new().classifiers(0).start().await;
    let classifier = Process::binary("trilane-classifier", &fleet, "", |_| {});
    fleet.run("sample", serde_json::json!({"prompt": "hello", "complexity": 0.1})).await;
    let text = metrics(&classifier).await;
    let (kinds, helps) = served(&text);
    for metric in
        ["trilane_routed_total", "trilane_policy_info", "trilane_task_complexity", "trilane_build_info"]
    {
        assert!(kinds.contains_key(metric), "{metric} is not served: {text}");
    }
    for (name, kind) in kinds {
        let all = catalogue::all();
        let metric = all.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(metric.kind.as_str(), kind, "{name}");
        assert!(metric.from.contains(&Binary::Classifier), "{name} is said to come from elsewhere");
        assert!(helps.contains(name), "{name} has no help");
    }
}
