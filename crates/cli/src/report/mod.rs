//! `trilane report`: what happened, what it cost and saved, how sure that is, and what to change.
//!
//! * [`since`], [`read`]: from when on, and what the streams hold of it; `trilane_routing::review` makes figures of it
//! * [`text`], [`html`]: how they look on a terminal and as a page, with the same cells ([`shown`]); [`file`] writes the page

mod file;
mod html;
mod read;
mod shown;
mod since;
#[cfg(test)]
mod tests;
mod text;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use trilane_broker::Role;
use trilane_routing::review::{Figures, Terms};
use trilane_service::Config;

use self::since::{Since, parse_since};
use crate::output::print;

/// Tasks that are held at once: less than 100 MB. Of more, a share that a hash of their names chooses stands for all.
const MAX_TASKS: usize = 100_000;

/// What intervals are drawn from: the same records give the same report.
const SEED: u64 = 1;

/// Reviews a week: tasks, spend and quality, what local lanes saved and how sure that is, calls that could have stayed
/// local and answers that should have gone up, and what to change. Shows no text of any task.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// From when on: a length such as 24h or 7d, or a time such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "LENGTH|TIME", default_value = "7d", value_parser = parse_since)]
    since: Since,
    /// Tasks that each list of flags names; `trilane explain ID` says more of one.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    flags: usize,
    /// Write a page to this file: self-contained, without scripts, to be sent to whoever pays for it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `trilane report`.
///
/// # Errors
/// No connection, a stream that cannot be read, or a file that cannot be written.
pub async fn run(args: &ReportArgs, config: &Config) -> anyhow::Result<()> {
    let until = Timestamp::now();
    let since = args.since.from(until)?;
    let broker = crate::connect(config, Role::Observer).await?;
    let budgets = config.budgets();
    let terms = Terms {
        registry: &config.registry,
        budgets: &budgets,
        since,
        until,
        flags: args.flags,
        max_tasks: MAX_TASKS,
        seed: SEED,
    };
    let (figures, unreadable) = read::figures(&broker, terms).await?;
    if unreadable > 0 {
        eprintln!(
            "{unreadable} messages do not read and are left out; do all processes have the same version?"
        );
    }
    if let Some(path) = &args.html {
        file::write(path, &html::page(&figures))?;
        eprintln!("the page is {}", path.display());
    }
    show(&figures, args)
}

/// With `--html` alone the page is the report.
fn show(figures: &Figures, args: &ReportArgs) -> anyhow::Result<()> {
    if args.html.is_some() && !args.json {
        figures.summary.iter().for_each(|sentence| eprintln!("{sentence}"));
        return Ok(());
    }
    print(figures, args.json, || text::report(figures))
}
