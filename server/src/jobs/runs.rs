//! Runs by their own ids. A job has one run; what can be done with it is done by its job.

use common::ids::{JobId, RunId};

use super::{Job, RunView};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::monitoring::status::JobStatus;
use crate::people::caller::Caller;
use crate::store::jobs;
use crate::store::market::runs;

/// The job of the caller's run of this id, with the run.
pub async fn read(app: &App, caller: &Caller, id: RunId) -> Result<JobStatus> {
    let (job, run) = find(app, caller, id).await?;
    JobStatus::of(app, job, Some(run)).await
}

/// The job that the caller's run of this id is of.
pub async fn job_of(app: &App, caller: &Caller, id: RunId) -> Result<JobId> {
    find(app, caller, id).await.map(|(job, _)| job.id)
}

/// The caller's run of this id. One that is a part of another run is not found by itself, nor is
/// one whose job has been deleted.
pub(super) async fn find(app: &App, caller: &Caller, id: RunId) -> Result<(Job, RunView)> {
    let missing = || Error::not_found("run", &id.to_string());
    let run = runs::find(&app.db, caller.workspace, id).await?.ok_or_else(missing)?;
    let job = jobs::find(&app.db, caller.workspace, run.job).await?;
    let job = job.filter(|job| job.run == Some(id)).ok_or_else(missing)?;
    Ok((job, run))
}
