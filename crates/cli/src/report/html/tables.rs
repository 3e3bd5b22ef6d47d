//! The tables of the page.

use trilane_routing::review::drift::Version;
use trilane_routing::review::flags::{CloudFlag, LocalFlag};
use trilane_routing::review::groups::Group;
use trilane_routing::review::moves::Escalated;
use trilane_routing::review::savings::Savings;
use trilane_routing::review::spend::AgentBudget;
use trilane_routing::review::words::{count, dollars};

use super::markup::Column::{Number, Sentence, Words};
use super::markup::table;
use crate::report::shown;

/// Rows of a list of agents or models.
const SHOWN_GROUPS: usize = 25;

pub(super) fn groups(caption: &str, what: &'static str, groups: &[Group]) -> String {
    let columns = [
        Words(what),
        Number("Tasks"),
        Number("Share"),
        Number("Private"),
        Number("Spent"),
        Number("Quality"),
        Number("95 %"),
        Number("Judged"),
    ];
    let mut rows: Vec<Vec<String>> = groups.iter().take(SHOWN_GROUPS).map(shown::group).collect();
    if let Some(more) = groups.len().checked_sub(SHOWN_GROUPS).filter(|more| *more > 0) {
        rows.push(vec![format!("… {} more", count(more as u64))]);
    }
    table(caption, &columns, &rows)
}

pub(super) fn latency(lanes: &[Group]) -> String {
    let columns = [
        Words("Lane"),
        Number("Queued, median"),
        Number("Queued, p95"),
        Number("Run, median"),
        Number("Run, p95"),
    ];
    table("Waiting and running", &columns, &lanes.iter().map(shown::latency).collect::<Vec<_>>())
}

pub(super) fn budgets(budgets: &[AgentBudget]) -> String {
    if budgets.is_empty() {
        return String::new();
    }
    let row = |own: &AgentBudget| {
        let window = own.window.as_str().to_owned();
        vec![own.agent.clone(), window, dollars(own.spent_usd), dollars(own.budget_usd)]
    };
    let columns = [Words("Agent"), Words("Window"), Number("Spent"), Number("Budget")];
    table("Budgets of agents", &columns, &budgets.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn savings(savings: &Savings) -> String {
    let columns = [Words("Answered locally"), Number("Tasks"), Number("In the cloud"), Number("95 %")];
    let rows = [shown::saving("Public", &savings.public), shown::saving("Public and private", &savings.all)];
    table("What it would have cost", &columns, &rows)
}

pub(super) fn escalated(rows: &[Escalated]) -> String {
    let columns = [
        Words("From"),
        Words("To"),
        Number("Tasks"),
        Number("Answered twice"),
        Number("First"),
        Number("Second"),
        Number("Quality"),
    ];
    table("Gone up after a first try", &columns, &rows.iter().map(shown::escalated).collect::<Vec<_>>())
}

pub(super) fn could_have_stayed(flags: &[CloudFlag]) -> String {
    let columns =
        [Words("Task"), Words("Agent"), Number("Cost"), Number("Local chance"), Words("By"), Sentence("Why")];
    let row = |flag: &CloudFlag| {
        vec![
            flag.task_id.clone(),
            flag.agent.clone(),
            dollars(flag.cost_usd),
            shown::chance(flag.chance),
            flag.evidence.as_str().to_owned(),
            flag.reason.clone(),
        ]
    };
    table(
        "The dearest cloud calls that could have stayed",
        &columns,
        &flags.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(super) fn should_have_gone_up(flags: &[LocalFlag]) -> String {
    let columns = [
        Words("Task"),
        Words("Agent"),
        Words("Lane"),
        Words("Sensitivity"),
        Number("Chance"),
        Words("By"),
        Sentence("Why"),
    ];
    let row = |flag: &LocalFlag| {
        vec![
            flag.task_id.clone(),
            flag.agent.clone(),
            flag.lane.clone(),
            if flag.is_private { "private" } else { "public" }.to_owned(),
            shown::chance(flag.chance),
            flag.evidence.as_str().to_owned(),
            flag.reason.clone(),
        ]
    };
    table("Local answers that were not good enough", &columns, &flags.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn versions(versions: &[Version]) -> String {
    let columns = [Words("Policy"), Words("First decision"), Words("Last decision"), Number("Decisions")];
    table("Policies in force", &columns, &versions.iter().map(shown::version).collect::<Vec<_>>())
}
