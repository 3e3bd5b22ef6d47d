//! The review as one page: no script, nothing from elsewhere, light and dark, for desk, phone and paper.
//!
//! * [`markup`]: text that becomes markup, escaped; [`lanes`]: their colours; [`charts`]: inline SVG
//! * [`sections`]: the cards of the page; [`tables`]: the tables in them

mod charts;
mod lanes;
mod markup;
mod sections;
mod tables;

use trilane_routing::review::Figures;

use self::lanes::Palette;
use self::markup::{Escaped, paragraph};
use super::shown::time;

const CSS: &str = include_str!("page.css");

/// What a browser is told: no script whatever a name says, and nothing is fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole page.
pub(super) fn page(figures: &Figures) -> String {
    let span = format!("{} to {}", time(figures.since), time(figures.until));
    let main = match figures.coverage.tasks {
        0 => summary(figures),
        _ => [summary(figures), sections::all(figures, &Palette::of(figures))].concat(),
    };
    let span = Escaped(&span);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Trilane review, {span}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n\
         <header class=\"top\"><h1>Trilane <span>review</span></h1><p>{span}</p></header>\n\
         <main>\n{main}</main>\n<footer>{}</footer>\n</body>\n</html>\n",
        paragraph(
            "",
            "Made by `trilane report`. No text of any task is in it; `trilane explain ID` says more of one."
        )
    )
}

fn summary(figures: &Figures) -> String {
    let sentences: String =
        figures.summary.iter().map(|sentence| format!("<li>{}</li>", Escaped(sentence))).collect();
    format!("<section class=\"summary\" aria-label=\"Summary\"><ul>{sentences}</ul></section>\n")
}
