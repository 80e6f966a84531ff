//! The caller's workspace, and its settings.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::WorkspaceId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, patch};
use crate::api::http::shape::{Field, integer};
use crate::error::{Error, Result};
use crate::people::workspace::{self, Workspace};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_GetWorkspace", "/workspace", read)
            .summary("Gets the workspace that the caller acts in"),
        patch("Fanfold_ChangeWorkspace", "/workspace", change)
            .summary("Says for how long the workspace keeps its logs")
            .body(vec![LOG_DAYS])
            .needs(Scope::MembersWrite),
    ]
}

const LOG_DAYS: Field = integer(
    "log_days",
    "Days after the end of a run for which its logs, samples and the answers of its calls are \
     kept; null is as long as the server keeps them, which is the most",
);

/// The workspace that the caller acts in.
#[derive(Serialize, ToSchema)]
#[schema(as = Workspace)]
struct WorkspaceOut {
    #[schema(value_type = String)]
    id: WorkspaceId,
    name: String,
    created_at: DateTime<Utc>,
    /// Days after the end of a run for which its logs, samples and the answers of its calls are
    /// kept.
    log_days: u32,
}

async fn read(call: Call) -> Result<WorkspaceOut> {
    let caller = call.caller().await?;
    Ok(workspace::find(call.app(), &caller).await?.into())
}

async fn change(mut call: Call) -> Result<WorkspaceOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let field = body.name("log_days");
    let is_unset = body.is_unset("log_days");
    let days = body.number("log_days", 1..=u32::MAX.into())?;
    let days = days.and_then(|days| u32::try_from(days).ok()).and_then(NonZeroU32::new);
    if days.is_none() && !is_unset {
        return Err(Error::field(field, "is missing"));
    }
    body.finish()?;
    Ok(workspace::keep_logs(call.app(), &caller, days).await?.into())
}

impl From<Workspace> for WorkspaceOut {
    fn from(workspace: Workspace) -> Self {
        let Workspace { id, name, created_at, log_days } = workspace;
        Self { id, name, created_at, log_days: log_days.get() }
    }
}
