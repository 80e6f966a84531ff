//! Making a draft like an existing job.

use common::ids::JobId;
use common::secret::{DataEnd, SecretId};
use uuid::Uuid;

use super::{locations, taken};
use crate::app::App;
use crate::clock;
use crate::error::Result;
use crate::idempotency::{self, NewId, RequestKey};
use crate::jobs::monitoring::status::{JobStatus, find_job};
use crate::jobs::{Job, secret_use};
use crate::people::caller::Caller;
use crate::store::jobs;
use crate::store::jobs::{JobWork, TemplateWork};

/// Makes a draft like the caller's job of this id, under a name of its own where one is given. A
/// file must be uploaded again.
pub async fn copy(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    from: JobId,
    name: Option<String>,
) -> Result<JobStatus> {
    let from = find_job(app, caller, from).await?;
    secret_use::check_job(caller, &from)?;
    let NewId { id, named, .. } = idempotency::new_id(app, caller, key, Uuid::now_v7()).await?;
    let id = JobId::new(id);
    let copy = Job {
        id,
        work: match from.work {
            JobWork::Template(work) => {
                JobWork::Template(Box::new(copy_work(app, caller, id, *work).await?))
            }
            work @ (JobWork::Call(_) | JobWork::Container(_) | JobWork::Plan(_)) => work,
        },
        name: name.unwrap_or(from.name),
        // The name is the only one of its scope.
        scope: None,
        draft: 0,
        run: None,
        created_at: clock::now(),
        updated_at: clock::now(),
        submitted_at: None,
        ..from
    };
    if !jobs::insert(&app.db, &copy).await? {
        return taken(app, caller.workspace, id, named).await;
    }
    JobStatus::of(app, copy, None).await
}

/// The same work for a new job.
async fn copy_work(
    app: &App,
    caller: &Caller,
    id: JobId,
    from: TemplateWork,
) -> Result<TemplateWork> {
    let (source, destination) = (DataEnd::Source, DataEnd::Destination);
    let (own, to) = (SecretId::of_job(id, source), SecretId::of_job(id, destination));
    Ok(TemplateWork {
        source: locations::copied(app, caller, source, from.source, own).await?,
        destination: locations::copied(app, caller, destination, from.destination, to).await?,
        upload: None,
        received: None,
        ..from
    })
}
