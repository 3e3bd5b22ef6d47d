//! What each contender is worth on the trials, with 95 % intervals.

use serde::{Deserialize, Serialize};
use trilane_protocol::Zone;

use super::contender::{Contender, Shares};
use super::trial::Trial;

/// Standard errors on either side of a mean that hold 95 % of a normal distribution. The intervals rest on the normal
/// approximation of a mean, which the effective number of trials says when to trust.
const STANDARD_ERRORS: f64 = 1.96;

/// What all contenders are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Trials that it rests on.
    pub trials: usize,
    /// Dollars that a good answer was reckoned at.
    pub answer_worth_usd: f64,
    /// One for each contender, the candidate first.
    pub estimates: Vec<Estimate>,
    /// By how much the candidate is better than each other contender.
    pub comparisons: Vec<Comparison>,
}

/// What one contender is worth. All dollars are means a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Who.
    pub contender: Contender,
    /// Value, doubly robust, dollars a task: quality at its worth less cost.
    pub value_usd: f64,
    /// Lower end of its 95 % interval.
    pub low_usd: f64,
    /// Upper end.
    pub high_usd: f64,
    /// The same by inverse propensities alone: unbiased, and the most uncertain.
    pub ips_usd: f64,
    /// Standard error of that.
    pub ips_error_usd: f64,
    /// The same with the weights scaled to a mean of 1: steadier, and biased by about one part in the number of trials.
    pub self_normalised_usd: f64,
    /// Trials that would say as much if each weighed the same (Kish): below some 30 the intervals are not to be trusted.
    pub effective_trials: f64,
    /// Share of tasks that it sends to the cloud, 0 to 1.
    pub cloud_share: f64,
    /// Dollars that it is expected to cost a task.
    pub cost_usd: f64,
}

/// By how much the candidate is better than another, on the same tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Than whom.
    pub contender: Contender,
    /// Dollars a task, doubly robust.
    pub gain_usd: f64,
    /// Lower end of its 95 % interval.
    pub low_usd: f64,
    /// Upper end.
    pub high_usd: f64,
}

/// Reckons the contenders on `trials`; those that [`Trial::check`] refuses are left out. `None` where none is left.
///
/// `answer_worth_usd` is what a good answer is worth, in dollars: what quality and cost are added up by.
pub fn report(trials: &[Trial], answer_worth_usd: f64) -> Option<Report> {
    let trials: Vec<Trial> = trials.iter().filter(|trial| trial.check().is_ok()).cloned().collect();
    if trials.is_empty() {
        return None;
    }
    let contenders = Contender::all(&trials);
    let mut gains = contenders.iter().map(|contender| Gains::new(contender, &trials, answer_worth_usd));
    let candidate = gains.next()?;
    let others: Vec<Gains<'_>> = gains.collect();
    let comparisons = others.iter().map(|other| candidate.over(other)).collect();
    let estimates = std::iter::once(&candidate).chain(&others).map(Gains::estimate).collect();
    Some(Report { trials: trials.len(), answer_worth_usd, estimates, comparisons })
}

impl Report {
    /// What a contender is worth, where it took part.
    pub fn estimate(&self, contender: &Contender) -> Option<&Estimate> {
        self.estimates.iter().find(|estimate| estimate.contender == *contender)
    }
}

impl Comparison {
    /// What the gain is above, dollars a task, at so many standard errors.
    pub(super) fn low_usd_at(&self, standard_errors: f64) -> f64 {
        self.gain_usd - (self.gain_usd - self.low_usd) / STANDARD_ERRORS * standard_errors
    }
}

/// What a contender earns on each trial, and what of it was seen.
struct Gains<'a> {
    contender: &'a Contender,
    doubly_robust: Vec<f64>,
    weights: Vec<f64>,
    weighed_values: Vec<f64>,
    cloud_share: f64,
    cost_usd: f64,
}

impl<'a> Gains<'a> {
    fn new(contender: &'a Contender, trials: &[Trial], worth: f64) -> Self {
        let shares = contender.shares(trials);
        let weigh = |(trial, shares): (&Trial, &Vec<f64>)| shares[trial.chosen] / trial.propensity;
        let weights: Vec<f64> = trials.iter().zip(&shares).map(weigh).collect();
        let earned = trials.iter().zip(&shares).zip(&weights).map(|((trial, shares), weight)| {
            let expected = trial.offers.iter().map(|offer| offer.expected_value(worth));
            let expected: f64 = expected.zip(shares).map(|(value, share)| value * share).sum();
            let surprise = trial.value(worth) - trial.offers[trial.chosen].expected_value(worth);
            expected + weight * surprise
        });
        Self {
            contender,
            doubly_robust: earned.collect(),
            weighed_values: trials.iter().zip(&weights).map(|(trial, w)| w * trial.value(worth)).collect(),
            weights,
            cloud_share: mean_of(trials, &shares, |trial, offer| {
                f64::from(u8::from(trial.offers[offer].zone == Zone::Cloud))
            }),
            cost_usd: mean_of(trials, &shares, |trial, offer| trial.offers[offer].expected_cost_usd),
        }
    }

    fn estimate(&self) -> Estimate {
        let (value_usd, error) = mean_and_error(&self.doubly_robust);
        let (ips_usd, ips_error_usd) = mean_and_error(&self.weighed_values);
        let sum: f64 = self.weights.iter().sum();
        let squares: f64 = self.weights.iter().map(|weight| weight * weight).sum();
        let weighed: f64 = self.weighed_values.iter().sum();
        Estimate {
            contender: self.contender.clone(),
            value_usd,
            low_usd: value_usd - STANDARD_ERRORS * error,
            high_usd: value_usd + STANDARD_ERRORS * error,
            ips_usd,
            ips_error_usd,
            self_normalised_usd: if sum > 0.0 { weighed / sum } else { 0.0 },
            effective_trials: if squares > 0.0 { sum * sum / squares } else { 0.0 },
            cloud_share: self.cloud_share,
            cost_usd: self.cost_usd,
        }
    }

    fn over(&self, other: &Self) -> Comparison {
        let pairs = self.doubly_robust.iter().zip(&other.doubly_robust);
        let differences: Vec<f64> = pairs.map(|(own, others)| own - others).collect();
        let (gain_usd, error) = mean_and_error(&differences);
        Comparison {
            contender: other.contender.clone(),
            gain_usd,
            low_usd: gain_usd - STANDARD_ERRORS * error,
            high_usd: gain_usd + STANDARD_ERRORS * error,
        }
    }
}

/// The mean over trials of what a contender's offers have of something.
fn mean_of(trials: &[Trial], shares: &Shares, of: impl Fn(&Trial, usize) -> f64) -> f64 {
    let one = |(trial, shares): (&Trial, &Vec<f64>)| -> f64 {
        shares.iter().enumerate().map(|(offer, share)| share * of(trial, offer)).sum()
    };
    trials.iter().zip(shares).map(one).sum::<f64>() / trials.len() as f64
}

/// The mean, and its standard error; of a single number that is without bound.
fn mean_and_error(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    if numbers.len() < 2 {
        return (mean, f64::MAX);
    }
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}
