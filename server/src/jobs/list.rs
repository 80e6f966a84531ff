//! Lists of jobs, each with its run.

use std::collections::HashMap;

use super::monitoring::status::JobStatus;
use super::{ApiName, Job};
use crate::app::App;
use crate::error::Result;
use crate::people::caller::Caller;
use crate::store;
pub use crate::store::jobs::JobField;
use crate::store::jobs::{JobKind, JobScope};
use crate::store::market::runs;
use crate::store::query::selection::{Found, Selection};

/// A part of the caller's jobs of this kind and scope; of any where none is given.
pub async fn list(
    app: &App,
    caller: &Caller,
    kind: Option<JobKind>,
    scope: Option<&JobScope>,
    selection: &Selection<JobField>,
) -> Result<Found<JobStatus>> {
    let Found { rows, rest } =
        store::jobs::list(&app.db, caller.workspace, kind, scope, selection).await?;
    Ok(Found { rows: with_runs(app, caller, rows).await?, rest })
}

/// A part of the caller's jobs of a project that this API has made.
pub async fn list_of_project(
    app: &App,
    caller: &Caller,
    api: &ApiName,
    project: &str,
    selection: &Selection<JobField>,
) -> Result<Found<JobStatus>> {
    let owner = caller.workspace;
    let Found { rows, rest } =
        store::jobs::list_of_project(&app.db, owner, (api, project), selection).await?;
    Ok(Found { rows: with_runs(app, caller, rows).await?, rest })
}

/// Jobs, each with its latest run.
pub(super) async fn with_runs(
    app: &App,
    caller: &Caller,
    jobs: Vec<Job>,
) -> Result<Vec<JobStatus>> {
    let latest: Vec<_> = jobs.iter().filter_map(|job| job.run).collect();
    let mut by_job: HashMap<_, _> = runs::find_many(&app.db, caller.workspace, &latest)
        .await?
        .into_iter()
        .map(|run| (run.job, run))
        .collect();
    let each = |job: Job| {
        let run = by_job.remove(&job.id);
        JobStatus::in_list(app, job, run)
    };
    Ok(jobs.into_iter().map(each).collect())
}
