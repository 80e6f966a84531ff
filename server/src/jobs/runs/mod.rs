//! The runs of a job.

pub mod cancel;
pub mod hold;
pub mod results;
pub mod retry;
pub mod stages;
pub mod start;

use common::ids::{JobId, RunId};

use crate::app::App;
use crate::error::Result;
use crate::jobs::monitoring::status::{JobStatus, find, find_job};
use crate::people::caller::Caller;
use crate::store::market::runs;
pub use crate::store::market::runs::RunPlace;

/// The most runs of one page.
pub const LIST_MAX: u32 = 1_000;

/// The runs of the caller's job of this id that were accepted before this one, the newest first.
pub async fn list(
    app: &App,
    caller: &Caller,
    id: JobId,
    before: Option<RunPlace>,
    limit: u32,
) -> Result<Vec<JobStatus>> {
    let job = find_job(app, caller, id).await?;
    let limit = limit.clamp(1, LIST_MAX).into();
    let found = runs::of_job(&app.db, caller.workspace, id, before, limit).await?;
    let each = |run| JobStatus::in_list(app, job.clone(), Some(run));
    Ok(found.into_iter().map(each).collect())
}

/// The runs that tell how the caller's run of this id has ended, the oldest first.
pub async fn callbacks_of(app: &App, caller: &Caller, id: RunId) -> Result<Vec<JobStatus>> {
    let (job, _) = find(app, caller, id).await?;
    let found = runs::callbacks_of(&app.db, caller.workspace, id).await?;
    let each = |run| JobStatus::in_list(app, job.clone(), Some(run));
    Ok(found.into_iter().map(each).collect())
}
