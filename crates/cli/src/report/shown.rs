//! Figures as cells of a table, the same on a terminal and on a page.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use trilane_routing::review::drift::{Drift, Version};
use trilane_routing::review::groups::Group;
use trilane_routing::review::moves::Escalated;
use trilane_routing::review::quality::Quality;
use trilane_routing::review::savings::Saving;
use trilane_routing::review::words::{count, dollars, percent};

use crate::output;

/// Where nothing is known.
const NOTHING: &str = "–";

/// Name, tasks, share, private, spent, quality, its interval, answers it rests on.
pub(super) fn group(group: &Group) -> Vec<String> {
    vec![
        group.name.clone(),
        count(group.tasks),
        percent(group.share),
        count(group.private),
        dollars(group.spent_usd),
        chance(group.quality.mean),
        interval(&group.quality).unwrap_or_else(|| NOTHING.to_owned()),
        count(group.quality.outcomes),
    ]
}

/// Name, then queued and run, each of half and of 95 %.
pub(super) fn latency(lane: &Group) -> Vec<String> {
    let millis = [lane.queued_p50_ms, lane.queued_p95_ms, lane.run_p50_ms, lane.run_p95_ms];
    let length = |millis| output::length(std::time::Duration::from_millis(millis));
    let shown = millis.map(|millis| millis.map_or_else(|| NOTHING.to_owned(), length));
    std::iter::once(lane.name.clone()).chain(shown).collect()
}

/// From, to, tasks, answered twice, cost of the first and of the second, quality of the second.
pub(super) fn escalated(row: &Escalated) -> Vec<String> {
    vec![
        row.from.clone(),
        row.to.clone(),
        count(row.tasks),
        count(row.improved),
        dollars(row.first_usd),
        dollars(row.second_usd),
        chance(row.quality.mean),
    ]
}

/// What, tasks, dollars, their interval.
pub(super) fn saving(what: &str, saving: &Saving) -> Vec<String> {
    vec![what.to_owned(), count(saving.tasks), dollars(saving.usd), range(saving)]
}

/// `$4.53 to $5.52`.
pub(super) fn range(saving: &Saving) -> String {
    format!("{} to {}", dollars(saving.low_usd), dollars(saving.high_usd))
}

/// Version, first and last decision, decisions.
pub(super) fn version(version: &Version) -> Vec<String> {
    vec![version.version.clone(), time(version.first_at), time(version.last_at), count(version.decisions)]
}

/// The calibration error of each half: `0.131, then 0.138`.
pub(super) fn halves(drift: &Drift) -> String {
    let error =
        |error: Option<f64>| error.map_or_else(|| "unknown".to_owned(), |error| format!("{error:.3}"));
    drift.halves.iter().map(|half| error(half.calibration_error)).collect::<Vec<_>>().join(", then ")
}

/// A chance or a quality, if it is known.
pub(super) fn chance(chance: Option<f64>) -> String {
    chance.map_or_else(|| NOTHING.to_owned(), |chance| format!("{chance:.2}"))
}

/// `0.80–0.91`.
pub(super) fn interval(quality: &Quality) -> Option<String> {
    Some(format!("{:.2}–{:.2}", quality.low?, quality.high?))
}

/// `Mon 16 Nov`.
pub(super) fn day(day: Date) -> String {
    day.strftime("%a %d %b").to_string()
}

/// `2026-11-16 06:00 UTC`.
pub(super) fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%F %R UTC").to_string()
}
