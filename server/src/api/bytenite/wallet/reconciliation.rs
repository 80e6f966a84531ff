//! The books, added up again.

use common::access::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use super::owner::server_owner;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::store::money::reconciliation;

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_Reconcile", "/reconciliation", reconcile)
            .summary("Adds up all money again from the tables; for the server's owner")
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
    server_owner(&call).await?;
    let found = reconciliation::reconcile(&call.app().db).await?;
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
