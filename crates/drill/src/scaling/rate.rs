//! Throughput from the times at which results came: pure arithmetic.

use std::time::Duration;

/// Part of the results at either end that is not counted: processes are still beginning, or run dry one by one.
const LEFT_OUT_EACH_END: f64 = 0.1;

/// Positions of the first and the last of `count` results that count.
pub fn steady_positions(count: usize) -> (usize, usize) {
    let left_out = (count as f64 * LEFT_OUT_EACH_END) as usize;
    (left_out, count.saturating_sub(left_out + 1).max(left_out))
}

/// Results a second while the fleet is steady; `times` are in order. `None` where there are too few.
pub fn steady(times: &[Duration]) -> Option<f64> {
    let (first, last) = steady_positions(times.len());
    per_second(last - first, times.get(last)?.checked_sub(*times.get(first)?)?)
}

/// Results a second of those that came from `begin` on and before `end`. `None` where there are too few.
pub fn between(times: &[Duration], begin: Duration, end: Duration) -> Option<f64> {
    let first = times.partition_point(|time| *time < begin);
    let last = times.partition_point(|time| *time < end).checked_sub(1)?;
    per_second(last.checked_sub(first)?, times.get(last)?.checked_sub(*times.get(first)?)?)
}

/// So many steps in so long; `None` where either is nothing.
pub fn per_second(steps: usize, span: Duration) -> Option<f64> {
    (steps > 0 && !span.is_zero()).then(|| steps as f64 / span.as_secs_f64())
}

/// The most that so many slots can do, where every answer takes `sleep` and nothing else takes any time.
pub fn ideal(slots: usize, sleep: Duration) -> f64 {
    slots as f64 / sleep.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Results in bursts, as workers on a sleeping model give them.
    fn bursts(count: u64, size: u64, every: u64) -> Vec<Duration> {
        (0..count).map(|index| ms((index / size + 1) * every)).collect()
    }

    #[test]
    fn a_perfect_fleet_is_at_its_ideal_whatever_its_bursts() {
        // The last result that counts belongs to the burst that the first one would begin: nothing is gained by it.
        let times = bursts(2_000, 4, 200);
        let rate = steady(&times).unwrap();
        assert!((rate / ideal(4, ms(200)) - 1.0).abs() < 0.01, "{rate}");
    }

    #[test]
    fn slow_ends_do_not_count() {
        let mut times: Vec<_> = (0..100).map(|index| ms(10 * index)).collect();
        let steady_rate = steady(&times).unwrap();
        assert!((steady_rate - 100.0).abs() < 1e-9, "{steady_rate}");
        for time in &mut times[95..] {
            *time += ms(60_000);
        }
        assert!((steady(&times).unwrap() - steady_rate).abs() < 1e-9);
        times[80..].iter_mut().for_each(|time| *time += ms(60_000));
        assert!(steady(&times).unwrap() < 2.0, "one in the middle does");
    }

    #[test]
    fn a_stretch_has_its_own_rate() {
        let times: Vec<_> =
            (0..50).map(|index| ms(20 * index)).chain((0..100).map(|index| ms(1_000 + 10 * index))).collect();
        assert!((between(&times, ms(0), ms(1_000)).unwrap() - 50.0).abs() < 1e-9);
        assert!((between(&times, ms(1_000), ms(2_000)).unwrap() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_results_have_no_rate() {
        assert_eq!(steady(&[]), None);
        assert_eq!(steady(&[ms(5)]), None);
        assert_eq!(steady(&[ms(5), ms(5)]), None, "no time has passed");
        assert_eq!(between(&[ms(1), ms(2)], ms(5), ms(9)), None);
        assert_eq!(between(&[ms(1), ms(2)], ms(9), ms(5)), None);
    }
}
