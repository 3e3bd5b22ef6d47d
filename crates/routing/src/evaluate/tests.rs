//! The metric by hand, the controls where they are known, and routing one by one.

use super::metric::Ranking;
use super::offline::{cross_judged, folds_of, in_parallel, ranked_in_folds};
use super::online::online;
use super::report::{Draw, few_labels, report};
use super::*;
use crate::seeded::Seeded;

fn lane(name: &str) -> LaneName {
    LaneName::new(name).unwrap()
}

fn pair() -> Pair {
    Pair { weak: lane("local-deep"), strong: lane("cloud") }
}

fn case(prompt: &str, weak: f64, strong: f64, usd: Option<f64>) -> Case {
    let outcomes = BTreeMap::from([
        (lane("local-deep"), Outcome { quality: weak, cost_usd: usd.map(|_| 0.0) }),
        (lane("cloud"), Outcome { quality: strong, cost_usd: usd }),
    ]);
    Case::of(&Row { id: "1".into(), prompt: prompt.into(), topic: None, outcomes }, &pair()).unwrap()
}

/// `count` tasks: every fourth one is hard, and only the strong lane can do it; the others both can.
fn planted(count: usize) -> Vec<Case> {
    let mut seeded = Seeded::new(11);
    let mut text = |word: &str| {
        let noise: Vec<String> = (0..8).map(|_| format!("word{}", seeded.below(200))).collect();
        format!("{word} {}", noise.join(" "))
    };
    (0..count)
        .map(|row| match row % 4 {
            0 => case(&text("prove"), 0.0, 1.0, Some(0.01)),
            1 => case(&text("copy"), 0.0, 0.0, Some(0.01)),
            _ => case(&text("list"), 1.0, 1.0, Some(0.01)),
        })
        .collect()
}

/// Twenty tasks, the first five of which only the strong lane can do, five that neither can, ten that both can.
fn twenty() -> Vec<Case> {
    let outcome = |row: usize| match row {
        0..5 => (0.0, 1.0),
        5..10 => (0.0, 0.0),
        _ => (1.0, 1.0),
    };
    (0..20).map(outcome).map(|(weak, strong)| case("x", weak, strong, None)).collect()
}

#[test]
fn figures_are_those_worked_out_by_hand() {
    let cases = twenty();
    let cases: Vec<&Case> = cases.iter().collect();
    // The right order: quality rises by 1/20 for each of the first five tasks, from 10/20 to 15/20.
    let scores: Vec<f64> = (0..20).map(|row| -f64::from(row)).collect();
    let ranking = Ranking::of(&cases, &scores);
    let curve = ranking.curve();
    // At or above a decile of 20 scores lie 1, 2, 4, 6, … 18 and 20 tasks.
    let shares: Vec<f64> = curve.iter().map(|(share, _)| (share * 20.0).round()).collect();
    assert_eq!(shares, [0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
    let figures = ranking.figures().unwrap();
    // In twentieths of tasks and of the gap of five: 0.5 + 1.5 + 2·3 + 2·4.5 + 14·5 = 87 of 5·20.
    assert!((figures.apgr - 0.87).abs() < 1e-9, "{}", figures.apgr);
    assert!((figures.cpt20 - 5.0).abs() < 1e-9, "{}", figures.cpt20);
    assert!((figures.cpt50 - 12.5).abs() < 1e-9, "{}", figures.cpt50);
    assert!((figures.cpt80 - 20.0).abs() < 1e-9, "{}", figures.cpt80);
    // 95 % of 15/20 is 14.25/20, so all five are needed.
    assert!((figures.saved_at_95 - 75.0).abs() < 1e-9, "{}", figures.saved_at_95);
}

#[test]
fn ties_are_broken_by_a_seed_and_not_by_the_order_of_rows() {
    let cases = planted(400);
    let cases: Vec<&Case> = cases.iter().collect();
    let sorted: Vec<&Case> = (0..4).flat_map(|kind| cases.iter().skip(kind).step_by(4).copied()).collect();
    let tied = Ranking::of(&sorted, &vec![0.5; 400]).figures().unwrap();
    assert!((tied.apgr - 0.5).abs() < 0.1, "{}", tied.apgr);
    assert_eq!(tied, Ranking::of(&sorted, &vec![0.5; 400]).figures().unwrap());
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let few = twenty();
    let few: Vec<&Case> = few.iter().take(10).collect();
    assert_eq!(
        Ranking::of(&few, &[0.0; 10]).figures().unwrap_err(),
        NotMeasured::TooFew { found: 10, least: LEAST_ROWS }
    );
    let alike: Vec<Case> = (0..30).map(|_| case("x", 1.0, 1.0, None)).collect();
    let alike: Vec<&Case> = alike.iter().collect();
    assert!(matches!(Ranking::of(&alike, &[0.0; 30]).figures().unwrap_err(), NotMeasured::NoGap { .. }));
}

#[test]
fn a_planted_rule_is_found_across_folds_and_controls_are_what_they_are() {
    let cases = planted(400);
    let all: Vec<&Case> = cases.iter().collect();
    let fold_of = folds_of(cases.len(), 4, 0);
    let judged = cross_judged(&cases, &pair(), &fold_of, None, 0);
    let scores = ranked_in_folds(&judged, &fold_of);
    let report = report(&all, &Draw { judged, scores }, &pair()).unwrap();
    let apgr = |name: &str| report.controls[name].apgr;
    assert!(report.figures.apgr > 0.8, "{}", report.figures.apgr);
    assert!((apgr("random") - 0.5).abs() < 0.05, "{}", apgr("random"));
    assert!(apgr("oracle") >= report.figures.apgr - 1e-9, "{}", apgr("oracle"));
    assert_eq!((apgr("always_weak"), apgr("always_strong")), (0.0, 1.0));
    assert!(report.calibration_error < 0.15, "{}", report.calibration_error);
    let interval = report.apgr_interval.unwrap();
    assert!(interval.low <= interval.mean && interval.mean <= interval.high);
    let dollars = report.dollars.unwrap();
    assert!((dollars.always_strong_usd - 10.0).abs() < 1e-6, "{}", dollars.always_strong_usd);
    assert!(dollars.gain_over_random_usd.low > 0.0, "{dollars:?}");
}

#[test]
fn saved_dollars_are_those_of_the_dear_tasks_too() {
    // The one task that needs the strong lane costs as much there as all the others together.
    let mut cases: Vec<Case> = (0..19).map(|_| case("x", 1.0, 1.0, Some(0.01))).collect();
    cases.push(case("x", 0.0, 1.0, Some(0.19)));
    let cases: Vec<&Case> = cases.iter().collect();
    let scores: Vec<f64> = (0..20).map(f64::from).collect();
    let saved = Ranking::of(&cases, &scores).saved_at(1.0);
    assert!((saved - 50.0).abs() < 1e-9, "{saved}");
}

#[test]
fn few_labels_spread_and_more_do_not_hurt() {
    let cases = planted(400);
    let all: Vec<&Case> = cases.iter().collect();
    let fold_of = folds_of(cases.len(), 2, 0);
    let apgr = |labels: usize| {
        let draws: Vec<Draw> = (0..3)
            .map(|seed| Draw::by_gain(cross_judged(&cases, &pair(), &fold_of, Some(labels), seed)))
            .collect();
        let (mean, few) = few_labels(&all, &draws, labels).unwrap();
        assert_eq!(few.apgr_by_seed.len(), 3);
        (mean.apgr, few.apgr_deviation)
    };
    let (few, many) = (apgr(25), apgr(200));
    assert!(many.0 > few.0, "{many:?} {few:?}");
    assert!(few.1 > many.1, "{many:?} {few:?}");
    assert!(few_labels(&all, &[], 3).is_err());
}

#[test]
fn one_by_one_holds_its_share_and_beats_chance() {
    let cases = planted(1_200);
    let run = online(&cases, &pair(), 0.3, 1).unwrap();
    assert!((run.online.strong_share - 30.0).abs() < 4.0, "{}", run.online.strong_share);
    assert!(run.online.gap_recovered > 0.6, "{}", run.online.gap_recovered);
    assert_eq!(run.judged.len(), 600);
    assert_eq!(run.online.curve.last().unwrap().rows, 1_200);
    assert_eq!(run.online, online(&cases, &pair(), 0.3, 1).unwrap().online, "the seed decides");
}

#[test]
fn folds_are_even_and_work_keeps_its_order() {
    let folds = folds_of(103, 5, 0);
    for fold in 0..5 {
        let count = folds.iter().filter(|of| **of == fold).count();
        assert!((20..=21).contains(&count), "{count}");
    }
    assert_ne!(folds, folds_of(103, 5, 1));
    assert_eq!(in_parallel(100, |item| item * 2), (0..100).map(|item| item * 2).collect::<Vec<_>>());
    assert_eq!(in_parallel(0, |item| item), Vec::<usize>::new());
}
