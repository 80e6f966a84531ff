//! Money: whole hundred-millionths of a credit, never a float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of credits, zero or more, with eight decimals. One credit is the price of one hour
/// of 1 vCPU and 1 GiB.
///
/// Prints as a decimal with eight places (`19.05518337`), which is also its form in JSON.
///
/// ```
/// use common::money::credits::{Credits, NotCredits};
///
/// let wallet: Credits = "2.5".parse()?;
/// let price: Credits = "0.00000001".parse()?;
/// let left = wallet.checked_sub(price).unwrap();
///
/// assert_eq!(left.to_string(), "2.49999999");
/// // No amount is below zero, and none is rounded when it is read.
/// assert_eq!(price.checked_sub(wallet), None);
/// assert_eq!("0.000000001".parse::<Credits>(), Err(NotCredits));
/// # Ok::<(), NotCredits>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Credits(i64);

/// The text or number is not an amount of credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount of credits is a decimal, zero or more, with at most eight places")]
pub struct NotCredits;

impl Credits {
    pub const ZERO: Self = Self(0);
    pub const ONE: Self = Self(100_000_000);
    const PLACES: u32 = 8;

    /// An amount from its whole number of 1e-8 credits; refuses a negative one.
    pub const fn from_units(units: i64) -> Option<Self> {
        if units < 0 { None } else { Some(Self(units)) }
    }

    /// The number of 1e-8 credits, zero or more.
    pub const fn units(self) -> i64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// What is left after `other` is taken away, or `None` where there is less.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(Self::from_units)
    }

    pub fn checked_mul(self, times: u64) -> Option<Self> {
        self.0.checked_mul(i64::try_from(times).ok()?).map(Self)
    }

    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub fn saturating_sub(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }

    pub fn saturating_mul(self, times: u64) -> Self {
        self.checked_mul(times).unwrap_or(Self(i64::MAX))
    }

    /// Whole credits, rounded up.
    pub fn rounded_up(self) -> u64 {
        self.0.unsigned_abs().div_ceil(Self::ONE.0.unsigned_abs())
    }

    /// The same amount as a decimal.
    pub fn decimal(self) -> Decimal {
        Decimal::new(self.0, Self::PLACES)
    }

    /// A decimal rounded half-even to eight places; refuses a negative or an overflowing one.
    pub fn from_decimal(amount: Decimal) -> Option<Self> {
        let units = amount.checked_mul(Decimal::from(100_000_000))?.round_dp(0).to_i64()?;
        Self::from_units(units)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}", self.0 / 100_000_000, self.0 % 100_000_000)
    }
}

impl fmt::Debug for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} credits")
    }
}

impl FromStr for Credits {
    type Err = NotCredits;

    fn from_str(text: &str) -> Result<Self, NotCredits> {
        let amount = Decimal::from_str_exact(text).map_err(|_| NotCredits)?;
        if amount.normalize().scale() > Self::PLACES {
            return Err(NotCredits);
        }
        Self::from_decimal(amount).ok_or(NotCredits)
    }
}

impl Serialize for Credits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Credits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let units = i64::deserialize(deserializer)?;
            Self::from_units(units).ok_or_else(|| serde::de::Error::custom(NotCredits))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn credits_read_back_what_they_print(units in 0..=i64::MAX) {
            let credits = Credits(units);

            prop_assert_eq!(credits.to_string().parse(), Ok(credits));
            prop_assert_eq!(Credits::from_decimal(credits.decimal()), Some(credits));
        }
    }

    #[test]
    fn credits_refuse_text_that_is_no_amount() {
        for text in ["", "-1", "1e3", "0.000000001", "92233720368.54775808", "one"] {
            assert_eq!(text.parse::<Credits>(), Err(NotCredits), "{text}");
        }
        assert_eq!(Credits::ZERO.checked_sub(Credits(1)), None);
    }
}
