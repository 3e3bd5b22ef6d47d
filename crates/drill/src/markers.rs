//! Markers: words in prompts that say which task, and which of its steps, a prompt belongs to.
//!
//! They are made of consonants, so that no detector of personal data takes one for a name or a number.

use std::fmt;

/// What every marker begins with; in no word, and not in the rest of a marker.
const PREFIX: &str = "zq";

/// Digits of a marker's number.
const DIGITS: &[u8] = b"bcdfghjklmnprstvwx";

/// Digits in a marker; enough for a million tasks.
const LENGTH: usize = 5;

/// The first step's letter.
const FIRST_STEP: u8 = b'a';

/// One step of one task; a task that is no pipeline has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    /// Position of the task in the plan.
    pub task: usize,
    /// Position of the step in the task, below 26.
    pub step: usize,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [DIGITS[0]; LENGTH];
        let mut rest = self.task;
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[rest % DIGITS.len()];
            rest /= DIGITS.len();
        }
        let digits = digits.iter().map(|digit| char::from(*digit)).collect::<String>();
        write!(f, "{PREFIX}{digits}{}", char::from(FIRST_STEP + self.step as u8))
    }
}

/// All markers in `text`, in the order in which they stand there.
pub fn markers_in(text: &str) -> Vec<Marker> {
    text.match_indices(PREFIX)
        .filter_map(|(start, _)| parse(&text.as_bytes()[start + PREFIX.len()..]))
        .collect()
}

fn parse(rest: &[u8]) -> Option<Marker> {
    let value = |digit: &u8| DIGITS.iter().position(|known| known == digit);
    let task =
        rest.get(..LENGTH)?.iter().try_fold(0, |task, digit| Some(task * DIGITS.len() + value(digit)?))?;
    let step = rest.get(LENGTH)?.checked_sub(FIRST_STEP).filter(|step| *step < 26)?;
    Some(Marker { task, step: step.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_wherever_it_stands() {
        let markers =
            [Marker { task: 0, step: 0 }, Marker { task: 4711, step: 2 }, Marker { task: 999_999, step: 25 }];
        let text = format!("Sort {},then:{}; {}.", markers[0], markers[1], markers[2]);
        assert_eq!(markers_in(&text), markers);
        assert_eq!(markers_in("zq zqbcd zqbcdfgA zqaaaaaa"), []);
    }
}
