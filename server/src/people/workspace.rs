//! The workspace that a caller acts in, and its settings: how long it keeps its logs, and which of
//! its tasks share containers.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use common::compute::container::Sharing;
use common::ids::WorkspaceId;

use super::caller::Caller;
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::begin;
use crate::store::people::{retention, sharing, workspaces};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    pub created_at: DateTime<Utc>,
    /// For how many days its logs are kept after the end of their run.
    pub log_days: NonZeroU32,
    /// Which of its tasks may follow one another in containers.
    pub sharing: Sharing,
}

/// A change of settings; what is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Days for which logs are kept; `Some(None)` is as long as the server keeps them.
    pub log_days: Option<Option<NonZeroU32>>,
    pub sharing: Option<Sharing>,
}

/// Describes the workspace that the caller acts in.
pub async fn find(app: &App, caller: &Caller) -> Result<Workspace> {
    let id = caller.workspace;
    let (name, created_at) =
        workspaces::find_workspace(&app.db, id).await?.ok_or(Error::Unauthenticated)?;
    let own = retention::log_days(&app.db, id).await?;
    let log_days = own.map_or(app.settings.log_days, |own| own.min(app.settings.log_days));
    let sharing = sharing::of(&app.db, id).await?;
    Ok(Workspace { id, name, created_at, log_days, sharing })
}

/// Changes settings of the caller's workspace. That tasks share containers holds for runs that
/// start from now on.
///
/// # Errors
/// `Field` where logs are to be kept for longer than the server keeps them.
pub async fn change(app: &App, caller: &Caller, change: Change) -> Result<Workspace> {
    let most = app.settings.log_days;
    if change.log_days.flatten().is_some_and(|days| days > most) {
        let why = format!("must be at most {most}: this server keeps no logs for longer");
        return Err(Error::field("log_days", why));
    }
    let transaction = begin(&app.db).await?;
    if let Some(days) = change.log_days {
        retention::set_log_days(&transaction, caller.workspace, days).await?;
    }
    if let Some(sharing) = change.sharing {
        sharing::set(&transaction, caller.workspace, sharing).await?;
    }
    transaction.commit().await?;
    find(app, caller).await
}
