//! The balance.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::WorkspaceId;
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::wallet::balance;

pub fn routes() -> Vec<Route> {
    vec![get("Wallet_GetBalance", "/balance", get_balance).summary("Gets the balance")]
}

/// The balance under the customer's API, as it was in 2023.
pub fn old_routes() -> Vec<Route> {
    vec![
        get("Customer_GetBalance2023", "/wallet/balance", old_balance)
            .summary("Gets the balance in whole credits")
            .needs(Scope::WalletRead)
            .deprecated(),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BalanceOut {
    #[schema(value_type = String)]
    account_id: WorkspaceId,
    /// The sum of the statement's lines: `availableBalance`, `heldBalance` and `chargedBalance`.
    total_balance: Amount,
    /// What new runs can be paid from.
    available_balance: Amount,
    /// What unfinished runs have reserved.
    held_balance: Amount,
    /// What unfinished runs have been charged. Each run has one line, at its end.
    charged_balance: Amount,
    /// Always 0: every run is paid from credits that are held before it starts.
    amount_due: u32,
    /// What nodes have earned and cannot be spent yet.
    pending_earnings: Amount,
    /// When the first of the pending earnings can be paid out.
    pending_payable_from: Option<DateTime<Utc>>,
    /// When all that is pending now can be paid out.
    pending_payable_until: Option<DateTime<Utc>>,
    /// What can be paid out now: the lesser of what was earned and not asked for, and of what is
    /// available.
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
    let balance = balance::find(call.app(), &caller).await?;
    let whole = |credits: Credits| (credits.units() / 100_000_000).to_string();
    Ok(OldBalanceOut {
        account_id: caller.workspace,
        total_balance: whole(balance.total()),
        available_balance: whole(balance.available),
    })
}

async fn get_balance(call: Call) -> Result<BalanceOut> {
    let caller = call.caller().await?;
    let app = call.app();
    let balance = balance::find(app, &caller).await?;
    let payable = balance::payable(app, &caller, &balance).await?;
    let pending = balance::pending_earnings(app, &caller, &balance).await?;
    Ok(BalanceOut {
        account_id: caller.workspace,
        total_balance: Amount::of(balance.total()),
        available_balance: Amount::of(balance.available),
        held_balance: Amount::of(balance.held),
        charged_balance: Amount::of(balance.charged),
        amount_due: 0,
        pending_earnings: Amount::of(balance.pending),
        pending_payable_from: pending.map(|pending| pending.payable_from),
        pending_payable_until: pending.map(|pending| pending.payable_until),
        payable_balance: Amount::of(payable),
        outgoing_balance: Amount::of(balance.outgoing),
    })
}
