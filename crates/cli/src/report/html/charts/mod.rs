//! Charts as inline SVG, each drawn twice: for a desk and for a phone, so that its words are readable on both.
//!
//! * [`columns`]: spend by day, lanes by day; [`curve`]: quality against cost; [`calibration`]

mod calibration;
mod columns;
mod curve;

use std::fmt::Write;

use trilane_routing::review::words::dollars;

pub(super) use self::calibration::calibration;
pub(super) use self::columns::{lanes, spend};
pub(super) use self::curve::curve;
use super::markup::Escaped;

/// Room for a chart, CSS pixels.
#[derive(Debug, Clone, Copy)]
struct Size {
    class: &'static str,
    width: f64,
    height: f64,
}

const DESK: Size = Size { class: "desk", width: 540.0, height: 270.0 };
const PHONE: Size = Size { class: "phone", width: 300.0, height: 230.0 };

/// Between the edge and what is drawn: top, right, bottom, left.
const MARGINS: [f64; 4] = [22.0, 14.0, 34.0, 52.0];

/// A drawing with two axes.
struct Drawing {
    size: Size,
    /// What lies at the left and right end.
    across: [f64; 2],
    /// What lies at the lower and upper end.
    up: [f64; 2],
    marks: String,
}

impl Drawing {
    fn new(size: Size, across: [f64; 2], up: [f64; 2]) -> Self {
        let wide = |[low, high]: [f64; 2]| if high > low { [low, high] } else { [low, low + 1.0] };
        Self { size, across: wide(across), up: wide(up), marks: String::new() }
    }

    fn x(&self, value: f64) -> f64 {
        let [_, right, _, left] = MARGINS;
        let [low, high] = self.across;
        left + (value - low) / (high - low) * (self.size.width - left - right)
    }

    fn y(&self, value: f64) -> f64 {
        let [top, _, bottom, _] = MARGINS;
        let [low, high] = self.up;
        self.size.height - bottom - (value - low) / (high - low) * (self.size.height - top - bottom)
    }

    fn is_narrow(&self) -> bool {
        self.size.class == PHONE.class
    }

    /// Lines across at round values of the upright axis, with their words.
    fn lines(&mut self, shown: impl Fn(f64) -> String) {
        let [left, right] = self.across;
        for value in ticks(self.up) {
            let y = self.y(value);
            self.line("grid", [self.x(left), y], [self.x(right), y]);
            let x = self.x(left) - 6.0;
            self.text("tick", [x, y + 4.0], "end", &shown(value));
        }
    }

    /// Words under the other axis at round values.
    fn words_below(&mut self, shown: impl Fn(f64) -> String) {
        let y = self.y(self.up[0]) + 16.0;
        for value in ticks(self.across) {
            self.text("tick", [self.x(value), y], "middle", &shown(value));
        }
    }

    /// What the axes are.
    fn names(&mut self, across: &str, up: &str) {
        let [left, right] = self.across.map(|value| self.x(value));
        self.text("axis", [right, self.size.height - 3.0], "end", across);
        self.text("axis", [left - 46.0, 11.0], "start", up);
    }

    fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let _ = write!(
            self.marks,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: &str, text: &str) {
        let text = Escaped(text);
        let _ = write!(
            self.marks,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn bar(&mut self, class: &str, [left, right]: [f64; 2], [low, high]: [f64; 2], hint: &str) {
        let (top, height) = (self.y(high), (self.y(low) - self.y(high)).max(0.0));
        let hint = Escaped(hint);
        let _ = write!(
            self.marks,
            "<rect class=\"mark {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
             <title>{hint}</title></rect>",
            (right - left).max(0.5)
        );
    }

    fn dot(&mut self, class: &str, [x, y]: [f64; 2], radius: f64, hint: &str) {
        let hint = Escaped(hint);
        let _ = write!(
            self.marks,
            "<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{hint}</title></circle>"
        );
    }

    fn path(&mut self, class: &str, points: &[[f64; 2]]) {
        let mut path = String::new();
        for (index, [x, y]) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        let _ = write!(self.marks, "<path class=\"mark {class}\" d=\"{path}\"/>");
    }

    fn svg(self, name: &str, title: &str, description: &str) -> String {
        let Size { class, width, height } = self.size;
        let (title, description, marks) = (Escaped(title), Escaped(description), self.marks);
        format!(
            "<svg class=\"chart {class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-labelledby=\"{name}-{class}-title {name}-{class}-text\">\
             <title id=\"{name}-{class}-title\">{title}</title><desc id=\"{name}-{class}-text\">{description}</desc>\
             {marks}</svg>"
        )
    }
}

/// Both drawings of a chart.
fn both(draw: impl Fn(Size) -> String) -> String {
    [DESK, PHONE].map(draw).concat()
}

/// Dollars beside an axis: no more digits than the round value has.
fn short_dollars(usd: f64) -> String {
    let shown = dollars(usd);
    match shown.contains('.') {
        true => shown.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => shown,
    }
}

/// Some four round values between both ends: 1, 2 or 5 times a power of ten apart.
fn ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    if !rough.is_finite() || rough <= 0.0 {
        return vec![low];
    }
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough).unwrap_or(10.0) * power;
    let first = (low / step).ceil() as i64;
    // A hair beyond the end is the end.
    (first..).map(|index| index as f64 * step).take_while(|value| *value <= high + step * 1e-9).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks([0.0, 1.0]), [0.0, 0.5, 1.0]);
        assert_eq!(ticks([0.0, 38.0]), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks([0.0, 0.0]), [0.0]);
        assert!(ticks([0.0, 1e-4]).len() <= 6 && ticks([0.3, 0.9]).len() <= 6);
    }

    #[test]
    fn dollars_beside_an_axis_are_short() {
        assert_eq!([0.0, 0.4, 2.0, 150.0, 2.5].map(short_dollars), ["$0", "$0.4", "$2", "$150", "$2.5"]);
    }

    #[test]
    fn an_axis_without_length_is_drawn_all_the_same() {
        let mut drawing = Drawing::new(PHONE, [0.0, 0.0], [0.0, 0.0]);
        drawing.lines(|value| value.to_string());
        drawing.dot("x", [drawing.x(0.0), drawing.y(0.0)], 1.0, "");
        let svg = drawing.svg("n", "t", "d");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
