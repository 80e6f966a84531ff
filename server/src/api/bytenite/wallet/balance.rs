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
use crate::maintenance::earnings::payable_at;
use crate::store::money::statement;

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
    let balance = statement::balance(&call.app().db, caller.workspace).await?;
    let whole = |credits: Credits| (credits.units() / 100_000_000).to_string();
    Ok(OldBalanceOut {
        account_id: caller.workspace,
        total_balance: whole(balance.total()),
        available_balance: whole(balance.available),
    })
}

async fn balance(call: Call) -> Result<BalanceOut> {
    let caller = call.caller().await?;
    let (app, owner) = (call.app(), caller.workspace);
    let balance = statement::balance(&app.db, owner).await?;
    let earned = statement::earned(&app.db, owner).await?;
    let pending = statement::pending(&app.db, owner).await?.filter(|_| !balance.pending.is_zero());
    let delay = app.settings.wallet.earnings_delay();
    Ok(BalanceOut {
        account_id: owner,
        total_balance: Amount::of(balance.total()),
        available_balance: Amount::of(balance.available),
        held_balance: Amount::of(balance.held),
        charged_balance: Amount::of(balance.charged),
        amount_due: 0,
        pending_earnings: Amount::of(balance.pending),
        pending_payable_from: pending.map(|pending| payable_at(pending.first, delay)),
        pending_payable_until: pending.map(|pending| payable_at(pending.last, delay)),
        payable_balance: Amount::of(earned.min(balance.available)),
        outgoing_balance: Amount::of(balance.outgoing),
    })
}
