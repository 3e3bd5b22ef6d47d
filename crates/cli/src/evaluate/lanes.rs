//! Between which two lanes rows are measured.

use std::collections::BTreeSet;

use trilane_protocol::LaneName;
use trilane_routing::evaluate::{Case, Pair, Row};

/// Lanes that are weak where nobody says, the first that the rows have.
const USUALLY_WEAK: [&str; 2] = ["local-deep", "local-fast"];

/// The lane that is strong where nobody says.
const USUALLY_STRONG: &str = "cloud";

/// Why there is nothing to measure.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum NoPair {
    #[error("the rows have outcomes of {lanes}; name two of them with --weak and --strong")]
    Unnamed { lanes: String },
    #[error("--weak and --strong both name {0}; name two lanes")]
    Same(LaneName),
    #[error("no row has outcomes of both {weak} and {strong}; name lanes that the rows have: {lanes}")]
    NoRow { weak: LaneName, strong: LaneName, lanes: String },
    #[error(
        "each answer of {lane} has the quality {quality}, so there is nothing to learn; give rows with good and bad answers"
    )]
    OneClass { lane: LaneName, quality: f64 },
}

/// The lanes that are named, and where they are not, those that the rows suggest.
pub(super) fn pair(rows: &[Row], weak: Option<LaneName>, strong: Option<LaneName>) -> Result<Pair, NoPair> {
    let lanes: BTreeSet<&LaneName> = rows.iter().flat_map(|row| row.outcomes.keys()).collect();
    let unnamed = || NoPair::Unnamed { lanes: joined(rows) };
    let with = |name: &str| lanes.iter().find(|lane| lane.as_str() == name).map(|lane| (*lane).clone());
    let other_of_two = |one: &LaneName| {
        let mut others = lanes.iter().filter(|lane| **lane != one);
        (lanes.len() == 2).then(|| others.next().map(|lane| (*lane).clone())).flatten()
    };
    let strong = match (strong, &weak) {
        (Some(strong), _) => strong,
        (None, Some(weak)) => other_of_two(weak).or_else(|| with(USUALLY_STRONG)).ok_or_else(unnamed)?,
        (None, None) => match with(USUALLY_STRONG) {
            Some(cloud) => cloud,
            None if lanes.len() == 2 => better_of(rows, &lanes).ok_or_else(unnamed)?,
            None => return Err(unnamed()),
        },
    };
    let usual = || USUALLY_WEAK.iter().filter_map(|name| with(name)).find(|lane| *lane != strong);
    let weak = weak.or_else(|| other_of_two(&strong)).or_else(usual).ok_or_else(unnamed)?;
    if weak == strong { Err(NoPair::Same(weak)) } else { Ok(Pair { weak, strong }) }
}

/// The lane whose answers are better.
fn better_of(rows: &[Row], lanes: &BTreeSet<&LaneName>) -> Option<LaneName> {
    let mean = |lane: &LaneName| {
        let (sum, count) = rows
            .iter()
            .filter_map(|row| row.outcomes.get(lane))
            .fold((0.0, 0.0), |(sum, count), outcome| (sum + outcome.quality, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    lanes.iter().max_by(|left, right| mean(left).total_cmp(&mean(right))).map(|lane| (*lane).clone())
}

/// The cases of all rows that have both lanes, and how many have not.
pub(super) fn cases(rows: &[Row], pair: &Pair) -> Result<(Vec<Case>, usize), NoPair> {
    let cases: Vec<Case> = rows.iter().filter_map(|row| Case::of(row, pair)).collect();
    if cases.is_empty() {
        let Pair { weak, strong } = pair.clone();
        return Err(NoPair::NoRow { weak, strong, lanes: joined(rows) });
    }
    for lane in [&pair.weak, &pair.strong] {
        let mut qualities = rows
            .iter()
            .filter(|row| [&pair.weak, &pair.strong].iter().all(|lane| row.outcomes.contains_key(*lane)))
            .map(|row| row.outcomes[lane].quality);
        let first = qualities.next().unwrap_or_default();
        if qualities.all(|quality| quality == first) {
            return Err(NoPair::OneClass { lane: lane.clone(), quality: first });
        }
    }
    let skipped = rows.len() - cases.len();
    Ok((cases, skipped))
}

fn joined(rows: &[Row]) -> String {
    let lanes: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.outcomes.keys().map(LaneName::as_str)).collect();
    if lanes.is_empty() { "no lane".to_owned() } else { lanes.into_iter().collect::<Vec<_>>().join(", ") }
}
