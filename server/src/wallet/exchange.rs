//! What credits cost.

use common::money::credits::Credits;
use common::money::currency::{Currency, Money, Rate};

use crate::app::App;
use crate::error::{Error, Result};

/// The currency where none is named.
const CURRENCY_DEFAULT: &str = "USD";

/// Credits, and their price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    pub credits: Credits,
    pub money: Money,
}

/// What is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    Credits(Credits),
    Money(Money),
}

/// Converts either way, exactly, rounded half-even to eight decimals.
pub fn convert(rate: Rate, given: Given) -> Conversion {
    match given {
        Given::Credits(credits) => Conversion { credits, money: rate.money(credits) },
        Given::Money(money) => Conversion { credits: rate.credits(money), money },
    }
}

/// A currency that the server deals in, and what a credit costs in it.
///
/// # Errors
/// `Invalid` where the server deals in no currency of this name.
pub fn currency(app: &App, name: Option<&str>) -> Result<(Currency, Rate)> {
    let rates = &app.settings.wallet.rates;
    let known = name
        .unwrap_or(CURRENCY_DEFAULT)
        .parse::<Currency>()
        .ok()
        .and_then(|currency| rates.get(currency).map(|rate| (currency, rate)));
    known.ok_or_else(|| Error::Invalid(format!("must be one of {}", rates.names())))
}
