//! Jobs that are one HTTP request.

use common::ids::JobId;
use common::order::call::CallWork;
use uuid::Uuid;

use super::{DraftChange, beside_work, taken};
use crate::app::App;
use crate::error::{Error, Result};
use crate::idempotency::{self, NewId, RequestKey};
use crate::jobs::monitoring::status::JobStatus;
use crate::jobs::{Job, secret_use};
use crate::people::caller::Caller;
use crate::store::jobs::{self, IdOrigin, JobScope, JobWork};

/// A call that a caller orders.
pub struct NewCall {
    pub work: CallWork,
    /// Among which jobs its name must be the only one.
    pub scope: Option<JobScope>,
    pub draft: DraftChange,
}

/// Makes a job of a call. Asked for again under the same key, it makes nothing more.
///
/// # Errors
/// `NameTaken` where another job of its scope has its name.
pub async fn create(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    new: NewCall,
) -> Result<JobStatus> {
    check(&new.work)?;
    let new_id = idempotency::new_id(app, caller, key, Uuid::now_v7()).await?;
    let (NewId { id, named, .. }, origin) = (new_id, new_id.origin());
    let id = JobId::new(id);
    if origin == IdOrigin::Given && jobs::is_taken(&app.db, id).await? {
        return taken(app, caller.workspace, id, named).await;
    }
    let mut job = Job::new(id, caller.workspace, JobWork::Call(Box::new(new.work)));
    job.scope = new.scope;
    for change in beside_work(&new.draft) {
        job.change(change);
    }
    super::no_template(new.draft)?;
    secret_use::check_job(caller, &job)?;
    check_name(app, &job).await?;
    match app.coordinator.create_job(&job, origin).await {
        Ok(true) => JobStatus::of(app, job, None).await,
        Ok(false) => taken(app, caller.workspace, id, named).await,
        // Another create of the same name was faster.
        Err(error) => {
            check_name(app, &job).await?;
            Err(error.into())
        }
    }
}

/// Whether no other job of the same scope has the name of this one.
pub(super) async fn check_name(app: &App, job: &Job) -> Result<()> {
    let Some(scope) = &job.scope else { return Ok(()) };
    let other = jobs::find_named(&app.db, job.workspace, scope, &job.name).await?;
    if other.is_some_and(|other| other.id != job.id) {
        let what = "another job has this name: choose another one, or delete that job";
        return Err(Error::Blocked("JOB_NAME_TAKEN", what.to_owned()).at("name"));
    }
    Ok(())
}

/// Whether a call can be made, as far as that is known without making it.
pub(super) fn check(work: &CallWork) -> Result<()> {
    let checked = work.plan(common::money::credits::Credits::ZERO);
    checked
        .map(drop)
        .map_err(|invalid| Error::field(format!("call.{}", invalid.field()), invalid.to_string()))
}
