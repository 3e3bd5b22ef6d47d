//! The review on a terminal of 80 columns.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use trilane_routing::review::Figures;
use trilane_routing::review::drift::Drift;
use trilane_routing::review::flags::{CouldHaveStayed, ShouldHaveGoneUp};
use trilane_routing::review::groups::Group;
use trilane_routing::review::moves::{Escalated, Shadows};
use trilane_routing::review::quality::Quality;
use trilane_routing::review::savings::Savings;
use trilane_routing::review::spend::Spend;
use trilane_routing::review::words::{count, dollars, percent, things};

use super::shown;
use crate::output;

/// Columns of a terminal.
const WIDTH: u16 = 80;

/// Rows of a list of agents or models; JSON has more.
const SHOWN_GROUPS: usize = 15;

/// Every how many bars of the curve one is shown.
const CURVE_STEP: usize = 5;

/// Characters of the longest bar of spend.
const BAR: usize = 40;

/// Characters of a name in a table.
const SHOWN_NAME: usize = 20;

/// The whole review.
pub(super) fn report(figures: &Figures) -> String {
    let sentences: Vec<String> = figures.summary.iter().map(|sentence| wrapped(sentence)).collect();
    let head = format!(
        "{} to {}\n\n{}",
        shown::time(figures.since),
        shown::time(figures.until),
        sentences.join("\n")
    );
    if figures.coverage.tasks == 0 {
        return head;
    }
    let sections = [
        Some(head),
        sampling(figures),
        Some(totals(figures)),
        groups("By lane", "lane", &figures.lanes),
        latency(&figures.lanes),
        groups("By agent", "agent", &figures.agents),
        groups("By model", "model", &figures.models),
        Some(savings(&figures.savings)),
        escalated(&figures.escalated),
        shadows(&figures.shadows),
        could_have_stayed(&figures.could_have_stayed),
        should_have_gone_up(&figures.should_have_gone_up),
        curve(figures),
        Some(spend(&figures.spend)),
        drift(&figures.drift),
    ];
    sections.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

fn sampling(figures: &Figures) -> Option<String> {
    let coverage = &figures.coverage;
    (coverage.one_in > 1).then(|| {
        wrapped(&format!(
            "These are more tasks than are held at once. Totals count all {}; the other figures rest on {}, chosen by a hash \
             of their names, and are scaled up by {}.",
            count(coverage.tasks),
            things(coverage.held, "task"),
            coverage.one_in
        ))
    })
}

fn totals(figures: &Figures) -> String {
    let totals = &figures.totals;
    let by_status: Vec<String> =
        totals.by_status.iter().map(|(status, tasks)| format!("{} {status}", count(*tasks))).collect();
    let mut lines = vec![
        format!("ended      {}", by_status.join(", ")),
        format!("screened   {} public, {} private", count(totals.public), count(totals.private)),
        format!("quality    {}", quality(&figures.quality)),
    ];
    if totals.under_way > 0 {
        lines.push(format!("under way  {}", count(totals.under_way)));
    }
    if totals.dead_letters > 0 {
        lines.push(format!(
            "dead       {}; `trilane dead list` shows them",
            things(totals.dead_letters, "letter")
        ));
    }
    if totals.judge_usd > 0.0 {
        lines.push(format!("judge      {} of the spend", dollars(totals.judge_usd)));
    }
    lines.join("\n")
}

fn groups(title: &str, what: &str, groups: &[Group]) -> Option<String> {
    let mut table =
        table(&[what, "tasks", "share", "private", "spent", "quality", "95 %", "of"], &[1, 2, 3, 4, 5, 6, 7]);
    for group in groups.iter().take(SHOWN_GROUPS) {
        let mut cells = shown::group(group);
        cells[0] = output::beginning(&group.name, SHOWN_NAME);
        table.add_row(cells);
    }
    let more = match groups.len().saturating_sub(SHOWN_GROUPS) {
        0 => String::new(),
        more => format!("\n… and {} more; --json has them", count(more as u64)),
    };
    (!groups.is_empty()).then(|| format!("{title}\n{}{more}", table.trim_fmt()))
}

fn latency(lanes: &[Group]) -> Option<String> {
    let mut table = table(&["lane", "queued p50", "queued p95", "run p50", "run p95"], &[1, 2, 3, 4]);
    table.add_rows(lanes.iter().map(shown::latency));
    (!lanes.is_empty()).then(|| table.trim_fmt())
}

fn savings(savings: &Savings) -> String {
    let mut table = table(&["answered locally", "tasks", "in the cloud", "95 %"], &[1, 2, 3]);
    table.add_row(shown::saving("public", &savings.public));
    table.add_row(shown::saving("public and private", &savings.all));
    let expected = match savings.expected_public_tasks {
        0 => String::new(),
        tasks => format!(
            " The decisions themselves expected {} for {} of the public ones.",
            dollars(savings.expected_public_usd),
            count(tasks)
        ),
    };
    let said = wrapped(&format!("Assumed: {}.{expected}", savings.assumption));
    format!("Saved against all-cloud\n{}\n{said}", table.trim_fmt())
}

fn escalated(rows: &[Escalated]) -> Option<String> {
    let mut table =
        table(&["from", "to", "tasks", "answered twice", "first", "second", "quality"], &[2, 3, 4, 5]);
    table.add_rows(rows.iter().map(shown::escalated));
    (!rows.is_empty()).then(|| format!("Gone up after a first try\n{}", table.trim_fmt()))
}

fn shadows(shadows: &Shadows) -> Option<String> {
    (shadows.judged > 0).then(|| {
        format!(
            "Shadows\n{} of {} cloud answers would have done from a local lane; these cost {}.",
            count(shadows.would_do),
            count(shadows.judged),
            dollars(shadows.would_do_usd)
        )
    })
}

fn could_have_stayed(stayed: &CouldHaveStayed) -> Option<String> {
    let mut table = table(&["task", "agent", "cost", "by", "why"], &[2]);
    for flag in &stayed.flags {
        table.add_row([
            flag.task_id.clone(),
            output::beginning(&flag.agent, SHOWN_NAME),
            dollars(flag.cost_usd),
            flag.evidence.as_str().to_owned(),
            flag.reason.clone(),
        ]);
    }
    (stayed.tasks > 0).then(|| {
        let head = format!(
            "Cloud calls that could have stayed: {} for {}; shown by shadows: {} for {}",
            count(stayed.tasks),
            dollars(stayed.usd),
            count(stayed.shown_tasks),
            dollars(stayed.shown_usd)
        );
        format!("{}\n{}", wrapped(&head), table.trim_fmt())
    })
}

fn should_have_gone_up(up: &ShouldHaveGoneUp) -> Option<String> {
    let mut table = table(&["task", "agent", "lane", "chance", "by", "why"], &[3]);
    for flag in &up.flags {
        let private = if flag.is_private { " (private)" } else { "" };
        table.add_row([
            flag.task_id.clone(),
            output::beginning(&flag.agent, SHOWN_NAME),
            flag.lane.clone(),
            shown::chance(flag.chance),
            flag.evidence.as_str().to_owned(),
            format!("{}{private}", flag.reason),
        ]);
    }
    let by: Vec<String> =
        up.by_evidence.iter().map(|(evidence, tasks)| format!("{} by {evidence}", count(*tasks))).collect();
    (up.tasks > 0).then(|| {
        let head =
            format!("Local answers that were not good enough: {} ({})", count(up.tasks), by.join(", "));
        format!("{}\n{}", wrapped(&head), table.trim_fmt())
    })
}

fn curve(figures: &Figures) -> Option<String> {
    let curve = &figures.curve;
    let today = curve.today?;
    let mut table = table(&["bar", "expected quality", "expected cost", "in the cloud", ""], &[0, 1, 2, 3]);
    let last = curve.points.len().saturating_sub(1);
    let word = |index| match index {
        0 => "cheap and broken",
        index if index == last => "expensive and smart",
        _ => "",
    };
    let points = curve.points.iter().enumerate().step_by(CURVE_STEP);
    let mut rows: Vec<_> = points.map(|(index, point)| (point, word(index))).collect();
    rows.push((&today, "today"));
    rows.sort_by(|(left, _), (right, _)| left.threshold.total_cmp(&right.threshold));
    for (point, word) in rows {
        table.add_row([
            format!("{:.2}", point.threshold),
            format!("{:.2}", point.quality),
            dollars(point.cost_usd),
            percent(point.cloud_share),
            word.to_owned(),
        ]);
    }
    let corrected = match curve.corrected_lanes.as_slice() {
        [] => "Chances are the router's own word: too few outcomes to correct them.".to_owned(),
        lanes => format!("Chances are corrected by outcomes: {}.", lanes.join(", ")),
    };
    Some(format!("Quality against cost, by the bar\n{}\n{}", table.trim_fmt(), wrapped(&corrected)))
}

fn spend(spend: &Spend) -> String {
    let most = spend.days.iter().map(|day| day.spent_usd).fold(0.0, f64::max);
    let mut table = table(&["day", "spent", ""], &[1]);
    for day in &spend.days {
        let share = if most > 0.0 { day.spent_usd / most } else { 0.0 };
        let bar = "█".repeat((share * BAR as f64).round() as usize);
        table.add_row([shown::day(day.day), dollars(day.spent_usd), bar]);
    }
    let budget = match (spend.week_budget_usd, spend.even_day_usd) {
        (Some(budget), Some(even)) => {
            format!("of a budget of {}, which an even {} a day uses up", dollars(budget), dollars(even))
        }
        _ => "no budget is set (budget.week_usd)".to_owned(),
    };
    let mut lines = vec![format!(
        "This week: {} so far, {} at its end if it goes on like this; {budget}.",
        dollars(spend.week_spent_usd),
        dollars(spend.week_projected_usd)
    )];
    lines.extend(spend.day_budget_usd.map(|day| format!("A day may take {}.", dollars(day))));
    lines.extend(spend.agents.iter().map(|own| {
        let (window, spent, budget) = (own.window.as_str(), dollars(own.spent_usd), dollars(own.budget_usd));
        format!("{}: {spent} of {budget} this {window}.", own.agent)
    }));
    format!("Spend by day (UTC)\n{}\n{}", table.trim_fmt(), wrapped(&lines.join(" ")))
}

fn drift(drift: &Drift) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(error) = drift.calibration_error {
        let mut table = table(&["chance given", "quality found", "answers"], &[0, 1, 2]);
        for bin in &drift.calibration {
            table.add_row([
                format!("{:.2}", bin.predicted),
                format!("{:.2}", bin.observed),
                count(bin.outcomes),
            ]);
        }
        parts.push(format!(
            "Calibration: off by {error:.3} on average; by halves {}\n{}",
            shown::halves(drift),
            table.trim_fmt()
        ));
    }
    parts.extend(lanes_by_day(drift));
    if !drift.versions.is_empty() {
        let mut table = table(&["policy", "first decision", "last decision", "decisions"], &[3]);
        for version in &drift.versions {
            let mut cells = shown::version(version);
            cells[0] = output::beginning(&version.version, SHOWN_NAME);
            table.add_row(cells);
        }
        parts.push(format!("Policies in force\n{}", table.trim_fmt()));
    }
    if let (Some(lane), Some(true)) = (&drift.constant.lane, drift.constant.is_constant) {
        let share = percent(drift.constant.share.unwrap_or_default());
        parts
            .push(format!("The router has become a constant: {share} of the free public tasks take {lane}."));
    }
    (!parts.is_empty()).then(|| parts.join("\n\n"))
}

fn lanes_by_day(drift: &Drift) -> Option<String> {
    let mut lanes: Vec<&str> =
        drift.days.iter().flat_map(|day| day.by_lane.keys()).map(String::as_str).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let header: Vec<&str> = std::iter::once("first choice").chain(lanes.iter().copied()).collect();
    let mut table = table(&header, &(1..header.len()).collect::<Vec<_>>());
    for day in &drift.days {
        let of_day: u64 = day.by_lane.values().sum();
        let share = |lane: &&str| {
            let tasks = day.by_lane.get(*lane).copied().unwrap_or_default();
            percent(tasks as f64 / of_day.max(1) as f64)
        };
        table.add_row(std::iter::once(shown::day(day.day)).chain(lanes.iter().map(share)));
    }
    (!lanes.is_empty()).then(|| format!("Lanes by day (UTC)\n{}", table.trim_fmt()))
}

/// `0.86 (95 %: 0.80–0.91, 312 answers)`, or that nobody knows.
fn quality(quality: &Quality) -> String {
    match (quality.mean, shown::interval(quality)) {
        (Some(mean), Some(interval)) => {
            format!("{mean:.2} (95 %: {interval}, {})", things(quality.outcomes, "answer"))
        }
        _ => "no evidence".to_owned(),
    }
}

/// A table no wider than the terminal; the columns of these numbers stand to the right.
fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = output::table(header);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    for number in numbers {
        if let Some(column) = table.column_mut(*number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The text with lines no longer than the terminal's.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty()
            && lines[last].chars().count() + word.chars().count() + 1 > usize::from(WIDTH)
        {
            lines.push(word.to_owned());
            continue;
        }
        if !lines[last].is_empty() {
            lines[last].push(' ');
        }
        lines[last].push_str(word);
    }
    lines.join("\n")
}
