//! The books, added up again.

use crate::app::App;
use crate::error::Result;
use crate::people::server_owner::ServerOwner;
use crate::store::money::reconciliation;
pub use crate::store::money::reconciliation::Reconciliation;

/// Reads every transfer: the more there are, the longer it takes.
pub async fn reconcile(app: &App, _: ServerOwner) -> Result<Reconciliation> {
    Ok(reconciliation::reconcile(&app.db).await?)
}
