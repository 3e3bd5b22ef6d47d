//! How likely the model itself found a token: one pass over its logits, made so that the compiler can vectorise it.
//!
//! The standard library's `exp` takes a call for each of the 50,000 to 150,000 tokens of a vocabulary. Here it is a
//! polynomial, right to one part in a hundred thousand, which is far more than a mean over an answer needs.

use crate::model::Token;

/// Numbers that are added side by side: two registers of eight.
const LANES: usize = 16;

/// Adding this to a number below four million rounds it to a whole one, which then stands in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;

/// Below this distance from the largest logit a token adds nothing that single precision can show.
const LEAST: f32 = -80.0;

/// Natural logarithm of the probability of `token`, 0 or less. Not a number where the logits are none.
pub(crate) fn logprob(logits: &[f32], token: Token) -> f32 {
    let chosen = usize::try_from(token).ok().and_then(|index| logits.get(index)).copied();
    let largest = largest(logits);
    let sum = sum_of_powers(logits, largest);
    chosen.map_or(f32::NAN, |chosen| (chosen - largest - sum.ln()).min(0.0))
}

fn largest(logits: &[f32]) -> f32 {
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = if *logit > *lane { *logit } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of `e` to the power of each logit less the largest.
fn sum_of_powers(logits: &[f32], largest: f32) -> f32 {
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane += power(*logit - largest);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|logit| power(logit - largest)).sum::<f32>()
}

/// `e` to the power of a number that is 0 or less: a power of two by its exponent's bits, times a polynomial for what is
/// left of it (Taylor's series of `2^x`, from -0.5 to 0.5).
#[inline]
fn power(number: f32) -> f32 {
    let number = if number > LEAST { number } else { LEAST };
    let exponent = number * std::f32::consts::LOG2_E;
    let rounded = exponent + ROUNDING;
    let left = exponent - (rounded - ROUNDING);
    let polynomial = 1.0
        + left
            * (std::f32::consts::LN_2
                + left * (0.240_226_5 + left * (0.055_504_11 + left * (0.009_618_13 + left * 0.001_333_36))));
    f32::from_bits(polynomial.to_bits().wrapping_add(rounded.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(logits: &[f32], token: usize) -> f64 {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
        f64::from(logits[token] - largest) - sum.ln()
    }

    #[test]
    fn one_of_two_equals_has_half() {
        assert!((logprob(&[3.0, 3.0], 1) - 0.5_f32.ln()).abs() < 1e-5);
        assert_eq!(logprob(&[1.0], 0), 0.0);
        assert!(logprob(&[1.0], 7).is_nan() && logprob(&[], 0).is_nan());
    }

    proptest! {
        #[test]
        fn it_is_as_the_standard_library_has_it(
            logits in prop::collection::vec(-120.0_f32..40.0, 1..3_000),
            token in any::<prop::sample::Index>(),
        ) {
            let token = token.index(logits.len());
            let (found, expected) = (f64::from(logprob(&logits, token as Token)), exact(&logits, token));
            prop_assert!((found - expected).abs() < 1e-3, "{found} {expected}");
            prop_assert!(found <= 0.0);
        }
    }
}
