//! The made-up week as text, as JSON and as a page.

mod week;

use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use trilane_protocol::ledger::Book;
use trilane_routing::review::{Figures, Review, Terms};
use trilane_service::Config;

use self::week::{Week, week};
use super::{html, text};

fn config() -> Config {
    trilane_service::config::load_from(Some("[budget]\nday_usd = 1.5\nweek_usd = 4.0\n"), []).unwrap()
}

fn now() -> Timestamp {
    "2026-11-23T06:00:00Z".parse().unwrap()
}

fn figures_of(week: &Week, max_tasks: usize) -> Figures {
    let config = config();
    let budgets = config.budgets();
    let mut review = Review::new(Terms {
        registry: &config.registry,
        budgets: &budgets,
        since: now() - (7 * 24).hours(),
        until: now(),
        flags: 4,
        max_tasks,
        seed: 1,
    });
    week.entries.iter().for_each(|entry| review.take_entry(entry));
    week.results.iter().for_each(|result| review.take_result(result));
    week.records.iter().for_each(|record| review.take_route(record));
    week.outcomes.iter().for_each(|outcome| review.take_outcome(outcome));
    for (agent, task_id, feedback) in &week.feedback {
        review.take_feedback(agent.clone(), task_id.clone(), *feedback);
    }
    review.conclude(&week.book)
}

fn figures() -> Figures {
    figures_of(&week(now()), 100_000)
}

/// No more digits than any machine agrees on, and of the curve both ends.
fn rounded(value: &mut Value) {
    match value {
        Value::Array(values) => {
            if values.len() > 40 {
                values.drain(1..values.len() - 1);
            }
            values.iter_mut().for_each(rounded);
        }
        Value::Object(fields) => fields.values_mut().for_each(rounded),
        Value::Number(number) if number.is_f64() => {
            *value = Value::from((number.as_f64().unwrap() * 1e6).round() / 1e6);
        }
        _ => {}
    }
}

#[test]
fn the_week_as_text() {
    insta::assert_snapshot!(text::report(&figures()));
}

#[test]
fn the_week_as_json() {
    let mut json = serde_json::to_value(figures()).unwrap();
    rounded(&mut json);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn lines_fit_a_terminal_of_80_columns() {
    let texts = [figures(), figures_of(&week(now()), 100)].map(|figures| text::report(&figures)).join("\n");
    for line in texts.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn an_empty_week_says_what_to_do() {
    let empty = figures_of(&Week::default(), 10);
    let shown = text::report(&empty);
    assert!(shown.contains("No task ended in this time: publish some with `trilane submit`"), "{shown}");
    let page = html::page(&empty);
    assert!(page.contains("No task ended in this time") && !page.contains("<svg"), "{page}");
}

#[test]
fn what_is_left_out_of_a_large_week_is_said() {
    let sampled = figures_of(&week(now()), 100);
    assert!(sampled.coverage.one_in > 1);
    assert!(text::report(&sampled).contains("These are more tasks than are held at once"));
    assert!(html::page(&sampled).contains("These are more tasks than are held at once"));
}

/// Versions are free text, the one thing on the page that is.
#[test]
fn no_record_becomes_markup_or_script() {
    let mut week = week(now());
    for record in &mut week.records {
        record.decision.policy_version = "<script>alert(1)</script>\"'&".into();
    }
    let page = html::page(&figures_of(&week, 100_000));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    assert!(!page.contains("<script") && !page.contains("javascript:"), "no script at all");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
}

#[test]
fn the_page_holds_no_text_of_a_task_and_no_number_that_is_none() {
    for figures in
        [figures(), figures_of(&Week { results: week(now()).results[..1].to_vec(), ..Week::default() }, 10)]
    {
        let page = html::page(&figures);
        for never in ["a made-up answer", "NaN", "inf\"", "infinity"] {
            assert!(!page.contains(never), "{never}");
        }
        assert_eq!(page.matches("<svg").count() % 2, 0, "each chart for desk and phone");
    }
    assert_eq!(figures_of(&Week::default(), 10).spend.total_usd, 0.0);
    assert_eq!(Week::default().book, Book::default());
}

/// Writes the page where TRILANE_SHOTS names a folder, for pictures of it.
#[test]
fn page_for_pictures() {
    if let Some(folder) = std::env::var_os("TRILANE_SHOTS") {
        std::fs::write(std::path::Path::new(&folder).join("report.html"), html::page(&figures())).unwrap();
    }
}
