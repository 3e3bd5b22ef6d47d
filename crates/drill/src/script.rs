//! What the scripted models answer and how they misbehave: a pure function of seed, prompt and attempt.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::markers::{Marker, markers_in};

/// Pieces that a streamed answer comes in.
pub const PIECES: usize = 4;

/// Tokens that every prompt is counted as, and every answer.
pub const PROMPT_TOKENS: u64 = 40;
/// A multiple of [`PIECES`], so that each piece has a whole number of them.
pub const ANSWER_TOKENS: u64 = 20;

/// A word in the prompt of tasks that the lane `local-fast` finds too long.
pub const TOO_LONG_WORD: &str = "voluminous";

/// Longest answer that is not slow on purpose.
const LONGEST_USUAL: Duration = Duration::from_millis(120);

/// Longest answer that is; a worker is stopped and killed in the middle of some of them.
const LONGEST_SLOW: Duration = Duration::from_millis(2_500);

/// How one invocation goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// A whole answer after a while.
    Answer(Duration),
    /// An HTTP status without an answer.
    Refuse(u16),
    /// 429, with the seconds that it asks to wait.
    RateLimit(f64),
    /// So many pieces after a while, then the connection breaks.
    Cut(Duration, usize),
}

/// What every model says to `prompt`. It repeats the markers, so that what a pipeline passes on is seen.
pub fn answer(prompt: &str) -> String {
    let markers = markers_in(prompt).iter().map(Marker::to_string).collect::<Vec<_>>();
    format!("Done with {} as {}.", markers.join(" and "), letters(prompt))
}

/// The answer's pieces, as a stream has them.
pub fn pieces(text: &str) -> Vec<String> {
    let length = text.len().div_ceil(PIECES);
    text.as_bytes().chunks(length).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

/// How the model behaves when it is asked for the `attempt`th time for `marker`, from 0.
pub fn behaviour(seed: u64, marker: Option<Marker>, attempt: u32) -> Behaviour {
    let mut random = StdRng::seed_from_u64(digest(&format!("{seed} {marker:?} {attempt}")));
    let usual = random.random_range(Duration::from_millis(10)..LONGEST_USUAL);
    match random.random_range(0..100) {
        0..4 => Behaviour::Refuse(500),
        4..6 => Behaviour::Refuse(503),
        6..9 => Behaviour::RateLimit(random.random_range(0.05..0.8)),
        9..13 => Behaviour::Cut(usual, random.random_range(0..PIECES)),
        13..17 => Behaviour::Answer(random.random_range(LONGEST_USUAL..LONGEST_SLOW)),
        _ => Behaviour::Answer(usual),
    }
}

/// FNV-1a: the same in every build, since a seed must give the same run everywhere.
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A digest in letters: digits could look like a phone number.
fn letters(text: &str) -> String {
    let mut rest = digest(text);
    let letter = |_| {
        let letter = b"bcdfghjklmnprstvwx"[(rest % 18) as usize];
        rest /= 18;
        char::from(letter)
    };
    (0..8).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_depends_on_the_prompt_and_passes_its_markers_on() {
        let marker = Marker { task: 12, step: 1 };
        let one = answer(&format!("Sort {marker} now"));
        assert_ne!(one, answer(&format!("Sort {marker} later")));
        assert_eq!(markers_in(&one), [marker]);
        assert_eq!(pieces(&one).concat(), one);
        assert_eq!(pieces(&one).len(), PIECES);
    }

    #[test]
    fn a_seed_gives_the_same_behaviour_and_every_kind_comes_up() {
        let all = |seed| {
            (0..500).map(|task| behaviour(seed, Some(Marker { task, step: 0 }), 0)).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        let has = |wanted: fn(&Behaviour) -> bool| all(7).iter().any(wanted);
        assert!(
            has(|one| matches!(one, Behaviour::Refuse(500)))
                && has(|one| matches!(one, Behaviour::Refuse(503)))
        );
        assert!(
            has(|one| matches!(one, Behaviour::RateLimit(_))) && has(|one| matches!(one, Behaviour::Cut(..)))
        );
    }
}
