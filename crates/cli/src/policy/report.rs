//! What `trilane policy` shows, as JSON and as tables.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use trilane_broker::policy::PolicyError;
use trilane_protocol::LaneName;
use trilane_routing::snapshot::{HAND_MADE, InForce, Manifest};

use crate::output;

/// What is in force, and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Shown {
    pub(super) in_force: InForce,
    /// Absent: the hand-made score.
    pub(super) manifest: Option<Manifest>,
}

/// All versions that are kept, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct History {
    pub(super) versions: Vec<Row>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    version: u64,
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
    /// Why it does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn row(version: u64, manifest: Result<Manifest, PolicyError>, in_force: &InForce) -> Row {
    let (manifest, error) = match manifest {
        Ok(manifest) => (Some(manifest), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Row { version, in_force: in_force.version == version, manifest, error }
}

/// What stands for a version in a sentence.
pub(super) fn name(version: u64) -> String {
    match version {
        HAND_MADE => "the hand-made score".into(),
        version => format!("version {version}"),
    }
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The version in force in one line.
pub(super) fn in_force(in_force: &InForce) -> String {
    let InForce { version, since, by, reason, previous } = in_force;
    let before = previous.map_or(String::new(), |previous| format!("; before it: {}", name(previous)));
    if *in_force == InForce::hand_made() {
        return format!("{}: {reason}", name(HAND_MADE));
    }
    format!("{} since {} UTC, by the {}: {reason}{before}", name(*version), time(*since), by.as_str())
}

impl Shown {
    pub(super) fn text(&self) -> String {
        let mut text = in_force(&self.in_force);
        let Some(manifest) = &self.manifest else { return text };
        text.push_str(&format!(
            "\nmade {} UTC from {} outcomes, with {} in force then\n\n{}",
            time(manifest.made_at),
            manifest.outcomes,
            name(manifest.based_on),
            evidence(manifest)
        ));
        if !manifest.evaluation.is_null() {
            text.push_str(&format!("\n\nevaluation\n{}", figures(&manifest.evaluation)));
        }
        text
    }
}

fn evidence(manifest: &Manifest) -> String {
    let mut table = output::table(&["lane", "evidence"]);
    for (lane, head) in &manifest.heads {
        table.add_row([lane.to_string(), format!("{:.0}", head.evidence)]);
    }
    table.trim_fmt()
}

/// The figures of an evaluation, a line each, by the path of their names.
fn figures(evaluation: &serde_json::Value) -> String {
    let mut lines = BTreeMap::new();
    collect(evaluation, String::new(), &mut lines);
    let mut table = output::table(&["figure", "value"]);
    for (name, value) in lines {
        table.add_row([name, value]);
    }
    table.trim_fmt()
}

fn collect(value: &serde_json::Value, path: String, lines: &mut BTreeMap<String, String>) {
    use serde_json::Value;
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(value, below(name), lines)),
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(index, value)| collect(value, below(&index.to_string()), lines));
        }
        Value::Number(number) if number.is_f64() => {
            lines.insert(path, format!("{:.4}", number.as_f64().unwrap_or_default()));
        }
        Value::String(text) => {
            lines.insert(path, text.clone());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            lines.insert(path, value.to_string());
        }
    }
}

impl History {
    pub(super) fn text(&self) -> String {
        if self.versions.is_empty() {
            return "no version is kept: nothing was learned yet, and the hand-made score decides".into();
        }
        let mut table = output::table(&["version", "in force", "made", "outcomes", "learned from", "lanes"]);
        for Row { version, in_force, manifest, error } in &self.versions {
            let in_force = if *in_force { "yes" } else { "" };
            let [made, outcomes, based_on, lanes] = match manifest {
                Some(manifest) => [
                    time(manifest.made_at),
                    manifest.outcomes.to_string(),
                    name(manifest.based_on),
                    manifest.heads.keys().map(LaneName::as_str).collect::<Vec<_>>().join(", "),
                ],
                None => [error.clone().unwrap_or_default(), String::new(), String::new(), String::new()],
            };
            table.add_row([version.to_string(), in_force.to_owned(), made, outcomes, based_on, lanes]);
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use trilane_routing::snapshot::{By, HeadEntry};

    use super::*;

    fn manifest(version: u64) -> Manifest {
        let head = HeadEntry { sha256: "0".repeat(64), bytes: 7, evidence: 41.6 };
        Manifest {
            version,
            made_at: "2026-11-20T10:00:00Z".parse().unwrap(),
            features_version: 1,
            outcomes: 120,
            heads: [("cloud", head.clone()), ("local-fast", head)]
                .map(|(lane, head)| (lane.parse().unwrap(), head))
                .into(),
            based_on: version - 1,
            evaluation: serde_json::json!({"candidate": {"value": 0.81234, "trials": 90}, "beats": ["in force"]}),
        }
    }

    fn second() -> InForce {
        let since = "2026-11-21T10:00:00Z".parse().unwrap();
        InForce { version: 2, since, by: By::Learner, reason: "it is better".into(), previous: Some(1) }
    }

    #[test]
    fn what_is_in_force_is_shown_with_its_evidence() {
        let shown = Shown { in_force: second(), manifest: Some(manifest(2)) };
        insta::assert_snapshot!(shown.text(), @r"
        version 2 since 2026-11-21 10:00:00 UTC, by the learner: it is better; before it: version 1
        made 2026-11-20 10:00:00 UTC from 120 outcomes, with version 1 in force then

         lane        evidence
         cloud       42
         local-fast  42

        evaluation
         figure            value
         beats.0           in force
         candidate.trials  90
         candidate.value   0.8123
        ");
        let none = Shown { in_force: InForce::hand_made(), manifest: None };
        assert_eq!(none.text(), "the hand-made score: nothing was put in force yet");
    }

    #[test]
    fn all_versions_are_listed_and_one_that_does_not_read_too() {
        let broken = Err(PolicyError::NoSuchVersion { version: 3 });
        let versions = vec![
            row(3, broken, &second()),
            row(2, Ok(manifest(2)), &second()),
            row(1, Ok(manifest(1)), &second()),
        ];
        let text = History { versions }.text();
        assert!(text.contains("there is no version 3"), "{text}");
        let line = text.lines().find(|line| line.trim_start().starts_with("2 ")).unwrap();
        assert!(line.contains("yes") && line.contains("version 1"), "{line}");
        assert!(
            text.lines()
                .any(|line| line.trim_start().starts_with("1 ") && line.contains("the hand-made score"))
        );
    }
}
