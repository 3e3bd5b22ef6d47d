//! Whether chances keep their word: what was given against what came of it.

use trilane_routing::review::Bin;
use trilane_routing::review::words::things;

use super::{Drawing, Size, both};

/// Radius of the dot with the most answers, pixels; the others by their area.
const LARGEST: f64 = 11.0;

/// One dot for each tenth of the chance; on the line a chance keeps its word.
pub(in super::super) fn calibration(bins: &[Bin]) -> String {
    both(|size| draw(bins, size))
}

fn draw(bins: &[Bin], size: Size) -> String {
    let mut drawing = Drawing::new(size, [0.0, 1.0], [0.0, 1.0]);
    drawing.lines(|value| format!("{value:.1}"));
    drawing.words_below(|value| format!("{value:.1}"));
    drawing.names("chance given", "quality found");
    let (start, end) = ([drawing.x(0.0), drawing.y(0.0)], [drawing.x(1.0), drawing.y(1.0)]);
    drawing.line("even", start, end);
    let most = bins.iter().map(|bin| bin.outcomes).max().unwrap_or(1).max(1) as f64;
    for bin in bins {
        let radius = (bin.outcomes as f64 / most).sqrt() * LARGEST;
        let place = [drawing.x(bin.predicted), drawing.y(bin.observed)];
        drawing.dot("bin", place, radius.max(2.5), &said(bin));
    }
    let described: Vec<String> = bins.iter().map(said).collect();
    drawing.svg("calibration", "Chance given against quality found", &described.join("; "))
}

fn said(bin: &Bin) -> String {
    let answers = things(bin.outcomes, "answer");
    format!("chance {:.2}, quality {:.2}, {answers}", bin.predicted, bin.observed)
}
