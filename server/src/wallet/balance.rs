//! What a workspace has, and what it will be able to spend or take out.

use chrono::{DateTime, Utc};
use common::money::credits::Credits;

use crate::app::App;
use crate::error::Result;
use crate::maintenance::earnings::payable_at;
use crate::people::caller::Caller;
use crate::store::money::statement;
pub use crate::store::money::statement::Balance;

/// What nodes have earned and cannot be spent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingEarnings {
    pub amount: Credits,
    /// When the first of it can be paid out.
    pub payable_from: DateTime<Utc>,
    /// When all of it can be paid out.
    pub payable_until: DateTime<Utc>,
}

/// The balance of the caller's workspace.
pub async fn find(app: &App, caller: &Caller) -> Result<Balance> {
    Ok(statement::balance(&app.db, caller.workspace).await?)
}

/// What can be paid out now: the lesser of what was earned and not asked for, and of what is
/// available.
pub async fn payable(app: &App, caller: &Caller, balance: &Balance) -> Result<Credits> {
    Ok(statement::earned(&app.db, caller.workspace).await?.min(balance.available))
}

/// The earnings that are still to come, of this balance; `None` where there are none.
pub async fn pending_earnings(
    app: &App,
    caller: &Caller,
    balance: &Balance,
) -> Result<Option<PendingEarnings>> {
    if balance.pending.is_zero() {
        return Ok(None);
    }
    let delay = app.settings.wallet.earnings_delay();
    let pending = statement::pending(&app.db, caller.workspace).await?;
    Ok(pending.map(|pending| PendingEarnings {
        amount: balance.pending,
        payable_from: payable_at(pending.first, delay),
        payable_until: payable_at(pending.last, delay),
    }))
}
