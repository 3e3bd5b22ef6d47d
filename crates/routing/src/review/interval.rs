//! How sure a figure is: 95 % intervals of shares and of sums, and quantiles.

/// Standard deviations on either side of a normal mean that hold 95 %.
const Z: f64 = 1.959_964;

/// Weeks that are drawn for an interval.
const DRAWS: usize = 1_000;

/// Values from which on a sum is near enough to normal that nothing is drawn.
const MANY: usize = 2_000;

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The interval of a mean of `count` numbers from 0 to 1 (Wilson 1927). Exact for words of yes and no; for numbers in
/// between, which vary less, it is rather too wide.
pub(super) fn wilson(mean: f64, count: u64) -> Interval {
    if count == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let count = count as f64;
    let scale = 1.0 + Z * Z / count;
    let centre = (mean + Z * Z / (2.0 * count)) / scale;
    let half = Z / scale * (mean * (1.0 - mean) / count + Z * Z / (4.0 * count * count)).sqrt();
    Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
}

/// The interval of the sum of `values` over weeks like this one, where each task comes as often as chance has it: a
/// Poisson bootstrap from `seed`, or, of many values, the normal law that it tends to.
pub(super) fn of_sum(values: &[f64], seed: u64) -> Interval {
    let sum: f64 = values.iter().sum();
    if values.len() >= MANY {
        let half = Z * values.iter().map(|value| value * value).sum::<f64>().sqrt();
        return Interval { low: (sum - half).max(0.0), high: sum + half };
    }
    let mut draws = Draws(seed);
    let mut sums: Vec<f64> =
        (0..DRAWS).map(|_| values.iter().map(|value| value * f64::from(draws.poisson())).sum()).collect();
    sums.sort_by(f64::total_cmp);
    let at = |share: f64| sums[((DRAWS - 1) as f64 * share).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

/// The value below which this share of `sorted` lies, by the nearest rank.
pub(super) fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers from the same seed.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How often a task comes that came once: Poisson with mean 1, by inversion.
    fn poisson(&mut self) -> u32 {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let (mut count, mut chance) = (0, (-1.0_f64).exp());
        let mut below = chance;
        // Beyond 16 nothing of the mass is left that a float could tell.
        while uniform >= below && count < 16 {
            count += 1;
            chance /= f64::from(count);
            below += chance;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_is_as_in_the_tables() {
        let found = wilson(0.8, 10);
        assert!((found.low - 0.4902).abs() < 1e-4 && (found.high - 0.9433).abs() < 1e-4, "{found:?}");
        let none = wilson(0.0, 20);
        assert!(none.low == 0.0 && (none.high - 0.1611).abs() < 1e-4, "{none:?}");
        assert_eq!(wilson(0.3, 0), Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn the_sum_of_a_hundred_dollars_is_known_to_a_fifth() {
        let found = of_sum(&[1.0; 100], 1);
        assert!((found.low - 80.4).abs() < 2.5 && (found.high - 119.6).abs() < 2.5, "{found:?}");
        assert_eq!(found, of_sum(&[1.0; 100], 1));
        assert_eq!(of_sum(&[], 1), Interval { low: 0.0, high: 0.0 });
    }

    #[test]
    fn what_is_drawn_and_what_it_tends_to_agree() {
        let (drawn, normal) = (of_sum(&[1.0; MANY - 1], 3), of_sum(&[1.0; MANY], 3));
        assert!((drawn.low - normal.low).abs() < 12.0 && (drawn.high - normal.high).abs() < 12.0);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!([quantile(&[1, 2, 3, 4], 0.5), quantile(&[1, 2, 3, 4], 0.95)], [Some(2), Some(4)]);
        assert_eq!([quantile(&[], 0.5), quantile(&[9], 0.0)], [None, Some(9)]);
    }
}
