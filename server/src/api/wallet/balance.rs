//! The balance.

use common::credits::Credits;
use common::ids::WorkspaceId;
use common::rights::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use crate::api::http::call::Call;
use crate::api::http::error::Result;
use crate::api::http::route::{Route, get};
use crate::store::wallet;

pub fn routes() -> Vec<Route> {
    vec![get("Wallet_GetBalance", "/balance", balance).summary("Shows the balance")]
}

/// The balance under the customer's API, as it was in 2023.
pub fn old_routes() -> Vec<Route> {
    vec![
        get("Customer_GetBalance2023", "/wallet/balance", old_balance)
            .summary("Shows the balance in whole credits")
            .needs(Scope::WalletRead)
            .deprecated(),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BalanceOut {
    #[schema(value_type = String)]
    account_id: WorkspaceId,
    /// Available, and what unfinished runs have reserved.
    total_balance: Amount,
    available_balance: Amount,
    /// Always 0: every run is paid from credits that are held before it starts.
    amount_due: u32,
    /// What nodes have earned and cannot be spent yet.
    pending_earnings: Amount,
    /// What can be paid out: earned, not spent, and not asked for.
    payable_balance: Amount,
    /// Asked to be paid out, and not paid yet.
    outgoing_balance: Amount,
}

/// Whole credits, as texts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OldBalanceOut {
    #[schema(value_type = String)]
    account_id: WorkspaceId,
    total_balance: String,
    available_balance: String,
}

async fn old_balance(call: Call) -> Result<OldBalanceOut> {
    let caller = call.caller().await?;
    let balance = wallet::balance(&call.app().db, caller.workspace).await?;
    let whole = |credits: Credits| (credits.units() / 100_000_000).to_string();
    Ok(OldBalanceOut {
        account_id: caller.workspace,
        total_balance: whole(balance.available.saturating_add(balance.held)),
        available_balance: whole(balance.available),
    })
}

async fn balance(call: Call) -> Result<BalanceOut> {
    let caller = call.caller().await?;
    let db = &call.app().db;
    let balance = wallet::balance(db, caller.workspace).await?;
    let earned = wallet::earned(db, caller.workspace).await?;
    Ok(BalanceOut {
        account_id: caller.workspace,
        total_balance: Amount::of(balance.available.saturating_add(balance.held)),
        available_balance: Amount::of(balance.available),
        amount_due: 0,
        pending_earnings: Amount::of(balance.pending),
        payable_balance: Amount::of(earned.min(balance.available)),
        outgoing_balance: Amount::of(balance.outgoing),
    })
}
