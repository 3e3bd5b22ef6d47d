//! A world whose values are known exactly, and what the estimates make of it.

use trilane_protocol::{LaneName, Zone};

use super::*;

/// What a good answer is worth there, dollars.
const WORTH: f64 = 0.05;

/// Dollars of a cloud answer.
const CLOUD_USD: f64 = 0.01;

/// Chance that the lane is drawn, not chosen.
const EXPLORE: f64 = 0.3;

/// Worlds that are drawn.
const SEEDS: u64 = 200;

/// Trials in each.
const TRIALS: usize = 600;

/// Kinds of tasks, from easy to hard; all are equally frequent.
const KINDS: usize = 10;

const LANES: [(&str, Zone); 3] =
    [("local-fast", Zone::Local), ("local-deep", Zone::Local), ("cloud", Zone::Cloud)];

/// SplitMix64: numbers from 0 to 1 from a seed.
struct Lot(u64);

impl Lot {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The true chance of a good answer: local lanes fail from some kind on.
fn truth(lane: usize, kind: usize) -> f64 {
    match (lane, kind) {
        (0, 0..3) | (1, 0..6) => 0.9,
        (0 | 1, _) => 0.2,
        _ => 0.95,
    }
}

/// A candidate that knows this, and a policy in force that does not.
fn candidate(kind: usize) -> usize {
    if kind < 6 { 1 } else { 2 }
}

fn in_force(kind: usize) -> usize {
    if kind.is_multiple_of(2) { 0 } else { 2 }
}

fn world(seed: u64) -> Vec<Trial> {
    let mut lot = Lot(seed);
    let one = |_| {
        let kind = (lot.next() * KINDS as f64) as usize;
        let greedy = in_force(kind);
        let drawn = (lot.next() < EXPLORE).then(|| (lot.next() * 3.0) as usize);
        let chosen = drawn.unwrap_or(greedy);
        let offer = |(lane, (name, zone)): (usize, &(&str, Zone))| Offer {
            lane: LaneName::new(*name).unwrap(),
            zone: *zone,
            expected_cost_usd: if *zone == Zone::Cloud { CLOUD_USD } else { 0.0 },
            // Far from the truth: no estimate may rest on the model alone.
            chance: 0.5 * truth(lane, kind) + 0.1,
            chance_in_force: 0.5,
        };
        Trial {
            offers: LANES.iter().enumerate().map(offer).collect(),
            chosen,
            propensity: f64::from(u8::from(chosen == greedy)) * (1.0 - EXPLORE) + EXPLORE / 3.0,
            quality: f64::from(u8::from(lot.next() < truth(chosen, kind))),
            cost_usd: if chosen == 2 { CLOUD_USD } else { 0.0 },
            prompt_tokens: (lot.next() * 1_000.0) as u32,
            candidate: candidate(kind),
            in_force: greedy,
        }
    };
    (0..TRIALS).map(one).collect()
}

/// What a contender is truly worth, dollars a task.
fn true_value(contender: &Contender) -> f64 {
    let of = |lane: usize, kind: usize| truth(lane, kind) * WORTH - if lane == 2 { CLOUD_USD } else { 0.0 };
    let mean = |pick: &dyn Fn(usize) -> f64| (0..KINDS).map(pick).sum::<f64>() / KINDS as f64;
    match contender {
        Contender::Candidate => mean(&|kind| of(candidate(kind), kind)),
        Contender::InForce => mean(&|kind| of(in_force(kind), kind)),
        Contender::Always(lane) => {
            let lane = LANES.iter().position(|(name, _)| *name == lane.as_str()).unwrap();
            mean(&|kind| of(lane, kind))
        }
        // Four kinds of ten take the cloud; neither lot nor length knows which.
        Contender::Random | Contender::PromptLength => mean(&|kind| 0.4 * of(2, kind) + 0.6 * of(1, kind)),
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn variance(numbers: &[f64]) -> f64 {
    let middle = mean(numbers);
    numbers.iter().map(|number| (number - middle).powi(2)).sum::<f64>() / numbers.len() as f64
}

#[test]
fn the_intervals_hold_the_true_values_and_the_estimates_are_unbiased() {
    let reports: Vec<Report> = (0..SEEDS).map(|seed| report(&world(seed), WORTH).unwrap()).collect();
    for contender in Contender::all(&world(0)) {
        let truth = true_value(&contender);
        let estimates: Vec<&Estimate> =
            reports.iter().map(|report| report.estimate(&contender).unwrap()).collect();
        let held = estimates.iter().filter(|own| own.low_usd <= truth && truth <= own.high_usd).count();
        assert!(held as f64 >= 0.9 * SEEDS as f64, "{contender}: {held} of {SEEDS}");
        for (name, of) in [
            ("doubly robust", (|own: &Estimate| own.value_usd) as fn(&Estimate) -> f64),
            ("ips", |own| own.ips_usd),
            ("self-normalised", |own| own.self_normalised_usd),
        ] {
            let values: Vec<f64> = estimates.iter().map(|own| of(own)).collect();
            let error = (variance(&values) / SEEDS as f64).sqrt();
            let off = mean(&values) - truth;
            // Five standard errors of the mean, and a part in the number of trials for the biased one.
            assert!(
                off.abs() < 5.0 * error + truth.abs() / TRIALS as f64,
                "{contender}, {name}: off by {off}"
            );
        }
    }
}

#[test]
fn doubly_robust_varies_less_than_inverse_propensities_alone() {
    let own: Vec<Estimate> = (0..SEEDS)
        .map(|seed| report(&world(seed), WORTH).unwrap().estimate(&Contender::Candidate).unwrap().clone())
        .collect();
    let robust = variance(&own.iter().map(|own| own.value_usd).collect::<Vec<_>>());
    let ips = variance(&own.iter().map(|own| own.ips_usd).collect::<Vec<_>>());
    assert!(robust < 0.8 * ips, "{robust} against {ips}");
}

#[test]
fn by_hand() {
    let offer = |name: &str, zone, cost, chance| Offer {
        lane: LaneName::new(name).unwrap(),
        zone,
        expected_cost_usd: cost,
        chance,
        chance_in_force: 0.5,
    };
    let offers = vec![offer("a", Zone::Local, 0.0, 0.5), offer("b", Zone::Cloud, 0.2, 0.9)];
    let trial = |chosen: usize, propensity, quality, candidate| Trial {
        offers: offers.clone(),
        chosen,
        propensity,
        quality,
        cost_usd: 0.2 * chosen as f64,
        prompt_tokens: 1,
        candidate,
        in_force: 0,
    };
    let report = report(&[trial(0, 0.8, 1.0, 0), trial(1, 0.2, 1.0, 1)], 1.0).unwrap();
    let own = report.estimate(&Contender::Candidate).unwrap();
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-12, "{found} for {wanted}");
    // 1/0.8 × 1 and 1/0.2 × (1 − 0.2); doubly robust: 0.5 + 1.25 × (1 − 0.5) and 0.7 + 5 × (0.8 − 0.7).
    near(own.ips_usd, f64::midpoint(1.25, 4.0));
    near(own.self_normalised_usd, 5.25 / 6.25);
    near(own.value_usd, f64::midpoint(1.125, 1.2));
    near(own.effective_trials, 6.25 * 6.25 / (1.25 * 1.25 + 25.0));
    near(own.cloud_share, 0.5);
    near(own.cost_usd, 0.1);
    // Always `a`: 1.125 and 0.5; so the candidate is better by 0 and by 0.7.
    let over = report.comparisons.iter().find(|over| over.contender == Contender::InForce).unwrap();
    near(over.gain_usd, 0.35);
    assert!(over.low_usd < 0.0 && over.high_usd > 0.35);
}

#[test]
fn a_better_candidate_is_promoted_and_in_words_it_is_said_why_another_is_not() {
    let trials: Vec<Trial> = (1..4).flat_map(world).collect();
    let bounds = Bounds { min_trials: trials.len(), min_effective_trials: 30.0 };
    let promotion = promotes(&report(&trials, WORTH).unwrap(), bounds).unwrap();
    assert!(promotion.low_usd > 0.0 && promotion.gain_usd > promotion.low_usd);

    let few = promotes(&report(&trials[1..], WORTH).unwrap(), bounds).unwrap_err();
    assert!(few.to_string().starts_with("1799 trials of 1800 wanted"), "{few}");

    let strict = Bounds { min_effective_trials: 1e6, ..bounds };
    let uncertain = promotes(&report(&trials, WORTH).unwrap(), strict).unwrap_err();
    assert!(matches!(uncertain, Why::TooUncertain { .. }), "{uncertain}");

    let same: Vec<Trial> =
        trials.iter().map(|trial| Trial { candidate: trial.in_force, ..trial.clone() }).collect();
    let refused = promotes(&report(&same, WORTH).unwrap(), bounds).unwrap_err();
    assert!(refused.to_string().contains("better than the policy in force"), "{refused}");
}

#[test]
fn a_candidate_that_is_no_better_than_a_control_stays_out() {
    let bounds = Bounds { min_trials: 100, min_effective_trials: 30.0 };
    let always_cloud: Vec<Trial> =
        world(2).into_iter().map(|trial| Trial { candidate: 2, in_force: 0, ..trial }).collect();
    let refused = promotes(&report(&always_cloud, WORTH).unwrap(), bounds).unwrap_err();
    assert!(refused.to_string().contains("always `cloud`"), "{refused}");
}

#[test]
fn of_noise_no_candidate_is_promoted_but_by_chance() {
    let bounds = Bounds { min_trials: 100, min_effective_trials: 30.0 };
    let promoted = (0..SEEDS).filter(|seed| {
        let mut lot = Lot(seed + 1_000_000);
        let by_lot = |trial| Trial { candidate: (lot.next() * 3.0) as usize, ..trial };
        let trials: Vec<Trial> = world(*seed).into_iter().map(by_lot).collect();
        promotes(&report(&trials, WORTH).unwrap(), bounds).is_ok()
    });
    assert_eq!(promoted.count(), 0, "it is worse than always the cloud");
}

#[test]
fn what_was_not_drawn_or_is_out_of_range_is_no_trial() {
    let good = world(3)[0].clone();
    let broken = [
        Trial { propensity: 1.0, ..good.clone() },
        Trial { propensity: 0.0, ..good.clone() },
        Trial { propensity: f64::NAN, ..good.clone() },
        Trial { quality: 1.1, ..good.clone() },
        Trial { cost_usd: f64::INFINITY, ..good.clone() },
        Trial { candidate: 3, ..good.clone() },
        Trial { offers: good.offers[..1].to_vec(), chosen: 0, candidate: 0, in_force: 0, ..good.clone() },
    ];
    for trial in &broken {
        assert!(trial.check().is_err(), "{trial:?}");
    }
    assert_eq!(report(&broken, WORTH), None);
    assert_eq!(report(&[good], WORTH).unwrap().trials, 1);
}

#[test]
fn a_task_that_may_not_leave_is_put_on_the_deepest_local_lane_by_every_control() {
    let mut trials = world(4);
    for trial in &mut trials {
        trial.offers.truncate(2);
        (trial.chosen, trial.candidate, trial.in_force) = (trial.chosen.min(1), 0, 0);
    }
    for control in
        [Contender::Random, Contender::PromptLength, Contender::Always(LaneName::new("cloud").unwrap())]
    {
        assert!(control.shares(&trials).iter().all(|shares| *shares == [0.0, 1.0]), "{control}");
    }
}

/// The trials of a fleet whose cloud has no worker: what would have gone there went to the deepest local lane.
fn without_cloud(seed: u64) -> Vec<Trial> {
    let mut lot = Lot(seed);
    let one = |trial: Trial| {
        let kind = (lot.next() * KINDS as f64) as usize;
        let drawn = (lot.next() < EXPLORE).then(|| (lot.next() * 2.0) as usize);
        let chosen = drawn.unwrap_or(0);
        Trial {
            chosen,
            propensity: f64::from(u8::from(chosen == 0)) * (1.0 - EXPLORE) + EXPLORE / 2.0,
            quality: f64::from(u8::from(lot.next() < if (chosen == 0) == (kind < 5) { 0.95 } else { 0.05 })),
            cost_usd: 0.0,
            candidate: usize::from(kind >= 5),
            in_force: 0,
            ..trial
        }
    };
    world(seed).into_iter().map(one).collect()
}

#[test]
fn a_fleet_without_a_cloud_can_promote() {
    let bounds = Bounds { min_trials: 100, min_effective_trials: 30.0 };
    // On paper the cloud is as good as it can be, and free.
    let mut trials = without_cloud(1);
    for trial in &mut trials {
        (trial.offers[2].chance, trial.offers[2].expected_cost_usd) = (1.0, 0.0);
    }
    let on_paper = promotes(&report(&trials, WORTH).unwrap(), bounds).unwrap_err();
    assert!(on_paper.to_string().contains("always `cloud`"), "{on_paper}");
    let Supported { trials, left_out } = supported(&trials);
    assert_eq!(left_out, [LaneName::new("cloud").unwrap()]);
    promotes(&report(&trials, WORTH).unwrap(), bounds).unwrap();
}

#[test]
fn nobody_gains_by_sending_tasks_to_a_lane_without_workers() {
    let mut trials = without_cloud(2);
    for trial in &mut trials {
        (trial.offers[2].chance, trial.offers[2].expected_cost_usd, trial.candidate) = (1.0, 0.0, 2);
    }
    let over = |trials: &[Trial]| {
        let found = report(trials, WORTH).unwrap().comparisons;
        found.into_iter().find(|over| over.contender == Contender::InForce).unwrap().gain_usd
    };
    assert!(over(&trials) > 0.0, "on paper it does");
    assert_eq!(over(&supported(&trials).trials), 0.0);
}

#[test]
fn of_lanes_that_are_all_taken_none_is_left_out() {
    let trials = world(5);
    assert_eq!(supported(&trials), Supported { trials, left_out: Vec::new() });
}

#[test]
fn however_often_one_looks_a_candidate_of_equal_value_stays_out() {
    // Controls aside, which keep out most of what luck lets through.
    let is_above = |report: &Report| {
        let over = report.comparisons.iter().find(|over| over.contender == Contender::InForce).unwrap();
        over.low_usd_at(promotion::PROMOTION_STANDARD_ERRORS) > 0.0
    };
    let min_trials = 100;
    let is_promoted = |seed: &u64| {
        let mut last_look = 0;
        let trials = even_world(*seed);
        (min_trials..=trials.len()).any(|seen| {
            let is_look = is_next_look(seen as u64, last_look, 4_000);
            if is_look {
                last_look = seen as u64;
            }
            is_look && is_above(&report(&trials[..seen], WORTH).unwrap())
        })
    };
    let promoted = (0..SEEDS).filter(is_promoted).count();
    assert!(promoted as f64 <= 0.05 * SEEDS as f64, "{promoted} of {SEEDS}");
}

/// Two lanes that are equally good whatever the task, in force the one, the candidate by lot.
fn even_world(seed: u64) -> Vec<Trial> {
    let mut lot = Lot(seed + 2_000_000);
    let one = |trial: Trial| {
        let (chosen, candidate) = ((lot.next() * 2.0) as usize, (lot.next() * 2.0) as usize);
        let quality = f64::from(u8::from(lot.next() < 0.5));
        let mut offers = trial.offers[..2].to_vec();
        offers.iter_mut().for_each(|offer| offer.chance = 0.5);
        Trial { offers, chosen, propensity: 0.5, quality, cost_usd: 0.0, candidate, in_force: 0, ..trial }
    };
    (0..3).flat_map(|part| world(seed + part * SEEDS)).map(one).collect()
}

#[test]
fn looks_stand_a_quarter_or_a_window_apart() {
    let next = |last| (last..).find(|seen| is_next_look(*seen, last, 4_000)).unwrap();
    assert_eq!([0, 1, 200, 4_000, 40_000].map(next), [1, 2, 250, 5_000, 44_000]);
}
