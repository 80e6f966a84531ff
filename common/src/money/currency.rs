//! Credits and the money of the world: exact decimals, one rate for each currency.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::money::credits::Credits;

/// Decimals of a price in any currency, and of the smallest sum that is paid.
const PLACES: u32 = 8;
const CENTS: u32 = 2;
/// A rate above this or an amount above this is a mistake.
const MOST: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// A currency by its three letters, in capitals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three letters, such as USD")]
pub struct NotACurrency;

/// The text is not an amount of money, or not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a decimal above zero and up to 1000000000, with at most {0} places")]
pub struct NotMoney(u32);

/// An amount of money, zero or more, in a currency that is named beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money(Decimal);

/// The price of one credit, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Decimal);

/// What credits cost in each currency that the server deals in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Rates(BTreeMap<Currency, Rate>);

/// Credits and their price, fixed when they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub amount: Credits,
    pub currency: Currency,
    pub money: Money,
    pub rate: Rate,
}

/// Why there are no terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTerms {
    #[error("neither credits nor money are given")]
    Nothing,
    #[error("is not what the credits cost, which is {0}")]
    Differ(Money),
    #[error("is worth less than the smallest sum that can be paid, 0.01")]
    TooLittle,
    #[error("must have at most two decimals")]
    Fraction,
}

impl Money {
    /// Rounded half-even to hundredths, which is what can be paid.
    fn in_cents(self) -> Self {
        let mut cents = self.0.round_dp_with_strategy(CENTS, RoundingStrategy::MidpointNearestEven);
        cents.rescale(CENTS);
        Self(cents)
    }
}

impl Rate {
    /// What the credits cost, rounded half-even to eight decimals.
    pub fn money(self, credits: Credits) -> Money {
        let exact = self.0.saturating_mul(credits.decimal());
        Money(exact.round_dp_with_strategy(PLACES, RoundingStrategy::MidpointNearestEven))
    }

    /// What the money buys, rounded half-even to eight decimals; the largest amount where it is
    /// more.
    pub fn credits(self, money: Money) -> Credits {
        let most = Credits::from_units(i64::MAX).unwrap_or_default();
        let exact = money.0.checked_div(self.0);
        let exact = exact.map(|amount| {
            amount.round_dp_with_strategy(PLACES, RoundingStrategy::MidpointNearestEven)
        });
        exact.and_then(Credits::from_decimal).unwrap_or(most)
    }
}

impl Rates {
    pub fn get(&self, currency: Currency) -> Option<Rate> {
        self.0.get(&currency).copied()
    }

    /// The names of all currencies, for a message.
    pub fn names(&self) -> String {
        self.0.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl Terms {
    /// The terms of this many credits, of so much money, or of both where they agree to the
    /// hundredth.
    pub fn new(
        currency: Currency,
        rate: Rate,
        amount: Option<Credits>,
        money: Option<Money>,
    ) -> Result<Self, NoTerms> {
        if money.is_some_and(|money| money.0.normalize().scale() > CENTS) {
            return Err(NoTerms::Fraction);
        }
        let (amount, money) = match (amount, money) {
            (None, None) => return Err(NoTerms::Nothing),
            (Some(amount), None) => (amount, rate.money(amount).in_cents()),
            (None, Some(money)) => (rate.credits(money), money.in_cents()),
            (Some(amount), Some(money)) => {
                let cost = rate.money(amount).in_cents();
                if cost != money.in_cents() && rate.credits(money) != amount {
                    return Err(NoTerms::Differ(cost));
                }
                (amount, money.in_cents())
            }
        };
        if money.0.is_zero() || amount.is_zero() {
            return Err(NoTerms::TooLittle);
        }
        Ok(Self { amount, currency, money, rate })
    }
}

fn decimal(text: &str, places: u32) -> Result<Decimal, NotMoney> {
    let amount = Decimal::from_str_exact(text).map_err(|_| NotMoney(places))?;
    let fits = amount > Decimal::ZERO && amount <= MOST && amount.normalize().scale() <= places;
    if fits { Ok(amount) } else { Err(NotMoney(places)) }
}

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        decimal(text, PLACES).map(Self)
    }
}

impl FromStr for Rate {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        decimal(text, PLACES).map(Self)
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        match text.as_bytes() {
            [a, b, c] if text.bytes().all(|letter| letter.is_ascii_alphabetic()) => {
                Ok(Self([*a, *b, *c].map(|letter| letter.to_ascii_uppercase())))
            }
            _ => Err(NotACurrency),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hundredths stay, so that six dollars are `6.00` where they were rounded to cents.
        if self.0.scale() <= CENTS { self.0.fmt(f) } else { self.0.normalize().fmt(f) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.normalize().fmt(f)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Currency);
as_text!(Money);
as_text!(Rate);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    fn usd(amount: Option<&str>, money: Option<&str>) -> Result<(String, String), NoTerms> {
        let rate = "0.03311".parse().unwrap();
        let amount = amount.map(credits);
        let money = money.map(|money| money.parse().unwrap());
        Terms::new("usd".parse().unwrap(), rate, amount, money)
            .map(|terms| (terms.amount.to_string(), terms.money.to_string()))
    }

    #[test]
    fn top_up_of_the_recorded_example_has_the_recorded_cost() {
        let terms = |amount: &str, money: &str| Ok((amount.to_owned(), money.to_owned()));

        assert_eq!(usd(Some("200"), None), terms("200.00000000", "6.62"));
        assert_eq!(usd(Some("200"), Some("6.62")), terms("200.00000000", "6.62"));
        assert_eq!(usd(None, Some("3.311")), Err(NoTerms::Fraction));
        assert_eq!(usd(None, Some("33.11")), terms("1000.00000000", "33.11"));
        assert_eq!(usd(None, Some("6.62")), terms("199.93959529", "6.62"));
        assert_eq!(usd(Some("199.93959529"), Some("6.62")), terms("199.93959529", "6.62"));
    }

    #[test]
    fn top_up_terms_that_do_not_add_up_are_refused() {
        assert!(matches!(usd(Some("1000"), Some("6.62")), Err(NoTerms::Differ(_))));
        assert_eq!(usd(None, None), Err(NoTerms::Nothing));
        assert_eq!(usd(Some("0.1"), None), Err(NoTerms::TooLittle));
    }

    #[test]
    fn money_refuses_text_that_is_no_amount() {
        for text in ["", "0", "-1", "1e3", "NaN", "0.000000001", "1000000001"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["", "US", "USDT", "U1D", "€uro"] {
            assert!(text.parse::<Currency>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn currency_arithmetic_does_not_overflow(units in 0..=i64::MAX, money in 1..=100_000_000_000u64, rate in 1u64..) {
            let rate = Rate(Decimal::new(i64::try_from(rate % 100_000_000_000).unwrap() + 1, 8));
            let money = Money(Decimal::new(i64::try_from(money).unwrap(), 2));

            let _ = rate.money(Credits::from_units(units).unwrap());
            let _ = rate.credits(money);
        }
    }
}
