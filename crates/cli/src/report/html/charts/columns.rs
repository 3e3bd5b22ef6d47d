//! Columns by day: spend against its budgets, and the lanes that were chosen.

use jiff::civil::Date;
use trilane_routing::review::drift::DayShare;
use trilane_routing::review::spend::{DaySpend, Spend};
use trilane_routing::review::words::{count, dollars};

use super::{Drawing, Size, both, short_dollars};
use crate::report::html::lanes::Palette;
use crate::report::shown;

/// Share of a day's room that its column takes.
const FILLED: f64 = 0.68;

/// Room for the word under a column, pixels.
const WORD: [f64; 2] = [46.0, 38.0];

/// What was spent each day, with the even line of the week's budget and the day's budget.
pub(in super::super) fn spend(spend: &Spend) -> String {
    both(|size| draw_spend(spend, size))
}

fn draw_spend(spend: &Spend, size: Size) -> String {
    let bounds = [spend.even_day_usd, spend.day_budget_usd];
    let most = spend.days.iter().map(|day| day.spent_usd).fold(0.0, f64::max);
    // A budget that is far away would press everything else flat.
    let near = |bound: &f64| most == 0.0 || *bound <= most * 4.0;
    let top = bounds.into_iter().flatten().filter(near).fold(most, f64::max);
    let mut drawing = Drawing::new(size, [0.0, spend.days.len().max(1) as f64], [0.0, top * 1.08]);
    drawing.lines(short_dollars);
    drawing.names("UTC day", "dollars");
    for (index, DaySpend { day, spent_usd }) in spend.days.iter().enumerate() {
        let is_over = spend.even_day_usd.is_some_and(|even| *spent_usd > even);
        let class = if is_over { "over" } else { "spent" };
        let hint = format!("{}: {}", shown::day(*day), dollars(*spent_usd));
        let room = room(&drawing, index);
        drawing.bar(class, room, [0.0, *spent_usd], &hint);
    }
    let days: Vec<Date> = spend.days.iter().map(|day| day.day).collect();
    name_days(&mut drawing, &days);
    for (bound, class, word) in
        [(spend.even_day_usd, "even", "even pace"), (spend.day_budget_usd, "limit", "day’s budget")]
    {
        let Some(bound) = bound.filter(near) else { continue };
        let (y, [left, right]) = (drawing.y(bound), drawing.across.map(|value| drawing.x(value)));
        drawing.line(class, [left, y], [right, y]);
        drawing.text("note", [right, y - 5.0], "end", &format!("{word} {}", dollars(bound)));
    }
    let described: Vec<String> =
        spend.days.iter().map(|day| format!("{}: {}", shown::day(day.day), dollars(day.spent_usd))).collect();
    drawing.svg("spend", "Spend by day", &described.join("; "))
}

/// How many first decisions chose each lane, day by day.
pub(in super::super) fn lanes(days: &[DayShare], palette: &Palette) -> String {
    both(|size| draw_lanes(days, palette, size))
}

fn draw_lanes(days: &[DayShare], palette: &Palette, size: Size) -> String {
    let total = |day: &DayShare| day.by_lane.values().sum::<u64>();
    let most = days.iter().map(total).max().unwrap_or_default() as f64;
    let mut drawing = Drawing::new(size, [0.0, days.len().max(1) as f64], [0.0, most * 1.05]);
    drawing.lines(|value| count(value as u64));
    drawing.names("UTC day", "tasks");
    for (index, day) in days.iter().enumerate() {
        let mut low = 0.0;
        // Drawn as the legend has them: from the weakest lane at the foot to the cloud on top.
        for (lane, class) in palette.iter() {
            let tasks = day.by_lane.get(lane).copied().unwrap_or_default();
            if tasks > 0 {
                let hint = format!("{}: {} on {lane}", shown::day(day.day), count(tasks));
                let room = room(&drawing, index);
                drawing.bar(class, room, [low, low + tasks as f64], &hint);
                low += tasks as f64;
            }
        }
    }
    name_days(&mut drawing, &days.iter().map(|day| day.day).collect::<Vec<_>>());
    let described: Vec<String> = days
        .iter()
        .map(|day| {
            let lanes = day.by_lane.iter().map(|(lane, tasks)| format!("{} on {lane}", count(*tasks)));
            format!("{}: {}", shown::day(day.day), lanes.collect::<Vec<_>>().join(", "))
        })
        .collect();
    drawing.svg("lanes", "Tasks by lane and day", &described.join("; "))
}

/// From where to where a day's column reaches.
fn room(drawing: &Drawing, index: usize) -> [f64; 2] {
    let gap = (1.0 - FILLED) / 2.0;
    let index = index as f64;
    [drawing.x(index + gap), drawing.x(index + 1.0 - gap)]
}

/// As many days as there is room for their words, the last one always.
fn name_days(drawing: &mut Drawing, days: &[Date]) {
    let [left, right] = drawing.across.map(|value| drawing.x(value));
    let room = WORD[usize::from(drawing.is_narrow())];
    let every = (days.len() as f64 * room / (right - left)).ceil().max(1.0) as usize;
    let y = drawing.y(0.0) + 16.0;
    for (index, day) in
        days.iter().enumerate().filter(|(index, _)| (days.len() - 1 - index).is_multiple_of(every))
    {
        let word = if days.len() > 14 || every > 1 { day.strftime("%-d %b") } else { day.strftime("%a %-d") };
        drawing.text("tick", [drawing.x(index as f64 + 0.5), y], "middle", &word.to_string());
    }
}
