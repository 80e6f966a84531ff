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
        get("Fanfold_Reconcile", "/reconciliation", reconcile)
            .summary("Reconciles the ledger with the tables; for the server's owner")
            .needs(Scope::WalletWrite),
    ]
}

/// What adding up the ledger has shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Reconciliation)]
struct ReconciliationOut {
    /// Of all checks together: 0 is right.
    differences: u64,
    /// Accounts that were added up.
    accounts: u64,
    /// Transfers that were added up.
    transfers: u64,
    /// Each check and what it found.
    checks: Vec<LedgerCheck>,
}

#[derive(Serialize, ToSchema)]
struct LedgerCheck {
    /// What must be so.
    claim: &'static str,
    /// How many rows say otherwise.
    differences: u64,
}

/// Reads every transfer: the more there are, the longer it takes.
async fn reconcile(call: Call) -> Result<ReconciliationOut> {
    let (_, owner) = call.server_owner().await?;
    let found = reconciliation::reconcile(call.app(), owner).await?;
    let check = |(claim, differences)| LedgerCheck { claim, differences };
    let checks: Vec<LedgerCheck> = found.checks.into_iter().map(check).collect();
    Ok(ReconciliationOut {
        differences: checks.iter().map(|check| check.differences).sum(),
        accounts: found.accounts,
        transfers: found.transfers,
        checks,
    })
}
