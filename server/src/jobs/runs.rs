//! The runs of a job.

use common::ids::JobId;

use super::monitoring::status::{JobStatus, find_job};
use crate::app::App;
use crate::error::Result;
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
