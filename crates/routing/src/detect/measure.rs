//! How good the detectors are: shares of what is found and of what is raised for nothing, over labelled texts.

use std::collections::BTreeMap;

/// What is known of one labelled text, and what the screen made of it.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'a> {
    /// What the label says it holds, under whatever names the labels use.
    pub kinds: &'a [String],
    /// Whether the label says that it must stay in the local zone.
    pub is_private: bool,
    /// Whether the detectors would keep it there.
    pub is_found: bool,
}

/// Texts of one sort, and those of them that are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Texts that are found.
    pub found: u64,
    /// Texts in all.
    pub texts: u64,
}

impl Share {
    fn add(&mut self, is_found: bool) {
        self.found += u64::from(is_found);
        self.texts += 1;
    }

    /// Found of all, 0 to 1; `None` without a text.
    pub fn of_all(self) -> Option<f64> {
        (self.texts > 0).then(|| self.found as f64 / self.texts as f64)
    }
}

/// The counts of many verdicts. Its size grows with the number of kinds, up to [`MAX_KINDS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measure {
    /// Private texts: found ones are recalled, the others would have left the local zone.
    pub private: Share,
    /// Texts that are not private: found ones are false alarms.
    pub not_private: Share,
    /// Texts by what they hold. A text with two kinds counts for both, whichever of them gave it away.
    pub by_kind: BTreeMap<String, Share>,
}

/// Most kinds that are counted, so that a file with a kind for each row is refused and not followed.
pub const MAX_KINDS: usize = 1_000;

/// More kinds than [`MAX_KINDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_KINDS} different kinds; name what a text holds in `kinds`, not the text itself")]
pub struct TooManyKinds;

impl Measure {
    /// Counts one text. A kind that is named twice counts once.
    ///
    /// # Errors
    /// [`TooManyKinds`] where this text brings one kind too many.
    pub fn add(&mut self, verdict: Verdict<'_>) -> Result<(), TooManyKinds> {
        let share = if verdict.is_private { &mut self.private } else { &mut self.not_private };
        share.add(verdict.is_found);
        for (place, kind) in verdict.kinds.iter().enumerate() {
            if verdict.kinds[..place].contains(kind) {
                continue;
            }
            if self.by_kind.len() == MAX_KINDS && !self.by_kind.contains_key(kind) {
                return Err(TooManyKinds);
            }
            self.by_kind.entry(kind.clone()).or_default().add(verdict.is_found);
        }
        Ok(())
    }

    /// Texts in all.
    pub fn texts(&self) -> u64 {
        self.private.texts + self.not_private.texts
    }
}

/// Times of many texts, kept whole: 8 bytes each.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<u64>);

impl Times {
    /// Takes the time of one text, nanoseconds.
    pub fn add(&mut self, ns: u64) {
        self.0.push(ns);
    }

    /// Mean, microseconds; 0 without a text.
    pub fn mean_us(&self) -> f64 {
        let sum: u128 = self.0.iter().map(|ns| u128::from(*ns)).sum();
        sum as f64 / 1_000.0 / self.0.len().max(1) as f64
    }

    /// The time that a share of the texts stays at or below (nearest rank), microseconds; 0 without a text.
    pub fn percentile_us(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
        sorted.get(rank.max(1) - 1).map_or(0.0, |ns| *ns as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(rows: &[(&[&str], bool, bool)]) -> Measure {
        let mut measure = Measure::default();
        for (kinds, is_private, is_found) in rows {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            let verdict = Verdict { kinds: &kinds, is_private: *is_private, is_found: *is_found };
            measure.add(verdict).unwrap();
        }
        measure
    }

    #[test]
    fn private_texts_and_the_others_are_counted_apart_and_a_kind_once_a_text() {
        let measure = measure(&[
            (&["mail", "mail"], true, true),
            (&["mail", "name"], true, false),
            (&[], false, true),
            (&["city"], false, false),
        ]);
        assert_eq!(measure.texts(), 4);
        assert_eq!(measure.private.of_all(), Some(0.5));
        assert_eq!(measure.not_private.of_all(), Some(0.5));
        assert_eq!(measure.by_kind["mail"], Share { found: 1, texts: 2 });
        assert_eq!(measure.by_kind["name"].of_all(), Some(0.0));
        assert_eq!(Measure::default().private.of_all(), None);
    }

    #[test]
    fn kinds_are_bounded() {
        let mut measure = Measure::default();
        let mut add = |index: usize| {
            let kinds = [index.to_string()];
            measure.add(Verdict { kinds: &kinds, is_private: true, is_found: true })
        };
        (0..MAX_KINDS).for_each(|index| add(index).unwrap());
        assert_eq!(add(0), Ok(()));
        assert_eq!(add(MAX_KINDS), Err(TooManyKinds));
    }

    #[test]
    fn times_are_summed_up_in_microseconds() {
        let mut times = Times::default();
        assert_eq!((times.mean_us(), times.percentile_us(0.99)), (0.0, 0.0));
        (1..=100).rev().for_each(|us| times.add(us * 1_000));
        assert_eq!(times.mean_us(), 50.5);
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| times.percentile_us(share)), [1.0, 50.0, 99.0, 100.0]);
    }
}
