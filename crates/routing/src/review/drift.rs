//! Whether the router changes: its chances against outcomes, lanes by day, policies in force, and whether it has become
//! a constant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use trilane_protocol::decision::Sensitivity;

use super::calibration::{self, Bin};
use super::facts::{Choice, Evidence};
use crate::budget::day_of;

/// Public decisions from which on it can be told whether the router is a constant.
const ENOUGH: usize = 50;

/// Share of one lane from which on it is one.
const CONSTANT: f64 = 0.98;

/// Policies that are listed, the newest.
const MAX_VERSIONS: usize = 50;

/// How the router has changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Outcomes by tenths of the chance that was given.
    pub calibration: Vec<Bin>,
    /// Expected calibration error of all of them, 0 to 1.
    pub calibration_error: Option<f64>,
    /// The same of each half of the time, the earlier first.
    pub halves: Vec<Half>,
    /// Lanes that first decisions chose, by UTC day.
    pub days: Vec<DayShare>,
    /// Policies in force, by when they were first seen.
    pub versions: Vec<Version>,
    /// Whether the router still tells tasks apart.
    pub constant: Constant,
}

/// One half of the time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Half {
    /// When it begins.
    pub from: Timestamp,
    /// Outcomes.
    pub outcomes: u64,
    /// Expected calibration error, 0 to 1.
    pub calibration_error: Option<f64>,
}

/// What one day's decisions chose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DayShare {
    /// The UTC day.
    pub day: Date,
    /// Decisions, by lane.
    pub by_lane: BTreeMap<String, u64>,
}

/// A policy that was in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Version {
    /// Its version.
    pub version: String,
    /// The first decision by it.
    pub first_at: Timestamp,
    /// The last one.
    pub last_at: Timestamp,
    /// Decisions.
    pub decisions: u64,
}

/// Whether public tasks that could have gone anywhere all go to one lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Constant {
    /// Such tasks.
    pub tasks: u64,
    /// The lane that most of them take.
    pub lane: Option<String>,
    /// Their share of it, 0 to 1.
    pub share: Option<f64>,
    /// Whether that is nearly all; absent where they are too few to tell.
    pub is_constant: Option<bool>,
}

pub(super) fn drift(
    choices: &[&Choice],
    dated: &[(Timestamp, Evidence)],
    (since, until): (Timestamp, Timestamp),
    one_in: u64,
) -> Drift {
    let bins = calibration::bins(dated.iter().map(|(_, known)| known));
    let middle = since + until.duration_since(since) / 2;
    let half = |from: Timestamp, is_later: bool| {
        let bins = calibration::bins(
            dated.iter().filter(|(at, _)| (*at >= middle) == is_later).map(|(_, known)| known),
        );
        let outcomes = bins.iter().map(|bin| bin.outcomes).sum();
        Half { from, outcomes, calibration_error: calibration::error(&bins) }
    };
    Drift {
        calibration_error: calibration::error(&bins),
        calibration: bins,
        halves: vec![half(since, false), half(middle, true)],
        days: days(choices, one_in),
        versions: versions(choices, one_in),
        constant: constant(choices, one_in),
    }
}

fn days(choices: &[&Choice], one_in: u64) -> Vec<DayShare> {
    let mut days: BTreeMap<Date, BTreeMap<String, u64>> = BTreeMap::new();
    for choice in choices {
        let lanes = days.entry(day_of(choice.decided_at)).or_default();
        *lanes.entry(choice.lane.to_string()).or_default() += one_in;
    }
    days.into_iter().map(|(day, by_lane)| DayShare { day, by_lane }).collect()
}

fn versions(choices: &[&Choice], one_in: u64) -> Vec<Version> {
    let mut versions: BTreeMap<&str, Version> = BTreeMap::new();
    for choice in choices {
        let at = choice.decided_at;
        let version = versions.entry(&choice.version).or_insert_with(|| Version {
            version: choice.version.to_string(),
            first_at: at,
            last_at: at,
            decisions: 0,
        });
        version.first_at = version.first_at.min(at);
        version.last_at = version.last_at.max(at);
        version.decisions += one_in;
    }
    let mut versions: Vec<Version> = versions.into_values().collect();
    versions.sort_by_key(|version| version.first_at);
    versions.split_off(versions.len().saturating_sub(MAX_VERSIONS))
}

fn constant(choices: &[&Choice], one_in: u64) -> Constant {
    let mut lanes: BTreeMap<&str, usize> = BTreeMap::new();
    let free = choices.iter().filter(|choice| choice.sensitivity == Sensitivity::Public && choice.is_free());
    free.for_each(|choice| *lanes.entry(&choice.lane).or_default() += 1);
    let tasks: usize = lanes.values().sum();
    let most = lanes.into_iter().max_by_key(|(_, tasks)| *tasks);
    let share = most.map(|(_, most)| most as f64 / tasks as f64);
    Constant {
        tasks: (tasks as u64).saturating_mul(one_in),
        lane: most.map(|(lane, _)| lane.to_owned()),
        share,
        is_constant: share.filter(|_| tasks >= ENOUGH).map(|share| share >= CONSTANT),
    }
}
