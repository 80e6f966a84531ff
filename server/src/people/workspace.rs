//! The workspace that a caller acts in, and how long it keeps its logs.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;

use super::caller::Caller;
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::people::{retention, workspaces};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    pub created_at: DateTime<Utc>,
    /// For how many days its logs are kept after the end of their run.
    pub log_days: NonZeroU32,
}

/// Describes the workspace that the caller acts in.
pub async fn find(app: &App, caller: &Caller) -> Result<Workspace> {
    let id = caller.workspace;
    let (name, created_at) =
        workspaces::find_workspace(&app.db, id).await?.ok_or(Error::Unauthenticated)?;
    let own = retention::log_days(&app.db, id).await?;
    let log_days = own.map_or(app.settings.log_days, |own| own.min(app.settings.log_days));
    Ok(Workspace { id, name, created_at, log_days })
}

/// Keeps the logs of the caller's workspace for so many days, or for as long as the server does.
///
/// # Errors
/// `Field` where it is longer than the server keeps logs.
pub async fn keep_logs(app: &App, caller: &Caller, days: Option<NonZeroU32>) -> Result<Workspace> {
    let most = app.settings.log_days;
    if days.is_some_and(|days| days > most) {
        let why = format!("must be at most {most}: this server keeps no logs for longer");
        return Err(Error::field("log_days", why));
    }
    retention::set_log_days(&app.db, caller.workspace, days).await?;
    find(app, caller).await
}
