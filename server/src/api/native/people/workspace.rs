//! The caller's workspace, and its settings.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::compute::container::Sharing;
use common::ids::WorkspaceId;
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, patch};
use crate::api::http::shape::{Field, integer, word};
use crate::error::{Error, Result};
use crate::people::workspace::{self, Change, Workspace};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_GetWorkspace", "/workspace", read)
            .summary("Gets the workspace that the caller acts in"),
        patch("Fanfold_ChangeWorkspace", "/workspace", change)
            .summary("Changes settings of the workspace")
            .body(vec![LOG_DAYS, CONTAINERS])
            .needs(Scope::MembersWrite),
    ]
}

const LOG_DAYS: Field = integer(
    "log_days",
    "Days after the end of a run for which its logs, samples and the answers of its calls are \
     kept; null is as long as the server keeps them, which is the most",
);

const SHARINGS: [&str; 2] = [Sharing::Run.as_str(), Sharing::Workspace.as_str()];
const CONTAINERS: Field = word(
    "containers",
    &SHARINGS,
    "Which tasks may follow one another in a container that stays on a node: run is those of one \
     stage of a run (the default), workspace is those of all runs of the workspace whose \
     containers are the same. It holds for runs that start after it",
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
    /// Which of its tasks may follow one another in a container: `run` or `workspace`.
    containers: &'static str,
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
    let log_days = (days.is_some() || is_unset).then_some(days);
    let sharing = sharing(&mut body)?;
    if log_days.is_none() && sharing.is_none() {
        return Err(Error::field(field, "is missing, and so is containers"));
    }
    body.finish()?;
    Ok(workspace::change(call.app(), &caller, Change { log_days, sharing }).await?.into())
}

fn sharing(body: &mut Loose) -> Result<Option<Sharing>> {
    let field = body.name("containers");
    let Some(text) = body.text("containers")? else { return Ok(None) };
    let unknown = || Error::field(field, format!("must be one of {}", SHARINGS.join(", ")));
    Sharing::from_name(&text).map(Some).ok_or_else(unknown)
}

impl From<Workspace> for WorkspaceOut {
    fn from(workspace: Workspace) -> Self {
        let Workspace { id, name, created_at, log_days, sharing } = workspace;
        Self { id, name, created_at, log_days: log_days.get(), containers: sharing.as_str() }
    }
}
