//! Shows what was measured, for people.

use trilane_routing::evaluate::report::Report;
use trilane_routing::evaluate::spread::Interval;

use super::measure::{Measured, Orders};
use crate::output;

/// The order in which controls are compared with.
const CONTROLS: [(&str, &str); 6] = [
    ("oracle", "knows all outcomes"),
    ("hand_made", "hand-made score"),
    ("length", "prompt length"),
    ("random", "random"),
    ("always_weak", "always weak"),
    ("always_strong", "always strong"),
];

pub(super) fn text(measured: &Measured) -> String {
    let parts = [Some(heading(measured)), Some(figures(&measured.report)), Some(facts(measured))];
    let curve = measured.online.as_ref().map(curve);
    parts.into_iter().chain([curve]).flatten().collect::<Vec<_>>().join("\n\n")
}

fn heading(measured: &Measured) -> String {
    let Measured { weak, strong, report, .. } = measured;
    let labels = measured.few_labels.as_ref().map_or(String::new(), |few| {
        format!(", from {} labels, mean of {} draws", few.labels, few.apgr_by_seed.len())
    });
    let how = match (measured.folds, measured.train_rows) {
        (Some(folds), _) => format!("in {folds} folds"),
        (_, Some(rows)) => format!("learned from {rows} others"),
        _ => "the second half of one order, learned one by one".to_owned(),
    };
    format!(
        "{} rows, {how}{labels}\nweak {weak} {:.1} %, strong {strong} {:.1} % good",
        report.rows,
        100.0 * report.weak_quality,
        100.0 * report.strong_quality
    )
}

fn figures(report: &Report) -> String {
    let header = ["score", "APGR", "CPT20 %", "CPT50 %", "CPT80 %", "saved at 95 %", "saved at 99 %"];
    let mut table = output::table(&header);
    let learned = &report.figures;
    let percents = |numbers: [f64; 5]| numbers.map(|percent| format!("{percent:.1}"));
    let rest =
        percents([learned.cpt20, learned.cpt50, learned.cpt80, learned.saved_at_95, learned.saved_at_99]);
    table.add_row(row("learned", learned.apgr, rest));
    for (name, shown) in CONTROLS {
        let Some(control) = report.controls.get(name) else { continue };
        let rest = control.figures.map_or([const { String::new() }; 5], |rest| {
            percents([rest.cpt20, rest.cpt50, rest.cpt80, rest.saved_at_95, rest.saved_at_99])
        });
        table.add_row(row(shown, control.apgr, rest));
    }
    table.trim_fmt()
}

fn row(name: &str, apgr: f64, rest: [String; 5]) -> Vec<String> {
    [name.to_owned(), format!("{apgr:.3}")].into_iter().chain(rest).collect()
}

fn facts(measured: &Measured) -> String {
    let report = &measured.report;
    let mut table = output::table(&["what", "value"]);
    let mut add = |what: &str, value: String| {
        table.add_row([what.to_owned(), value]);
    };
    if let Some(few) = &measured.few_labels {
        add("APGR over the draws, standard deviation", format!("{:.3}", few.apgr_deviation));
    }
    if let Some(Interval { low, high, .. }) = report.apgr_interval {
        add("APGR, 95 % interval", format!("{low:.3} to {high:.3}"));
    }
    for (lane, error) in &report.calibration_error_by_lane {
        add(&format!("calibration error of {lane}"), format!("{error:.3}"));
    }
    if let Some(dollars) = &report.dollars {
        let usd = output::dollars;
        let gain = |gain: Interval| format!("{} ({} to {})", usd(gain.mean), usd(gain.low), usd(gain.high));
        add("dollars for 1,000 tasks, all strong", usd(dollars.always_strong_usd));
        add("… routed at 95 % of that quality", usd(dollars.routed_usd));
        add("… less than a random choice as good", gain(dollars.gain_over_random_usd));
        add("… less than by length, as good", gain(dollars.gain_over_length_usd));
    }
    if let Some(orders) = &measured.online {
        add("gap recovered over the second half", format!("{:.3}", orders.gap_recovered));
        add("… by a random choice of as many", format!("{:.3}", orders.strong_share / 100.0));
        add("orders of which that is the mean", orders.gap_recovered_by_seed.len().to_string());
    }
    let decision = &measured.decision;
    add(
        "a decision takes",
        format!("{:.0} µs, p99 {:.0} µs", decision.decision_us, decision.decision_us_p99),
    );
    table.trim_fmt()
}

fn curve(orders: &Orders) -> String {
    let mut table = output::table(&["rows", "gap recovered", "strong share %"]);
    for stretch in &orders.curve {
        table.add_row([
            stretch.rows.to_string(),
            format!("{:.3}", stretch.gap_recovered),
            format!("{:.1}", stretch.strong_share),
        ]);
    }
    table.trim_fmt()
}
