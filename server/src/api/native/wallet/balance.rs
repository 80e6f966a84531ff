//! The balance.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::wallet::balance;

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_GetBalance", "/balance", read)
            .summary("Gets the balance of the wallet")
            .needs(Scope::WalletRead),
    ]
}

/// What the wallet has, in credits.
#[derive(Serialize, ToSchema)]
#[schema(as = Balance)]
struct BalanceOut {
    /// The sum of the statement's lines: `available`, `held` and `charged`.
    #[schema(value_type = String)]
    total: Credits,
    /// What new runs can be paid from.
    #[schema(value_type = String)]
    available: Credits,
    /// What unfinished runs have reserved.
    #[schema(value_type = String)]
    held: Credits,
    /// What unfinished runs have been charged. Each run has one line, at its end.
    #[schema(value_type = String)]
    charged: Credits,
    /// What can be paid out now.
    #[schema(value_type = String)]
    payable: Credits,
    /// Asked to be paid out, and not paid yet.
    #[schema(value_type = String)]
    outgoing: Credits,
    /// What nodes have earned and cannot be spent yet.
    #[schema(value_type = String)]
    pending: Credits,
    /// When the first of the pending earnings can be paid out.
    pending_payable_from: Option<DateTime<Utc>>,
    /// When all that is pending now can be paid out.
    pending_payable_until: Option<DateTime<Utc>>,
}

async fn read(call: Call) -> Result<BalanceOut> {
    let caller = call.caller().await?;
    let app = call.app();
    let balance = balance::find(app, &caller).await?;
    let payable = balance::payable(app, &caller, &balance).await?;
    let pending = balance::pending_earnings(app, &caller, &balance).await?;
    Ok(BalanceOut {
        total: balance.total(),
        available: balance.available,
        held: balance.held,
        charged: balance.charged,
        payable,
        outgoing: balance.outgoing,
        pending: balance.pending,
        pending_payable_from: pending.map(|pending| pending.payable_from),
        pending_payable_until: pending.map(|pending| pending.payable_until),
    })
}
