//! Money: whole nano-dollars, so that sums are exact whoever adds them up.

use serde::{Deserialize, Serialize};

/// Nano-dollars in a dollar.
const NANOS: f64 = 1e9;

/// An amount of US dollars, counted in nano-dollars (a token of the cheapest model costs some hundred).
/// On the wire a whole number of nano-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(u64);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than anybody has.
    pub const MAX: Self = Self(u64::MAX);

    /// An amount of nano-dollars.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The same in nano-dollars.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The nearest amount; `None` for what is no amount of money: below 0, not a number, endless.
    pub fn nearest(dollars: f64) -> Option<Self> {
        Self::whole((dollars * NANOS).round())
    }

    /// The smallest amount that is not below `dollars`, for what is set aside; `None` as [`Usd::nearest`].
    pub fn rounded_up(dollars: f64) -> Option<Self> {
        Self::whole((dollars * NANOS).ceil())
    }

    fn whole(nanos: f64) -> Option<Self> {
        // Beyond this a float no longer counts in whole numbers, and `as` would cut.
        let is_amount = nanos.is_finite() && (0.0..u64::MAX as f64).contains(&nanos);
        is_amount.then_some(Self(nanos as u64))
    }

    /// The same as a float, for results, metrics and tables.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / NANOS
    }

    /// Both together, [`Usd::MAX`] at most: a bound that cannot be counted is never within a budget.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of it, nothing at least.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

/// `$12.34`, with as many digits after the second as there are.
impl std::fmt::Display for Usd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = format!("{:09}", self.0 % 1_000_000_000);
        let (cents, rest) = nanos.split_at(2);
        write!(f, "${}.{cents}{}", self.0 / 1_000_000_000, rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_amount_is_none() {
        for bad in [f64::NAN, f64::INFINITY, -1e-9, 1e300] {
            assert_eq!((Usd::nearest(bad), Usd::rounded_up(bad)), (None, None), "{bad}");
        }
        assert_eq!(Usd::nearest(0.0), Some(Usd::ZERO));
    }

    #[test]
    fn amounts_read_as_dollars_and_cents() {
        let shown = [0, 1, 10_000_000, 1_250_000, 12_340_000_000].map(|nanos| Usd(nanos).to_string());
        assert_eq!(shown, ["$0.00", "$0.000000001", "$0.01", "$0.00125", "$12.34"]);
    }

    proptest! {
        #[test]
        fn an_amount_survives_as_float_and_is_never_rounded_down(nanos in 0_u64..9_000_000_000_000) {
            let amount = Usd(nanos);
            prop_assert_eq!(Usd::nearest(amount.dollars()), Some(amount));
            prop_assert!(Usd::rounded_up(amount.dollars()).unwrap() >= amount);
            prop_assert!(Usd::rounded_up(amount.dollars()).unwrap() <= amount.plus(Usd(1)));
        }
    }
}
