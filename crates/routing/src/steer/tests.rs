//! Weeks replayed against the bar: day and night, a rush, a silent day, another mix, costs of all sizes, clocks that jump.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use trilane_protocol::Usd;
use trilane_protocol::ledger::{Amounts, Book};

use super::*;
use crate::budget::day_of;

/// By how much a target may be missed at the end of a week, as a share of it.
const TOLERANCE: f64 = 0.05;

/// By how much dollars may be off the line at a midnight, as a share of the week's.
const MIDNIGHT_TOLERANCE: f64 = 0.05;

/// The replayed weeks begin here, on a Monday.
const MONDAY: &str = "2026-11-16T00:00:00Z";

/// Share of Monday's tasks that come in its rush hour.
const RUSH: f64 = 8.0;

fn monday() -> Timestamp {
    MONDAY.parse().unwrap()
}

/// A small generator, so that the weeks are the same in every run.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One task of the replay.
#[derive(Clone, Copy)]
struct Task {
    at: Timestamp,
    gain: f64,
    usd: f64,
}

/// Tasks an hour at an hour of the week, 0 to 167.
fn tasks_an_hour(hour: usize) -> f64 {
    let by_day = [1.0, 1.2, 1.0, 1.1, 0.9, 0.3, 0.0][hour / 24];
    let by_hour = match hour % 24 {
        0..6 => 6.0,
        6..9 => 30.0,
        9..18 => 60.0,
        _ => 20.0,
    };
    let rush = if hour == 9 { RUSH } else { 1.0 };
    by_day * by_hour * rush
}

/// A week of tasks: from Wednesday on they gain less, and cost from a tenth of a cent to ten.
fn week(start: Timestamp, random: &mut Random) -> Vec<Task> {
    let mut tasks = Vec::new();
    for hour in 0..168 {
        let count = (tasks_an_hour(hour) * (0.8 + 0.4 * random.unit())) as usize;
        let mut seconds: Vec<f64> = (0..count).map(|_| random.unit() * 3_600.0).collect();
        seconds.sort_by(f64::total_cmp);
        for second in seconds {
            let at = start + ((hour as f64 * 3_600.0 + second) as i64).seconds();
            let gain = if hour < 48 { 0.9 * random.unit() } else { 0.5 * random.unit() - 0.1 };
            tasks.push(Task { at, gain, usd: 0.001 * 100_f64.powf(random.unit()) });
        }
    }
    tasks
}

fn spend(book: &mut Book, at: Timestamp, usd: f64) {
    let day = book.days.entry(day_of(at)).or_default();
    let settled = Usd::nearest(day.total.settled.dollars() + usd).unwrap();
    day.total = Amounts { settled, ..day.total };
}

fn spent(book: &Book, from: Date) -> f64 {
    let week = from..from.saturating_add(7.days());
    book.days.iter().filter(|(day, _)| week.contains(day)).map(|(_, day)| day.total.settled.dollars()).sum()
}

/// Runs a task past the bar; whether it went.
fn step(steering: &mut Steering, book: &mut Book, task: Task) -> bool {
    let goes = task.gain > 0.0 && task.gain >= steering.bar(book, task.at);
    let zone = if goes { Zone::Cloud } else { Zone::Local };
    steering.note(Seen { gain: task.gain, usd: task.usd, at: task.at }, zone);
    if goes {
        spend(book, task.at, task.usd);
    }
    goes
}

#[test]
fn a_share_is_held_over_a_week_of_all_weathers() {
    for share in [0.05, 0.3, 0.6] {
        let (mut steering, mut book) = (Steering::new(Target::CloudShare(share)), Book::default());
        let tasks = week(monday(), &mut Random(7));
        let went: Vec<bool> = tasks.iter().map(|task| step(&mut steering, &mut book, *task)).collect();
        let part = |went: &[bool]| went.iter().filter(|went| **went).count() as f64 / went.len() as f64;
        assert!((part(&went) - share).abs() <= TOLERANCE * share, "{share}: {}", part(&went));
        for chunk in went.chunks(1_000) {
            assert!((part(chunk) - share).abs() <= 0.06, "{share}: {} of a thousand", part(chunk));
        }
    }
}

#[test]
fn of_tasks_that_all_gain_alike_the_share_goes_all_the_same() {
    let mut steering = Steering::new(Target::CloudShare(0.3));
    let mut random = Random(3);
    let went = (0..5_000).filter(|_| {
        let task = Task { at: monday(), gain: 0.4 + TIE * random.unit(), usd: 0.01 };
        step(&mut steering, &mut Book::default(), task)
    });
    let share = went.count() as f64 / 5_000.0;
    assert!((share - 0.3).abs() < TOLERANCE * 0.3, "{share}");
}

#[test]
fn what_gains_nothing_is_never_paid_for() {
    for target in [Target::CloudShare(0.9), Target::UsdWeek(1e6)] {
        let mut steering = Steering::new(target);
        for seconds in 0..2_000 {
            let task = Task { at: monday() + i64::from(seconds).seconds(), gain: -0.2, usd: 0.01 };
            assert!(!step(&mut steering, &mut Book::default(), task), "{target:?}");
        }
        assert!(steering.debt <= MAX_DEBT);
    }
}

/// Runs `weeks` weeks past several classifiers in turn; what each midnight of the last one saw, dollars.
fn replay_dollars(usd: f64, classifiers: usize, weeks: i64) -> (Vec<f64>, Book) {
    let mut fleet = vec![Steering::new(Target::UsdWeek(usd)); classifiers];
    let (mut book, mut random, mut midnights) = (Book::default(), Random(11), Vec::new());
    for index in 0..weeks {
        let start = monday() + (index * 168).hours();
        let tasks = week(start, &mut random);
        midnights.clear();
        let mut tasks = tasks.into_iter().peekable();
        for day in 1..=7 {
            let midnight = start + (day * 24).hours();
            while let Some(task) = tasks.next_if(|task| task.at < midnight) {
                let who = (random.unit() * classifiers as f64) as usize;
                step(&mut fleet[who], &mut book, task);
            }
            midnights.push(spent(&book, day_of(start)));
        }
    }
    (midnights, book)
}

#[test]
fn dollars_keep_to_the_line_at_each_midnight_and_are_spent_by_the_end() {
    for classifiers in [1, 4] {
        let usd = 20.0;
        let (midnights, mut book) = replay_dollars(usd, classifiers, 2);
        // The line is made of the week before, so the last week's own entries are of no matter to it.
        let now = monday() + (168).hours();
        book.days.retain(|day, _| *day < day_of(now));
        let line = Line::of_week(usd, &book, now);
        for (day, spent) in midnights.iter().enumerate() {
            let planned = line.usd_after((day as f64 + 1.0) * 86_400.0);
            assert!(
                (spent - planned).abs() <= MIDNIGHT_TOLERANCE * usd,
                "{classifiers} classifiers, day {day}: {spent:.2} spent, {planned:.2} planned"
            );
        }
        assert!((midnights[6] - usd).abs() <= TOLERANCE * usd, "{:.2} of {usd}", midnights[6]);
    }
}

#[test]
fn the_first_week_is_even_and_leaves_a_silent_sunday_unspent() {
    let usd = 20.0;
    let (midnights, _) = replay_dollars(usd, 1, 1);
    for (day, spent) in midnights.iter().take(6).enumerate() {
        let planned = usd * (day as f64 + 1.0) / 7.0;
        assert!((spent - planned).abs() <= MIDNIGHT_TOLERANCE * usd, "day {day}: {spent:.2}, {planned:.2}");
    }
    assert!((midnights[6] - midnights[5]).abs() < 1e-9);
}

#[test]
fn who_begins_on_a_saturday_does_not_spend_the_week_in_an_hour() {
    let (mut steering, mut book) = (Steering::new(Target::UsdWeek(70.0)), Book::default());
    let (saturday, mut random) = (monday() + (5 * 24).hours(), Random(13));
    for second in 0..3_600 {
        let at = saturday + i64::from(second).seconds();
        step(&mut steering, &mut book, Task { at, gain: 0.5 + TIE * random.unit(), usd: 0.1 });
    }
    let hour_usd = 70.0 / 168.0;
    let spent = spent(&book, day_of(monday()));
    // Some tasks go before it is known how many come.
    assert!(spent > hour_usd && spent < CATCH_UP * hour_usd + 20.0 * 0.1, "{spent:.2}");
}

#[test]
fn a_restart_goes_on_where_the_book_stands() {
    let usd = 20.0;
    let mut book = Book::default();
    let mut steering = Steering::new(Target::UsdWeek(usd));
    for (index, task) in week(monday(), &mut Random(5)).into_iter().enumerate() {
        if index % 200 == 0 {
            steering = Steering::new(Target::UsdWeek(usd));
        }
        step(&mut steering, &mut book, task);
    }
    let saturday_night = usd * 6.0 / 7.0;
    let spent = spent(&book, day_of(monday()));
    assert!((spent - saturday_night).abs() < MIDNIGHT_TOLERANCE * usd, "{spent:.2}");
    let mut fresh = Steering::new(Target::CloudShare(0.3));
    let bar = fresh.bar(&Book::default(), monday());
    assert!((0.3..0.4).contains(&bar), "three in ten of gains spread from 0 to 0.5: {bar}");
}

#[test]
fn a_clock_that_jumps_moves_the_bar_by_steps_and_breaks_nothing() {
    for target in [Target::CloudShare(0.3), Target::UsdWeek(20.0)] {
        let (mut steering, mut book, mut random) = (Steering::new(target), Book::default(), Random(9));
        let mut last: Option<f64> = None;
        for index in 0..3_000_i64 {
            let jump = match index % 500 {
                100 => 40 * 24 * 3_600,
                101 => -30 * 24 * 3_600,
                102 => 400_000,
                _ => 0,
            };
            let at = monday() + (index + jump).seconds();
            let bar = steering.bar(&book, at);
            assert!((0.0..=CLOSED).contains(&bar), "{bar}");
            assert!(last.is_none_or(|last| (bar - last).abs() <= MAX_STEP + 1e-9), "{last:?} {bar}");
            last = Some(bar);
            let task = Task { at, gain: random.unit(), usd: 0.01 };
            let goes = task.gain >= bar;
            steering.note(
                Seen { gain: task.gain, usd: task.usd, at },
                if goes { Zone::Cloud } else { Zone::Local },
            );
            if goes {
                spend(&mut book, at, task.usd);
            }
        }
        assert!(steering.seen.len() <= WINDOW);
    }
}

#[test]
fn a_task_that_goes_up_for_its_answer_counts_once_and_as_the_cloud_s() {
    let mut steering = Steering::new(Target::CloudShare(0.3));
    steering.note(Seen { gain: 0.1, usd: 0.01, at: monday() }, Zone::Local);
    let stayed = steering.debt;
    steering.repay_one();
    assert!((stayed - 0.3).abs() < 1e-12 && (steering.debt + 0.7).abs() < 1e-12, "{}", steering.debt);
    assert_eq!(steering.seen.len(), 1);
}
