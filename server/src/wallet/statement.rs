//! The lines of the wallet's statement.

use crate::app::App;
use crate::error::Result;
use crate::listing::{Found, Selection};
use crate::people::caller::Caller;
use crate::store::money::statement;
pub use crate::store::money::statement::{Entry, LineField};

/// A part of the statement of the caller's workspace.
pub async fn list(
    app: &App,
    caller: &Caller,
    selection: &Selection<LineField>,
) -> Result<Found<Entry>> {
    Ok(statement::list(&app.db, caller.workspace, selection).await?)
}
