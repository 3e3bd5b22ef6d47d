//! `trilane evaluate`: how well the learned score tells which tasks need the strong lane.
//!
//! `rows` reads the files, `lanes` picks the lanes, `measure` learns and measures, `table` shows it.

mod lanes;
mod measure;
mod rows;
mod table;

use std::path::PathBuf;

use clap::Args;
use trilane_protocol::LaneName;

use self::measure::{Decision, Measured, Way};
use self::rows::Reader;
use crate::output::print;

/// Measures the learned score on tasks whose outcomes are known.
///
/// Each line of a file is a task: {"id", "prompt", "outcomes": {LANE: {"quality": 0 to 1, "cost_usd"?}}}. No chance is
/// given by weights that have seen the task.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    /// Tasks to measure: .jsonl or .jsonl.gz.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// Parts that the tasks are cut into; each is measured by what the others teach.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = at_least::<2, 100>,
          conflicts_with_all = ["train", "online"])]
    folds: usize,
    /// Tasks to learn from instead; those of --data are only measured.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "online")]
    train: Vec<PathBuf>,
    /// One task after another: learn from the chosen lane's outcome only.
    #[arg(long, requires = "cloud_share", conflicts_with = "labels")]
    online: bool,
    /// Share of tasks that may go to the strong lane, 0 to 1; with --online.
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "online")]
    cloud_share: Option<f64>,
    /// Learn from so many tasks only.
    #[arg(long, value_name = "N", value_parser = at_least::<20, 1_000_000>)]
    labels: Option<usize>,
    /// Draws whose mean and spread are shown; with --labels or --online.
    #[arg(long, value_name = "K", value_parser = at_least::<1, 100>)]
    seeds: Option<usize>,
    /// The cheap lane. Default: what the rows suggest.
    #[arg(long, value_name = "LANE")]
    weak: Option<LaneName>,
    /// The good lane. Default: what the rows suggest.
    #[arg(long, value_name = "LANE")]
    strong: Option<LaneName>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Draws where nobody says.
const SEEDS: usize = 5;

/// Runs `trilane evaluate`.
///
/// # Errors
/// A file or row that cannot be read, with its line, or rows on which nothing can be measured.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let measured = measured(args)?;
    print(&measured, args.json, || table::text(&measured))
}

fn measured(args: &EvaluateArgs) -> anyhow::Result<Measured> {
    anyhow::ensure!(
        args.seeds.is_none() || args.labels.is_some() || args.online,
        "--seeds draws labels or orders; give --labels N or --online too"
    );
    let mut reader = Reader::default();
    let tested = reader.read(&args.data)?;
    let known = reader.read(&args.train)?;
    let pair = lanes::pair(&tested, args.weak.clone(), args.strong.clone())?;
    if args.weak.is_none() || args.strong.is_none() {
        eprintln!("measured between the weak lane {} and the strong lane {}", pair.weak, pair.strong);
    }
    let prompts: Vec<String> = tested.iter().take(measure::TIMED).map(|row| row.prompt.clone()).collect();
    let (tested, mut skipped) = lanes::cases(&tested, &pair)?;
    let known = if args.train.is_empty() {
        Vec::new()
    } else {
        let (known, more) = lanes::cases(&known, &pair)?;
        skipped += more;
        known
    };
    if skipped > 0 {
        eprintln!("skipped {skipped} rows without outcomes of both lanes");
    }
    let seeds = args.seeds.unwrap_or(SEEDS);
    let way = match args.cloud_share {
        Some(cloud_share) if args.online => Way::Online { cloud_share, seeds },
        _ if !known.is_empty() => Way::Trained { known: &known, labels: args.labels, seeds },
        _ => Way::Folds { folds: args.folds, labels: args.labels, seeds },
    };
    let most = way.most_labels(tested.len());
    if let Some(labels) = args.labels {
        anyhow::ensure!(
            labels <= most,
            "--labels {labels} is more than the {most} rows there are to learn from"
        );
    }
    let decision = Decision::timed(&prompts, &tested, &pair);
    Ok(way.measure(&tested, &pair, skipped, decision)?)
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "give a share between 0 and 1, such as 0.3".to_owned())
}

fn at_least<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (LEAST..=MOST).contains(count));
    count.ok_or_else(|| format!("give a whole number from {LEAST} to {MOST}"))
}

#[cfg(test)]
mod tests;
