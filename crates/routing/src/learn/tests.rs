//! What heads learn, how true their chances are, and that bytes and explanations say the same.

use proptest::prelude::*;
use trilane_protocol::{Generation, Message, Role};

use super::*;
use crate::features::extract;
use crate::seeded::Seeded;

fn lane(name: &str) -> LaneName {
    LaneName::new(name).unwrap()
}

fn asked(text: &str) -> Vec<Message> {
    vec![Message { role: Role::User, content: text.to_owned() }]
}

fn features(text: &str) -> Features {
    extract(&asked(text), &Generation::default())
}

/// Texts of ten words each, among them `hard` or `easy`.
fn texts(count: usize, seed: u64) -> Vec<(String, bool)> {
    let mut seeded = Seeded::new(seed);
    let mut text = |row: usize| {
        let is_hard = row.is_multiple_of(2);
        let noise: Vec<String> = (0..9).map(|_| format!("word{}", seeded.below(300))).collect();
        (format!("{} {}", noise.join(" "), if is_hard { "hard" } else { "easy" }), is_hard)
    };
    (0..count).map(&mut text).collect()
}

/// A text's features, whether it is hard, and what became of it.
struct Planted {
    features: Features,
    is_hard: bool,
    outcome: [(LaneName, f64); 1],
}

/// Hard texts go well in one of ten and easy ones in nine of ten.
fn planted(count: usize, seed: u64) -> Vec<Planted> {
    let mut seeded = Seeded::new(seed ^ 1);
    let mut plant = |(text, is_hard): (String, bool)| {
        let is_good = seeded.share() < if is_hard { 0.1 } else { 0.9 };
        let outcome = [(lane("cloud"), f64::from(u8::from(is_good)))];
        Planted { features: features(&text), is_hard, outcome }
    };
    texts(count, seed).into_iter().map(&mut plant).collect()
}

fn fitted(planted: &[Planted]) -> Weights {
    let samples = planted.iter().map(|planted| Sample {
        features: &planted.features,
        outcomes: &planted.outcome,
        weight: 1.0,
    });
    Weights::fit(&samples.collect::<Vec<_>>())
}

fn chance(weights: &Weights, text: &str) -> f64 {
    weights.chance(&features(text), &lane("cloud")).unwrap().chance
}

#[test]
fn a_planted_rule_is_found_and_its_chances_are_true() {
    let weights = fitted(&planted(1_200, 7));
    let (mut hard, mut easy, mut distance) = (0.0_f64, 0.0_f64, 0.0_f64);
    let unseen = planted(1_000, 8);
    for Planted { features, is_hard, outcome } in &unseen {
        let chance = weights.chance(features, &lane("cloud")).unwrap().chance;
        *if *is_hard { &mut hard } else { &mut easy } += chance / 500.0;
        distance += (chance - outcome[0].1) / 1_000.0;
    }
    assert!((hard - 0.1).abs() < 0.05, "hard: {hard}");
    assert!((easy - 0.9).abs() < 0.05, "easy: {easy}");
    assert!(distance.abs() < 0.03, "all: {distance}");
}

#[test]
fn the_order_of_samples_hardly_matters() {
    let mut samples = planted(300, 3);
    let forwards = chance(&fitted(&samples), "a hard one");
    samples.reverse();
    assert!((forwards - chance(&fitted(&samples), "a hard one")).abs() < 0.05);
}

#[test]
fn each_outcome_moves_its_lane_and_no_other() {
    let mut weights = Weights::default();
    assert_eq!(weights.chance(&features("x"), &lane("cloud")), None);
    let mut last = 0.5;
    for _ in 0..5 {
        weights.learn(&features("sum the column"), &lane("cloud"), 1.0, 1.0).unwrap();
        let now = chance(&weights, "sum the column");
        assert!(now > last, "{now} after {last}");
        last = now;
    }
    assert!(chance(&weights, "sum the column") > chance(&weights, "paint a house by night"));
    assert_eq!(weights.lanes().collect::<Vec<_>>(), [&lane("cloud")]);
    assert_eq!(weights.chance(&features("x"), &lane("local-fast")), None);
    assert!((weights.chance(&features("x"), &lane("cloud")).unwrap().evidence - 5.0).abs() < 1e-9);
}

#[test]
fn learning_one_by_one_finds_the_planted_rule_too() {
    let mut weights = Weights::default();
    for Planted { features, outcome: [(lane, quality)], .. } in &planted(1_200, 5) {
        weights.learn(features, lane, *quality, 1.0).unwrap();
    }
    let unseen = planted(400, 6);
    let right = unseen.iter().filter(|planted| {
        let chance = weights.chance(&planted.features, &lane("cloud")).unwrap().chance;
        (chance < 0.5) == planted.is_hard
    });
    let right = right.count();
    assert!(right > 360, "{right} of 400");
}

#[test]
fn a_fitted_head_learns_on() {
    let mut weights = fitted(&planted(400, 2));
    let before = chance(&weights, "this one is hard");
    for _ in 0..200 {
        weights.learn(&features("this one is hard"), &lane("cloud"), 1.0, 1.0).unwrap();
    }
    assert!(before < 0.5 && chance(&weights, "this one is hard") > 0.7, "the lane's model was changed");
}

#[test]
fn a_heavier_outcome_moves_more_and_weights_are_cut() {
    let after = |weight: f64| {
        let mut weights = Weights::default();
        weights.learn(&features("sum the column"), &lane("cloud"), 1.0, weight).unwrap();
        chance(&weights, "sum the column")
    };
    assert!(after(5.0) > after(1.0));
    assert_eq!(after(MAX_WEIGHT), after(1e6));
}

#[test]
fn what_is_no_outcome_is_refused_and_changes_nothing() {
    let mut weights = Weights::default();
    weights.learn(&features("sum"), &lane("cloud"), 0.25, 2.0).unwrap();
    let before = weights.clone();
    let (text, cloud) = (features("sum"), lane("cloud"));
    for quality in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        assert!(matches!(weights.learn(&text, &cloud, quality, 1.0), Err(NotLearned::Quality(_))));
    }
    for weight in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        assert!(matches!(weights.learn(&text, &lane("new"), 1.0, weight), Err(NotLearned::Weight(_))));
    }
    assert_eq!(weights, before);
    let outcomes = [(cloud.clone(), f64::NAN)];
    let fitted = Weights::fit(&[Sample { features: &text, outcomes: &outcomes, weight: 1.0 }]);
    assert_eq!(fitted, Weights::default());
}

#[test]
fn a_head_survives_its_bytes_and_bad_ones_are_told_apart() {
    let weights = fitted(&planted(200, 4));
    let bytes = weights.head_to_bytes(&lane("cloud")).unwrap();
    assert!(bytes.len() <= MAX_HEAD_BYTES, "{}", bytes.len());
    let mut copy = Weights::default();
    copy.insert_head(lane("cloud"), &bytes).unwrap();
    assert_eq!(copy, weights);
    assert_eq!(weights.head_to_bytes(&lane("other")), None);

    let changed = |at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let infinite = f32::INFINITY.to_le_bytes();
    let unsure = 0.0_f32.to_le_bytes();
    let last = bytes.len() - 4;
    let mut refused = |bytes: &[u8]| copy.insert_head(lane("cloud"), bytes).unwrap_err();
    assert_eq!(refused(&[]), BadHead::Magic);
    assert_eq!(refused(&changed(0, b"?")), BadHead::Magic);
    assert!(matches!(refused(&changed(4, &[99])), BadHead::Version { format: 99, .. }));
    assert!(matches!(refused(&changed(8, &[99])), BadHead::Version { features: 99, .. }));
    assert!(matches!(refused(&bytes[..bytes.len() - 1]), BadHead::Length { .. }));
    assert!(matches!(refused(&bytes[..5]), BadHead::Length { .. }));
    assert!(matches!(refused(&[&bytes[..], &[0]].concat()), BadHead::Length { .. }));
    assert_eq!(refused(&changed(400, &infinite)), BadHead::Numbers);
    assert_eq!(refused(&changed(last, &unsure)), BadHead::Numbers);
    assert_eq!(copy, weights);
}

#[test]
fn an_explanation_names_words_pairs_and_features() {
    let weights = fitted(&planted(600, 9));
    let text = asked("Please word1 and this is hard");
    let explanation = weights.explain(&text, &Generation::default(), &lane("cloud")).unwrap();
    let part = |name: &str| explanation.parts.iter().find(|part| part.name == name);
    assert!(part("hard").unwrap().log_odds < -0.2, "{:?}", explanation.parts);
    assert!(part("is hard").is_some() && part("[length]").is_some());
    let sizes: Vec<f64> = explanation.parts.iter().map(|part| part.log_odds.abs()).collect();
    assert!(sizes.is_sorted_by(|left, right| left >= right));
    assert_eq!(weights.explain(&text, &Generation::default(), &lane("other")), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_explanation_adds_up_to_the_chance(text in "(hard|easy|word[0-9]|[a-zé]{1,4}| |\\n|[0-9.?]){0,60}", tokens in any::<Option<u32>>()) {
        static WEIGHTS: std::sync::LazyLock<Weights> = std::sync::LazyLock::new(|| fitted(&planted(200, 1)));
        let generation = Generation { max_tokens: tokens, ..Generation::default() };
        let explanation = WEIGHTS.explain(&asked(&text), &generation, &lane("cloud")).unwrap();
        let sum = explanation.bias + explanation.parts.iter().map(|part| part.log_odds).sum::<f64>();
        prop_assert!((sum - explanation.log_odds).abs() < 1e-9);
        let chance = WEIGHTS.chance(&extract(&asked(&text), &generation), &lane("cloud")).unwrap().chance;
        prop_assert!((explanation.chance - chance).abs() < 1e-9, "{} {chance}", explanation.chance);
        prop_assert!((0.0..=1.0).contains(&chance));
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Weights::default().insert_head(lane("cloud"), &bytes).is_err());
    }
}
