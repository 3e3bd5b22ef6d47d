//! Quality against cost: what other bars would have come to, and where the fleet stands today.

use trilane_routing::review::curve::{Curve, Point};
use trilane_routing::review::words::{dollars, percent};

use super::{Drawing, Size, both, short_dollars};

/// The curve from all local to all cloud, with today's point on it.
pub(in super::super) fn curve(curve: &Curve) -> String {
    both(|size| draw(curve, size))
}

fn draw(curve: &Curve, size: Size) -> String {
    let points = || curve.points.iter().chain(&curve.today);
    let most = points().map(|point| point.cost_usd).fold(0.0, f64::max);
    let worst = points().map(|point| point.quality).fold(1.0, f64::min);
    let best = points().map(|point| point.quality).fold(0.0, f64::max);
    let air = ((best - worst) * 0.12).max(0.02);
    let mut drawing = Drawing::new(size, [0.0, most * 1.04], [(worst - air).max(0.0), (best + air).min(1.0)]);
    drawing.lines(|value| format!("{value:.2}"));
    drawing.words_below(short_dollars);
    drawing.names("expected dollars", "expected quality");
    let at = |drawing: &Drawing, point: &Point| [drawing.x(point.cost_usd), drawing.y(point.quality)];
    let line: Vec<[f64; 2]> = curve.points.iter().map(|point| at(&drawing, point)).collect();
    drawing.path("curve", &line);
    for point in &curve.points {
        let place = at(&drawing, point);
        drawing.dot("bar-point", place, 2.2, &said(point));
    }
    if let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) {
        let ([x, y], [end_x, end_y]) = (at(&drawing, first), at(&drawing, last));
        drawing.dot("end", [x, y], 4.0, &said(first));
        drawing.dot("end", [end_x, end_y], 4.0, &said(last));
        // Above its point: the word of today stands below its own, which may be the same.
        drawing.text("word", [x + 9.0, y - 8.0], "start", "cheap and broken");
        drawing.text("word", [end_x - 2.0, end_y - 10.0], "end", "expensive and smart");
    }
    if let Some(today) = &curve.today {
        let [x, y] = at(&drawing, today);
        drawing.dot("today", [x, y], 6.5, &said(today));
        let is_left = x < drawing.size.width / 2.0;
        let (anchor, aside) = if is_left { ("start", 11.0) } else { ("end", -11.0) };
        let word = format!("today: {:.2} for {}", today.quality, dollars(today.cost_usd));
        drawing.text("today-word", [x + aside, y + 18.0], anchor, &word);
    }
    let described = |point: &Point, word: &str| {
        format!("{word}: quality {:.2} for {}", point.quality, dollars(point.cost_usd))
    };
    let description: Vec<String> = [
        curve.points.first().map(|point| described(point, "everything local, cheap and broken")),
        curve.today.as_ref().map(|point| described(point, "today")),
        curve.points.last().map(|point| described(point, "everything in the cloud, expensive and smart")),
    ]
    .into_iter()
    .flatten()
    .collect();
    drawing.svg("curve", "Expected quality against expected cost", &description.join("; "))
}

fn said(point: &Point) -> String {
    format!(
        "bar {:.2}: quality {:.2} for {}, {} in the cloud",
        point.threshold,
        point.quality,
        dollars(point.cost_usd),
        percent(point.cloud_share)
    )
}
