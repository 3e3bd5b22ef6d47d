//! Tasks to try the fleet with: submitted, waited for, and shown with where each went and why.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use trilane_broker::Broker;
use trilane_protocol::decision::Reason;
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::task::Deadline;
use trilane_protocol::{
    AgentName, Decision, LaneName, ModelName, Sensitivity, Status, TaskId, TaskResult, Usage,
};
use trilane_service::Config;

use crate::output::{self, print};
use crate::results::total;
use crate::submit::publish::{Submission, publish};
use crate::submit::tasks;
use crate::wait::{Awaited, Key};

/// Who publishes a task that does not say.
const AGENT: &str = "sample";

/// Seconds after which a task that does not say is given up, so that the sample always ends.
const DEADLINE_S: f64 = 900.0;

/// Characters of an answer in the table.
const SHOWN_TEXT: usize = 48;

/// Characters of an id in the table.
const SHOWN_ID: usize = 9;

/// Field of `metadata` that names a task in the table.
const TITLE: &str = "title";

/// What became of all tasks.
#[derive(Debug, Serialize)]
struct Report {
    submitted: usize,
    done: usize,
    by_lane: BTreeMap<LaneName, usize>,
    tasks: Vec<Line>,
}

/// What became of one task.
#[derive(Debug, Serialize)]
struct Line {
    id: TaskId,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    status: Status,
    lane: Option<LaneName>,
    reason: Option<Reason>,
    explanation: Option<String>,
    model: Option<ModelName>,
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TaskError>,
    usage: Usage,
    cost_usd: f64,
    timing_ms: Timing,
    /// For the table: what the screen found, and the rule.
    #[serde(skip)]
    why: String,
}

/// Reads and checks the tasks of a sample.
///
/// # Errors
/// Every bad line with its field.
pub(super) fn read(file: &Path, config: &Config) -> anyhow::Result<Vec<Submission>> {
    let agent = AgentName::new(AGENT)?;
    let mut submissions = tasks::from_file(file, &agent, &config.limits)?;
    for submission in &mut submissions {
        submission.task.deadline.get_or_insert(Deadline::After(DEADLINE_S));
    }
    Ok(submissions)
}

/// Submits the tasks, waits for all results and prints what became of them.
///
/// # Errors
/// A task that could not be published; with `must_succeed` also one that did not end as `done`.
pub(super) async fn run(
    broker: &Broker,
    submissions: Vec<Submission>,
    json: bool,
    must_succeed: bool,
) -> anyhow::Result<()> {
    let order: Vec<Key> = submissions.iter().map(Submission::key).collect();
    let mut awaited = Awaited::start(broker, order.iter().cloned()).await?;
    for submission in &submissions {
        publish(broker, submission).await?;
    }
    let mut results = BTreeMap::new();
    while let Some(result) = awaited.next().await {
        results.insert((result.agent.clone(), result.task_id.clone()), result);
        eprintln!("{}/{} tasks of the sample have ended", results.len(), order.len());
    }
    let ordered = order.iter().filter_map(|key| results.remove(key)).collect();
    let report = report(ordered);
    let Report { submitted, done, .. } = report;
    print(&report, json, || table(&report))?;
    anyhow::ensure!(
        !must_succeed || done == submitted,
        "{} of {submitted} tasks did not end as done",
        submitted - done
    );
    Ok(())
}

fn report(results: Vec<TaskResult>) -> Report {
    let mut by_lane = BTreeMap::new();
    for lane in results.iter().filter_map(|result| result.lane.clone()) {
        *by_lane.entry(lane).or_default() += 1;
    }
    Report {
        submitted: results.len(),
        done: results.iter().filter(|result| result.status == Status::Done).count(),
        by_lane,
        tasks: results.into_iter().map(line).collect(),
    }
}

fn line(result: TaskResult) -> Line {
    let title = result.metadata.get(TITLE).and_then(serde_json::Value::as_str).map(str::to_owned);
    let why = result.decision.as_ref().map_or_else(String::new, why);
    let (reason, explanation) =
        result.decision.map(|decision| (decision.reason, decision.explanation)).unzip();
    Line {
        id: result.task_id,
        title,
        status: result.status,
        lane: result.lane,
        reason,
        explanation,
        model: result.model,
        text: result.text,
        error: result.error,
        usage: result.usage,
        cost_usd: result.cost_usd,
        timing_ms: result.timing_ms,
        why,
    }
}

/// `private (credit_card), good_enough`.
fn why(decision: &Decision) -> String {
    let kinds: Vec<&str> = decision.screen.findings.iter().map(|finding| finding.kind.as_str()).collect();
    let screened = match decision.screen.sensitivity {
        Sensitivity::Private => format!("private ({})", kinds.join(", ")),
        Sensitivity::Public => "public".to_owned(),
    };
    format!("{screened}, {}", decision.reason.as_str())
}

fn table(report: &Report) -> String {
    let mut table = output::table(&["task", "lane", "why", "model", "tokens", "cost", "time", "answer"]);
    for line in &report.tasks {
        table.add_row([
            line.title.clone().unwrap_or_else(|| output::beginning(line.id.as_str(), SHOWN_ID)),
            line.lane.as_ref().map_or("-", LaneName::as_str).to_owned(),
            line.why.clone(),
            line.model.as_ref().map_or("-", ModelName::as_str).to_owned(),
            line.usage.completion_tokens.to_string(),
            output::dollars(line.cost_usd),
            output::length(total(line.timing_ms)),
            answer(line),
        ]);
    }
    let lanes: Vec<String> =
        report.by_lane.iter().map(|(lane, count)| format!("{count} on {lane}")).collect();
    let Report { submitted, done, .. } = report;
    format!("{}\n{done} of {submitted} done: {}", table.trim_fmt(), lanes.join(", "))
}

fn answer(line: &Line) -> String {
    match (&line.text, &line.error) {
        (Some(text), _) => output::beginning(text, SHOWN_TEXT),
        (None, Some(error)) => output::beginning(&format!("{}: {error}", line.status.as_str()), SHOWN_TEXT),
        (None, None) => line.status.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use trilane_protocol::decision::{Finding, FindingSource, Score, ScoreSource, ScreenReport};
    use trilane_protocol::{Encoding, Zone};

    use super::*;

    fn decision(sensitivity: Sensitivity, kind: &str) -> Decision {
        Decision {
            lane: LaneName::new("local-fast").unwrap(),
            zone: Zone::Local,
            model: ModelName::new("smollm2-135m").unwrap(),
            reason: Reason::GoodEnough,
            explanation: "the cheapest lane that is good enough".into(),
            screen: ScreenReport {
                sensitivity,
                findings: vec![Finding { source: FindingSource::Tag, kind: kind.into(), count: 1 }],
            },
            score: Score {
                complexity: 0.2,
                source: ScoreSource::ColdStart,
                contributions: Vec::new(),
                prompt_tokens: 9,
            },
            threshold: 0.5,
            bar: None,
            candidates: Vec::new(),
            adjustments: Vec::new(),
            propensity: 1.0,
            policy_version: "shipped-1".into(),
            decided_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn answered(title: Option<&str>, sensitivity: Sensitivity) -> TaskResult {
        let metadata = title.map(|title| (TITLE.to_owned(), title.into())).into_iter().collect();
        TaskResult {
            task_id: TaskId::new("0123456789abcdef").unwrap(),
            agent: AgentName::new(AGENT).unwrap(),
            task_seq: None,
            status: Status::Done,
            text: Some("A longer answer that goes on\nand on, well beyond the width of the table.".into()),
            finish: None,
            error: None,
            lane: Some(LaneName::new("local-fast").unwrap()),
            model: Some(ModelName::new("smollm2-135m").unwrap()),
            usage: Usage { prompt_tokens: 9, completion_tokens: 40, cached_tokens: 0 },
            cost_usd: 0.0,
            signs: None,
            earlier: None,
            timing_ms: Timing { queued: 3, waited: 10, first_token: Some(20), run: 1_400 },
            attempts: 1,
            decision: Some(decision(sensitivity, "client-document")),
            metadata,
            finished_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn expired() -> TaskResult {
        let error = TaskError::new("deadline_passed", "the deadline passed");
        let (text, lane, model, decision) = (None, None, None, None);
        let status = Status::Expired;
        TaskResult {
            status,
            text,
            lane,
            model,
            decision,
            error: Some(error),
            ..answered(None, Sensitivity::Public)
        }
    }

    #[test]
    fn the_table_says_where_each_task_went_and_why() {
        let results = vec![
            answered(Some("minutes"), Sensitivity::Private),
            answered(None, Sensitivity::Public),
            expired(),
        ];
        insta::assert_snapshot!(table(&report(results)), @r"
         task       lane        why                                     model         tokens  cost  time   answer
         minutes    local-fast  private (client-document), good_enough  smollm2-135m  40      $0    1.4 s  A longer answer that goes on and on, well beyon…
         01234567…  local-fast  public, good_enough                     smollm2-135m  40      $0    1.4 s  A longer answer that goes on and on, well beyon…
         01234567…  -                                                   -             40      $0    1.4 s  expired: deadline_passed: the deadline passed
        2 of 3 done: 2 on local-fast
        ");
    }

    #[test]
    fn the_object_counts_and_names_reasons() {
        let json =
            serde_json::to_value(report(vec![answered(None, Sensitivity::Public), expired()])).unwrap();
        assert_eq!((&json["submitted"], &json["done"]), (&2.into(), &1.into()));
        assert_eq!(json["by_lane"], serde_json::json!({ "local-fast": 1 }));
        let task = &json["tasks"][0];
        assert_eq!((&task["reason"], &task["status"]), (&"good_enough".into(), &"done".into()));
        assert!(task["explanation"].is_string() && task.get("why").is_none());
        assert_eq!(json["tasks"][1]["error"]["code"], "deadline_passed");
    }

    #[test]
    fn a_sample_always_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tasks.jsonl");
        std::fs::write(&file, "{\"prompt\":\"a\"}\n{\"prompt\":\"b\",\"deadline\":5}").unwrap();
        let config = trilane_service::config::load_from(None, []).unwrap();
        let deadlines: Vec<_> =
            read(&file, &config).unwrap().into_iter().map(|submission| submission.task.deadline).collect();
        assert_eq!(deadlines, [Some(Deadline::After(DEADLINE_S)), Some(Deadline::After(5.0))]);
    }

    #[test]
    fn the_shipped_sample_is_twelve_tasks_without_ids_that_a_laptop_can_finish() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/sample-tasks.jsonl");
        let config = trilane_service::config::load_from(None, []).unwrap();
        let submissions = read(&file, &config).unwrap();
        assert_eq!(submissions.len(), 12);
        for Submission { task, .. } in &submissions {
            assert!(task.id.is_none() && task.max_tokens.is_some_and(|count| count <= 120));
            assert!(task.metadata.contains_key(TITLE));
            let again: trilane_protocol::Task = Encoding::Json.decode(&Encoding::Json.encode(task)).unwrap();
            assert_eq!(again, *task);
        }
    }
}
