//! What `trilane report` says of a fleet: of tasks that have just run, and of a made-up week as a person sees its page.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use trilane_protocol::chain::{FIRST, RouteSegment};
use trilane_protocol::{Encoding, ModelName, Status, Usage, subjects};
use trilane_testkit::{Fleet, FleetBuilder};

use crate::dashboard::{chromium, driver};
use crate::made_up_week::{TASKS, Week, week};
use crate::processes::trilane;

/// What a scripted answer uses.
const USAGE: Usage = Usage { prompt_tokens: 7, completion_tokens: 3, cached_tokens: 0 };

async fn report(fleet: &Fleet, arguments: &[&str]) -> Value {
    let output = trilane(fleet, &[&["report", "--json"], arguments].concat()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn assert_near(found: &Value, expected: f64) {
    assert!((found.as_f64().unwrap() - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// The group of a list that has this name.
fn named<'a>(groups: &'a Value, name: &str) -> &'a Value {
    groups.as_array().unwrap().iter().find(|group| group["name"] == name).unwrap()
}

async fn put(fleet: &Fleet, subject: String, record: &impl Serialize) {
    let sent = fleet.nats.publish(subject, Encoding::Json.encode(record).into()).await.unwrap();
    sent.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_what_was_run() {
    let fleet = FleetBuilder::new().start().await;
    let before = report(&fleet, &[]).await;
    assert_eq!((&before["coverage"]["tasks"], &before["advice"]["kind"]), (&json!(0), &json!("no_tasks")));
    let tasks = [
        json!({"id": "easy-1", "prompt": "a", "complexity": 0.1}),
        json!({"id": "easy-2", "prompt": "a secret word", "complexity": 0.1}),
        json!({"id": "easy-3", "prompt": "a", "complexity": 0.1}),
        json!({"id": "hard-1", "prompt": "b", "complexity": 0.99}),
        json!({"id": "hard-2", "prompt": "b", "complexity": 0.99}),
        json!({"id": "own-1", "prompt": "c", "complexity": 0.1, "sensitivity": "private"}),
        json!({"id": "own-2", "prompt": "c", "complexity": 0.99, "sensitivity": "private"}),
        json!({"id": "late", "prompt": "d", "deadline": "2020-01-01T00:00:00Z"}),
    ];
    for task in tasks {
        let expected = if task["id"] == "late" { Status::Expired } else { Status::Done };
        assert_eq!(fleet.run("sample", task).await.status, expected);
    }
    put(&fleet, "feedback.sample.easy-1".into(), &json!({"verdict": "reject"})).await;
    put(&fleet, "feedback.sample.hard-1".into(), &json!({"quality": 0.8})).await;
    let found = report(&fleet, &["--since", "1h"]).await;
    let totals = &found["totals"];
    assert_eq!(found["coverage"], json!({"tasks": 8, "held": 8, "one_in": 1}));
    assert_eq!(totals["by_status"], json!({"done": 7, "expired": 1}));
    assert_eq!((&totals["private"], &totals["private_in_cloud"]), (&json!(2), &json!(0)));
    let cloud = named(&found["lanes"], "cloud");
    assert_eq!((&cloud["tasks"], &cloud["private"], &cloud["zone"]), (&json!(2), &json!(0), &json!("cloud")));
    assert_near(&cloud["spent_usd"], 0.02);
    assert_near(&found["spend"]["total_usd"], 0.02);
    let sonnet = &fleet.config.registry.models[&"claude-sonnet".parse::<ModelName>().unwrap()];
    assert_eq!(
        (&found["savings"]["public"]["tasks"], &found["savings"]["all"]["tasks"]),
        (&json!(3), &json!(5))
    );
    assert_near(&found["savings"]["public"]["usd"], 3.0 * sonnet.cost_usd(USAGE));
    assert_near(&found["savings"]["all"]["usd"], 5.0 * sonnet.cost_usd(USAGE));
    assert_near(&found["quality"]["mean"], 0.4);
    let up = &found["should_have_gone_up"];
    assert_eq!((&up["tasks"], &up["flags"][0]["task_id"]), (&json!(1), &json!("easy-1")));
    assert_eq!(found["advice"]["kind"], "more_evidence");
    let text = trilane(&fleet, &["report"]).await.unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("8 tasks came to an end, for $0.0200 in the cloud"), "{text}");
    for shown in [text, found.to_string()] {
        assert!(!shown.contains("secret word") && !shown.contains("echo:"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_written_as_a_whole_or_not_at_all() {
    let fleet = FleetBuilder::new().start().await;
    fleet.run("sample", json!({"prompt": "a"})).await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("week.html").display().to_string();
    let output = trilane(&fleet, &["report", "--html", &page]).await.unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let written = std::fs::read_to_string(&page).unwrap();
    assert!(written.starts_with("<!doctype html>") && written.ends_with("</html>\n"));
    let nowhere = folder.path().join("no/week.html").display().to_string();
    let output = trilane(&fleet, &["report", "--html", &nowhere]).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("is not there; make it"), "{said}");
}

/// Puts the records of a week where the fleet keeps them.
async fn store(fleet: &Fleet, week: &Week) {
    for entry in &week.entries {
        put(fleet, subjects::spend(&entry.agent, &entry.task_id), entry).await;
    }
    for result in &week.results {
        put(fleet, subjects::result(&result.agent, &result.task_id), result).await;
    }
    for (index, records) in (0..).zip(week.records.chunks(50)) {
        let (chain, previous) = ("made-up".to_owned(), FIRST.to_owned());
        let segment = RouteSegment { chain, index, previous, records: records.to_vec() };
        put(fleet, subjects::route("made-up"), &segment).await;
    }
    for outcome in &week.outcomes {
        put(fleet, subjects::outcome(&outcome.agent, &outcome.task_id), outcome).await;
    }
    for (agent, task_id, feedback) in &week.feedback {
        put(fleet, subjects::feedback(agent, task_id), feedback).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TRILANE_TEST_PYTHON and Chromium"]
async fn a_week_s_page_is_read_on_a_desk_and_on_a_phone_by_day_and_by_night() {
    let Some(chromium) = chromium() else { return };
    let fleet = FleetBuilder::new().classifiers(0).start().await;
    let week = week(Timestamp::now());
    store(&fleet, &week).await;
    let found = report(&fleet, &["--since", "8d"]).await;
    assert_eq!(found["coverage"]["tasks"], TASKS);
    assert_eq!(found["totals"]["under_way"], 0);
    let judged = found["quality"]["by_source"].as_object().unwrap();
    assert!(judged.contains_key("feedback") && judged.contains_key("validators"), "{judged:?}");
    assert_eq!(found["spend"]["source"], "ledger");
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("week.html");
    let path = page.display().to_string();
    assert!(trilane(&fleet, &["report", "--since", "8d", "--html", &path]).await.unwrap().status.success());
    look_at(chromium, &page).await;
}

/// Looks at a page as a person does; see `tests/tools/report.py`.
async fn look_at(chromium: &str, page: &Path) {
    let status = driver("report.py", chromium).arg(page).status().await.unwrap();
    assert!(status.success(), "see what the script says above");
}
