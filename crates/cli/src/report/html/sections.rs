//! The cards of the page, in the order in which a reader asks.

use trilane_protocol::Zone;
use trilane_routing::review::Figures;
use trilane_routing::review::words::{count, dollars, percent, things};

use super::charts;
use super::lanes::Palette;
use super::markup::{Escaped, paragraph};
use super::tables;
use crate::report::shown;

/// All cards of a time in which something happened.
pub(super) fn all(figures: &Figures, palette: &Palette) -> String {
    let charts = charts_of(figures, palette);
    [
        sampling(figures),
        tiles(figures),
        charts,
        card(
            "By lane",
            "wide",
            &[tables::groups("By lane", "Lane", &figures.lanes), tables::latency(&figures.lanes)],
        ),
        savings(figures),
        moves(figures),
        stayed(figures),
        gone_up(figures),
        card("By agent", "wide", &[tables::groups("By agent", "Agent", &figures.agents)]),
        card("By model", "wide", &[tables::groups("By model", "Model", &figures.models)]),
        drift(figures),
    ]
    .concat()
}

fn card(title: &str, class: &str, parts: &[String]) -> String {
    let title = Escaped(title);
    format!(
        "<section class=\"card {class}\" aria-label=\"{title}\"><h2>{title}</h2>{}</section>\n",
        parts.concat()
    )
}

fn figure(chart: &str, legend: &str, caption: &str) -> String {
    format!("<figure>{legend}{chart}<figcaption>{}</figcaption></figure>", Escaped(caption))
}

fn sampling(figures: &Figures) -> String {
    let coverage = &figures.coverage;
    if coverage.one_in == 1 {
        return String::new();
    }
    let said = format!(
        "These are more tasks than are held at once: totals count all {}; the other figures rest on {}, chosen by a hash of \
         their names, and are scaled up by {}.",
        count(coverage.tasks),
        things(coverage.held, "task"),
        coverage.one_in
    );
    paragraph("banner", &said)
}

fn tiles(figures: &Figures) -> String {
    let savings = &figures.savings.public;
    let local: f64 =
        figures.lanes.iter().filter(|lane| lane.zone == Some(Zone::Local)).map(|lane| lane.share).sum();
    let ran: u64 = figures.lanes.iter().map(|lane| lane.tasks).sum();
    let spend = &figures.spend;
    let of_budget = spend.week_budget_usd.map_or_else(
        || "no budget is set".to_owned(),
        |budget| format!("this week {} of {}", dollars(spend.week_spent_usd), dollars(budget)),
    );
    let evidence = match figures.quality.mean {
        Some(_) => format!(
            "95 %: {}, {} judged",
            shown::interval(&figures.quality).unwrap_or_default(),
            things(figures.quality.outcomes, "answer")
        ),
        None => "nobody has judged an answer".to_owned(),
    };
    let private = match figures.totals.private_in_cloud {
        0 => "none of them ended in the cloud zone".to_owned(),
        some => format!("{} ENDED IN THE CLOUD ZONE: run `trilane prove` now", count(some)),
    };
    let tiles = [
        ("Spent", dollars(spend.total_usd), of_budget),
        ("Saved against all-cloud", dollars(savings.usd), format!("95 %: {}", shown::range(savings))),
        ("Ran on local lanes", percent(local), format!("of {} that ran", things(ran, "task"))),
        (
            "Quality",
            figures.quality.mean.map_or_else(|| "no evidence".to_owned(), |mean| format!("{mean:.2}")),
            evidence,
        ),
        ("Private", count(figures.totals.private), private),
    ];
    let shown: String = tiles
        .iter()
        .map(|(name, value, more)| {
            format!(
                "<div class=\"tile\"><dt>{}</dt><dd><strong>{}</strong><span>{}</span></dd></div>",
                Escaped(name),
                Escaped(value),
                Escaped(more)
            )
        })
        .collect();
    format!("<dl class=\"tiles\">{shown}</dl>\n")
}

fn charts_of(figures: &Figures, palette: &Palette) -> String {
    let spend = &figures.spend;
    let pace = match spend.week_budget_usd {
        Some(budget) => format!(
            "This week {} of {} so far; {} at its end if it goes on like this.",
            dollars(spend.week_spent_usd),
            dollars(budget),
            dollars(spend.week_projected_usd)
        ),
        None => format!(
            "This week {} so far; {} at its end if it goes on like this. No budget is set (budget.week_usd).",
            dollars(spend.week_spent_usd),
            dollars(spend.week_projected_usd)
        ),
    };
    let curve = match figures.curve.corrected_lanes.as_slice() {
        [] => "What other bars would have come to. Chances are the router’s own word: too few outcomes to correct them.".into(),
        lanes => format!("What other bars would have come to. Chances are corrected by outcomes: {}.", lanes.join(", ")),
    };
    let quality = match figures.curve.today {
        Some(_) => card(
            "Quality against cost",
            "half",
            &[figure(
                &charts::curve(&figures.curve),
                "",
                &format!("{curve} Private tasks are local on all of it."),
            )],
        ),
        None => String::new(),
    };
    let calibration = match figures.drift.calibration_error {
        Some(error) => figure(
            &charts::calibration(&figures.drift.calibration),
            "",
            &format!(
                "On the line a chance keeps its word; larger dots rest on more answers. Off by {error:.3} on average; by halves {}.",
                shown::halves(&figures.drift)
            ),
        ),
        None => paragraph(
            "empty",
            "No answer was judged, so nobody knows whether the router’s chances keep their word.",
        ),
    };
    [
        card(
            "Where tasks went",
            "half",
            &[figure(
                &charts::lanes(&figures.drift.days, palette),
                &legend(palette),
                "First choices of the router, by UTC day.",
            )],
        ),
        card(
            "Spend by day",
            "half",
            &[figure(&charts::spend(spend), "", &pace), tables::budgets(&spend.agents)],
        ),
        quality,
        card("Do chances keep their word?", "half", &[calibration]),
    ]
    .concat()
}

fn legend(palette: &Palette) -> String {
    let entries: String = palette
        .iter()
        .map(|(lane, class)| format!("<li><i class=\"{class}\"></i>{}</li>", Escaped(lane)))
        .collect();
    format!("<ul class=\"legend\">{entries}</ul>")
}

fn savings(figures: &Figures) -> String {
    let savings = &figures.savings;
    let mut said = format!("Assumed: {}.", savings.assumption);
    if savings.expected_public_tasks > 0 {
        said.push_str(&format!(
            " The decisions themselves expected {} for {} of the public ones.",
            dollars(savings.expected_public_usd),
            count(savings.expected_public_tasks)
        ));
    }
    card("Saved against all-cloud", "half", &[tables::savings(savings), paragraph("note-text", &said)])
}

fn moves(figures: &Figures) -> String {
    let shadows = &figures.shadows;
    let shown = match shadows.judged {
        0 => "No cloud answer was tried again on a local lane (learning.shadow_share).".to_owned(),
        judged => format!(
            "Shadows: {} of {} cloud answers would have done from a local lane; these cost {}.",
            count(shadows.would_do),
            count(judged),
            dollars(shadows.would_do_usd)
        ),
    };
    let up = match figures.escalated.as_slice() {
        [] => paragraph("empty", "No task went up after a first try."),
        rows => tables::escalated(rows),
    };
    card("Second tries", "half", &[up, paragraph("note-text", &shown)])
}

fn stayed(figures: &Figures) -> String {
    let stayed = &figures.could_have_stayed;
    let part = match stayed.tasks {
        0 => paragraph("empty", "None that anybody knows of."),
        tasks => {
            let said = format!(
                "{} for {}; shadows have shown it of {} for {}. The dearest:",
                things(tasks, "task"),
                dollars(stayed.usd),
                count(stayed.shown_tasks),
                dollars(stayed.shown_usd)
            );
            [paragraph("lead", &said), tables::could_have_stayed(&stayed.flags)].concat()
        }
    };
    card("Cloud calls that could have stayed local", "wide", &[part])
}

fn gone_up(figures: &Figures) -> String {
    let up = &figures.should_have_gone_up;
    let part = match up.tasks {
        0 => paragraph("empty", "None that anybody knows of."),
        tasks => {
            let by: Vec<String> = up
                .by_evidence
                .iter()
                .map(|(evidence, tasks)| format!("{} by {evidence}", count(*tasks)))
                .collect();
            let said =
                format!("{}: {}. Those with the weightiest evidence:", things(tasks, "task"), by.join(", "));
            [paragraph("lead", &said), tables::should_have_gone_up(&up.flags)].concat()
        }
    };
    card("Local answers that were not good enough", "wide", &[part])
}

fn drift(figures: &Figures) -> String {
    let constant = &figures.drift.constant;
    let share = percent(constant.share.unwrap_or_default());
    let said = match (constant.is_constant, &constant.lane) {
        (Some(true), Some(lane)) => {
            format!(
                "The router has become a constant: {share} of the public tasks that it was free to place take {lane}."
            )
        }
        (Some(false), Some(lane)) => {
            format!(
                "The router tells tasks apart: of the public ones that it was free to place, {share} take {lane}, the most."
            )
        }
        _ => format!(
            "{} were free to be placed: too few to tell whether the router is a constant.",
            things(constant.tasks, "public task")
        ),
    };
    card(
        "Policies in force",
        "wide",
        &[tables::versions(&figures.drift.versions), paragraph("note-text", &said)],
    )
}
