//! What credits cost.

use common::money::credits::Credits;
use common::money::currency::{Currency, Money, Rate};
use common::money::price::{CPU_HOUR, MEMORY_HOUR};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::{self, Amount};
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::api::http::shape::text;
use crate::app::App;
use crate::error::{Error, Result};
use crate::wallet::exchange;
use crate::wallet::exchange::{Conversion, Given};

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_GetExchangeRate", "/exchange_rate", exchange_rate)
            .summary("Converts credits to money, or money to credits")
            .query(vec![
                text("currency", "Three letters; USD where it is left out"),
                text("amount", "Credits; give these or the money").example("100"),
                text("currencyAmount", "Money"),
            ]),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExchangeRateOut {
    currency: String,
    currency_amount: Amount,
    /// The price of one credit.
    exchange_rate: Amount,
    /// Credits.
    amount: Amount,
    /// What a vCPU costs in an hour, in credits.
    cpu_hour_price: Amount,
    /// What a GiB of memory costs in an hour, in credits.
    memory_gib_hour_price: Amount,
}

/// Converts either way; without an amount, one credit.
async fn exchange_rate(call: Call) -> Result<ExchangeRateOut> {
    call.caller().await?;
    let query = call.query()?;
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (currency, rate) = currency(call.app(), query.get("currency").map(String::as_str))?;
    let amount = match field("amount") {
        "" => None,
        text => amount::read::<Credits>("amount", text)?,
    };
    let money = match field("currencyAmount") {
        "" => None,
        text => amount::read::<Money>("currencyAmount", text)?,
    };
    let given = match (amount, money) {
        (Some(_), Some(_)) => {
            return Err(Error::field("amount", "and currencyAmount: give one of them"));
        }
        (None, Some(money)) => Given::Money(money),
        (Some(credits), None) => Given::Credits(credits),
        (None, None) => Given::Credits(Credits::ONE),
    };
    let Conversion { credits, money } = exchange::convert(rate, given);
    Ok(ExchangeRateOut {
        currency: currency.to_string(),
        currency_amount: Amount::exact(money),
        exchange_rate: Amount::exact(rate),
        amount: Amount::of(credits),
        cpu_hour_price: Amount::of(CPU_HOUR),
        memory_gib_hour_price: Amount::of(MEMORY_HOUR),
    })
}

/// A currency that the server deals in, as a field `currency` names it.
pub fn currency(app: &App, name: Option<&str>) -> Result<(Currency, Rate)> {
    let name = name.filter(|name| !name.is_empty());
    exchange::currency(app, name).map_err(|error| error.about("currency"))
}

#[cfg(test)]
mod tests {
    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn credits_and_money_convert_both_ways_to_the_last_digit() {
        let server = TestServer::open().await;
        for (query, amount, money) in [
            ("", "1.0", "0.03311"),
            ("?amount=200&currency=usd", "200.0", "6.622"),
            ("?currencyAmount=6.62&amount=0", "199.93959529", "6.62"),
            ("?amount=0.00039755", "0.00039755", "0.00001316"),
        ] {
            let (status, body) = server.get(&format!("/v1/wallet/exchange_rate{query}")).await;

            assert_eq!(status, 200, "{body}");
            assert_eq!(body["amount"].to_string(), amount, "{query}");
            assert_eq!(body["currencyAmount"].to_string(), money, "{query}");
            assert_eq!(body["exchangeRate"].to_string(), "0.03311");
        }
    }

    #[tokio::test]
    async fn invalid_conversion_is_refused_by_name() {
        let server = TestServer::open().await;
        for (query, field) in [
            ("?currency=XYZ", "currency"),
            ("?currency=%00", "currency"),
            ("?amount=-1", "amount"),
            ("?amount=1e300", "amount"),
            ("?currencyAmount=99999999999999999999999999999", "currencyAmount"),
            ("?currencyAmount=1&amount=1", "amount"),
        ] {
            let (status, body) = server.get(&format!("/v1/wallet/exchange_rate{query}")).await;

            let message = body["message"].as_str().unwrap();
            assert!(status == 400 && message.starts_with(field), "{query}: {body}");
        }
    }
}
