//! What credits cost.

use std::fmt::Display;
use std::str::FromStr;

use common::access::Scope;
use common::money::credits::Credits;
use common::money::currency::{Currency, Rate};
use common::money::price::{CPU_HOUR, MEMORY_HOUR};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::api::http::shape::text;
use crate::app::App;
use crate::error::{Error, Result};
use crate::wallet::exchange::{self, Conversion, Given};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_GetExchangeRate", "/exchange_rate", read)
            .summary("Converts credits to money, or money to credits; one credit by default")
            .query(vec![
                text("currency", "Three letters; USD where it is left out"),
                text("credits", "Credits; give these or the money").example("100"),
                text("money", "Money of that currency"),
            ])
            .needs(Scope::WalletRead),
    ]
}

/// Credits, and what they cost.
#[derive(Serialize, ToSchema)]
struct ExchangeRate {
    /// Three letters.
    currency: String,
    /// The price of one credit.
    rate: String,
    #[schema(value_type = String)]
    credits: Credits,
    /// What they cost, as a decimal text.
    money: String,
    /// What a vCPU costs in an hour, in credits.
    #[schema(value_type = String)]
    cpu_hour_price: Credits,
    /// What a GiB of memory costs in an hour, in credits.
    #[schema(value_type = String)]
    memory_gib_hour_price: Credits,
}

async fn read(call: Call) -> Result<ExchangeRate> {
    call.caller().await?;
    let query = call.query()?;
    let field = |name: &str| query.get(name).map(String::as_str);
    let (currency, rate) = currency(call.app(), field("currency"))?;
    let credits = field("credits").map(|text| amount("credits", text)).transpose()?;
    let money = field("money").map(|text| amount("money", text)).transpose()?;
    let given = match (credits, money) {
        (Some(_), Some(_)) => return Err(Error::field("money", "stands beside credits: give one")),
        (None, Some(money)) => Given::Money(money),
        (credits, None) => Given::Credits(credits.unwrap_or(Credits::ONE)),
    };
    let Conversion { credits, money } = exchange::convert(rate, given);
    Ok(ExchangeRate {
        currency: currency.to_string(),
        rate: rate.to_string(),
        credits,
        money: money.to_string(),
        cpu_hour_price: CPU_HOUR,
        memory_gib_hour_price: MEMORY_HOUR,
    })
}

/// A currency that the server deals in, as a field `currency` names it.
pub fn currency(app: &App, name: Option<&str>) -> Result<(Currency, Rate)> {
    exchange::currency(app, name).map_err(|error| error.about("currency"))
}

/// Credits or money, as a decimal text.
pub fn amount<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| Error::field(field, error.to_string()))
}
