//! Jobs that were written as job files: plans, made before they are started.

use common::order::workflow::WorkflowWork;

use super::containers::{self, Terms};
use super::monitoring::status::JobStatus;
use crate::app::App;
use crate::error::Result;
use crate::idempotency::RequestKey;
use crate::people::caller::Caller;
use crate::store::jobs::JobWork;

/// What is said of a new job.
pub struct NewWorkflow {
    pub work: WorkflowWork,
    /// What stands in for what the file says of the job.
    pub terms: Terms,
    pub project: Option<String>,
}

/// Makes a job. Asked for again under the same key, it makes nothing more.
pub async fn create(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    new: NewWorkflow,
) -> Result<JobStatus> {
    let NewWorkflow { work, mut terms, project } = new;
    let file = work.file();
    terms.name.get_or_insert_with(|| work.name().to_owned());
    terms.description = terms.description.or_else(|| file.description.clone());
    terms.tags = terms.tags.or_else(|| (!file.tags.is_empty()).then(|| file.tags.clone()));
    let after = file.auto_delete.map(|auto| auto.after.0);
    terms.auto_delete_secs = terms.auto_delete_secs.or(after);
    let ordered = work.ordered();
    let work = JobWork::Plan(Box::new(ordered));
    containers::make(app, caller, key, work, terms, (None, project)).await
}
