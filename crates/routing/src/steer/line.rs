//! How much of a week's dollars may be spent by now: a line from Monday to Sunday, bent by how the week before went.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use trilane_protocol::ledger::Book;

use crate::budget::{Window, day_of};

const DAYS: usize = 7;
const DAY_S: f64 = 86_400.0;

/// Share of the week's dollars that is spread evenly whatever the week before was like: a day that was silent then may
/// spend a seventh of this, and as much stays unspent where it is silent again.
const EVEN: f64 = 0.2;

/// The line of one week, as seen from one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    usd: f64,
    /// Share of the dollars by day, Monday first; 1 together.
    shares: [f64; DAYS],
    /// Seconds since the week began.
    elapsed_s: f64,
    /// Seconds until it is over.
    pub(super) left_s: f64,
    /// What is spent and set aside this week.
    pub(super) spent_usd: f64,
}

impl Line {
    /// The line of the week that `now` lies in, for `usd` dollars.
    pub(super) fn of_week(usd: f64, book: &Book, now: Timestamp) -> Self {
        let left_s = Window::Week.end(now).duration_since(now).as_secs_f64();
        let monday = monday(now);
        let week = week_of(book, monday);
        Self {
            usd,
            shares: shares(book, monday),
            elapsed_s: (DAYS as f64 * DAY_S - left_s).max(0.0),
            left_s,
            spent_usd: week.iter().sum(),
        }
    }

    /// What may be spent by this many seconds from now.
    pub(super) fn usd_after(&self, ahead_s: f64) -> f64 {
        let at_days = ((self.elapsed_s + ahead_s) / DAY_S).clamp(0.0, DAYS as f64);
        let part = |(day, share): (usize, &f64)| share * (at_days - day as f64).clamp(0.0, 1.0);
        self.usd * self.shares.iter().enumerate().map(part).sum::<f64>()
    }
}

fn monday(now: Timestamp) -> Date {
    let today = day_of(now);
    today.saturating_sub(i32::from(today.weekday().to_monday_zero_offset()).days())
}

/// Dollars of each day of the week from `monday`.
fn week_of(book: &Book, monday: Date) -> [f64; DAYS] {
    std::array::from_fn(|day| {
        let date = monday.saturating_add(i64::try_from(day).unwrap_or_default().days());
        book.days.get(&date).map_or(0.0, |day| day.total.taken().dollars())
    })
}

/// How the week before was spent, where it was spent on from its beginning; else evenly.
fn shares(book: &Book, monday: Date) -> [f64; DAYS] {
    let even = 1.0 / DAYS as f64;
    let last_monday = monday.saturating_sub(7.days());
    let before = week_of(book, last_monday);
    let sum: f64 = before.iter().sum();
    let knows_all_of_it = book.days.keys().next().is_some_and(|first| *first <= last_monday);
    if sum <= 0.0 || !knows_all_of_it {
        return [even; DAYS];
    }
    before.map(|usd| EVEN * even + (1.0 - EVEN) * usd / sum)
}
