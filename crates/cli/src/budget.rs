//! `trilane budget`: what calls have cost today and this week, against the budgets, and what is set aside.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use trilane_broker::{Broker, Role};
use trilane_protocol::ledger::{Book, LedgerEntry, Reservation};
use trilane_protocol::{AgentName, ModelName, TaskId, Usd};
use trilane_routing::budget::{Budgets, Standing, Window};
use trilane_service::Config;

use crate::output::{self, print};

/// Rows of reservations in the table; JSON has them all.
const SHOWN_RESERVATIONS: usize = 50;

/// Shows what calls have cost today and this week (UTC, from Monday), against the budgets, and what is set aside.
#[derive(Debug, Clone, Args)]
pub struct BudgetArgs {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// All that is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Report {
    at: Timestamp,
    spend: Vec<Row>,
    open: Vec<Open>,
}

/// One agent, or all together, in one window. Dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    /// Absent: all agents together.
    agent: Option<AgentName>,
    window: Window,
    /// When the window is over.
    until: Timestamp,
    spent_usd: f64,
    set_aside_usd: f64,
    /// Absent: no bound.
    budget_usd: Option<f64>,
    left_usd: Option<f64>,
}

/// Money set aside for a call that has not ended, or whose worker died.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Open {
    agent: AgentName,
    task_id: TaskId,
    task_seq: u64,
    model: ModelName,
    worker: String,
    attempt: u32,
    amount_usd: f64,
    since: Timestamp,
}

/// Runs `trilane budget`.
///
/// # Errors
/// No connection, or a ledger that cannot be read.
pub async fn run(args: BudgetArgs, config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Observer).await?;
    let now = Timestamp::now();
    let book = broker.book().await?;
    let open = open(&broker, &book).await?;
    let report = Report { at: now, spend: rows(&config.budgets(), &book, now), open };
    print(&report, args.json, || tables(&report))
}

fn rows(budgets: &Budgets, book: &Book, now: Timestamp) -> Vec<Row> {
    let row = |standing: Standing| Row {
        until: standing.window.end(now),
        spent_usd: standing.taken.settled.dollars(),
        set_aside_usd: standing.taken.reserved.dollars(),
        budget_usd: standing.limit.map(Usd::dollars),
        left_usd: standing.left().map(Usd::dollars),
        window: standing.window,
        agent: standing.account,
    };
    budgets.standings(book, now).into_iter().map(row).collect()
}

/// The book says whether anything is set aside, and since which day; only then entries are looked through.
async fn open(broker: &Broker, book: &Book) -> anyhow::Result<Vec<Open>> {
    let oldest = book.days.iter().find(|(_, day)| day.total.reserved > Usd::ZERO);
    let Some((day, _)) = oldest else { return Ok(Vec::new()) };
    let since = day.to_zoned(TimeZone::UTC)?.timestamp();
    Ok(broker.open_reservations(since).await?.into_iter().flat_map(reservations).collect())
}

/// An entry speaks of the last call of its id, and of other tasks that have used it.
fn reservations(entry: LedgerEntry) -> Vec<Open> {
    let LedgerEntry { agent, task_id, model, .. } = entry;
    let own = (entry.task_seq, entry.open);
    let others = entry.others.into_iter().map(|other| (other.task_seq, other.open));
    let open = |(task_seq, open): (u64, Option<Reservation>)| {
        let Reservation { amount, attempt, worker, at, .. } = open?;
        let (agent, task_id, model) = (agent.clone(), task_id.clone(), model.clone());
        Some(Open {
            agent,
            task_id,
            task_seq,
            model,
            worker,
            attempt,
            amount_usd: amount.dollars(),
            since: at,
        })
    };
    std::iter::once(own).chain(others).filter_map(open).collect()
}

fn tables(report: &Report) -> String {
    let spend = spend_table(&report.spend);
    match report.open.len() {
        0 => spend,
        shown @ 1..=SHOWN_RESERVATIONS => {
            format!("{spend}\n\n{}", open_table(&report.open[..shown]))
        }
        more => format!(
            "{spend}\n\n{}\n… and {} more; --json has them all",
            open_table(&report.open[..SHOWN_RESERVATIONS]),
            more - SHOWN_RESERVATIONS
        ),
    }
}

fn spend_table(rows: &[Row]) -> String {
    let mut table = output::table(&["agent", "window", "spent", "set aside", "budget", "left"]);
    let money = |usd: Option<f64>| usd.map_or_else(|| "-".to_owned(), output::dollars);
    for row in rows {
        let agent = row.agent.as_ref().map_or("all together", AgentName::as_str);
        table.add_row([
            agent.to_owned(),
            row.window.as_str().to_owned(),
            output::dollars(row.spent_usd),
            output::dollars(row.set_aside_usd),
            money(row.budget_usd),
            money(row.left_usd),
        ]);
    }
    table.trim_fmt()
}

fn open_table(open: &[Open]) -> String {
    let mut table =
        output::table(&["set aside for", "task", "amount", "model", "attempt", "worker", "since"]);
    for open in open {
        table.add_row([
            open.agent.to_string(),
            open.task_id.to_string(),
            output::dollars(open.amount_usd),
            open.model.to_string(),
            open.attempt.to_string(),
            open.worker.clone(),
            open.since.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use trilane_protocol::ledger::{Amounts, DayBook};

    use super::*;

    #[test]
    fn spend_stands_against_its_budget_and_open_calls_below() {
        let file = "[budget]\nday_usd = 2\nweek_usd = 10\n[agents.sample]\nbudget_day_usd = 0.5";
        let config = trilane_service::config::load_from(Some(file), []).unwrap();
        let amounts = |settled, reserved| Amounts {
            settled: Usd::from_nanos(settled),
            reserved: Usd::from_nanos(reserved),
        };
        let day = |total| DayBook { total, agents: [(AgentName::new("sample").unwrap(), total)].into() };
        let book = Book {
            days: [
                ("2026-11-20".parse().unwrap(), day(amounts(1_000_000_000, 0))),
                ("2026-11-22".parse().unwrap(), day(amounts(250_000_000, 20_000_000))),
            ]
            .into(),
        };
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let open = Open {
            agent: AgentName::new("sample").unwrap(),
            task_id: TaskId::new("t1").unwrap(),
            task_seq: 7,
            model: ModelName::new("gpt-4o").unwrap(),
            worker: "cloud-1".into(),
            attempt: 2,
            amount_usd: 0.02,
            since: now,
        };
        let report = Report { at: now, spend: rows(&config.budgets(), &book, now), open: vec![open] };
        insta::assert_snapshot!(tables(&report), @r"
        agent         window  spent    set aside  budget    left
        all together  day     $0.2500  $0.0200    $2.0000   $1.7300
        all together  week    $1.2500  $0.0200    $10.0000  $8.7300
        sample        day     $0.2500  $0.0200    $0.5000   $0.2300
        sample        week    $1.2500  $0.0200    -         -

        set aside for  task  amount   model   attempt  worker   since
        sample         t1    $0.0200  gpt-4o  2        cloud-1  2026-11-22 10:00:00
        ");
    }
}
