//! The books, added up again.

use common::access::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::wallet::reconciliation;

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_Reconcile", "/reconciliation", reconcile)
            .summary("Reconciles the ledger with the tables; for the server's owner")
            .needs(Scope::WalletWrite),
    ]
}

#[derive(Serialize, ToSchema)]
struct ReconciliationOut {
    /// Of all checks together: 0 is right.
    differences: u64,
    accounts: u64,
    transfers: u64,
    checks: Vec<CheckOut>,
}

#[derive(Serialize, ToSchema)]
struct CheckOut {
    /// What must be so.
    claim: &'static str,
    /// How many rows say otherwise.
    differences: u64,
}

/// Reads every transfer: the more there are, the longer it takes.
async fn reconcile(call: Call) -> Result<ReconciliationOut> {
    let (_, owner) = call.server_owner().await?;
    let found = reconciliation::reconcile(call.app(), owner).await?;
    let checks: Vec<CheckOut> = found
        .checks
        .into_iter()
        .map(|(claim, differences)| CheckOut { claim, differences })
        .collect();
    Ok(ReconciliationOut {
        differences: checks.iter().map(|check| check.differences).sum(),
        accounts: found.accounts,
        transfers: found.transfers,
        checks,
    })
}
