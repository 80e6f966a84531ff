//! Making a draft like an existing job.

use common::ids::JobId;
use common::order::container::{ContainerOrder, ContainerWork};
use common::order::ordered_plan::OrderedPlan;
use common::secret::{DataEnd, SecretId};
use uuid::Uuid;

use super::{locations, taken};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::idempotency::{self, NewId, RequestKey};
use crate::jobs::monitoring::status::{JobStatus, find_job};
use crate::jobs::{Job, secret_use};
use crate::people::caller::Caller;
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
    let new = idempotency::new_id(app, caller, key, Uuid::now_v7()).await?;
    let (NewId { id, named, .. }, origin) = (new, new.origin());
    let id = JobId::new(id);
    let copy = Job {
        id,
        work: match from.work {
            JobWork::Template(work) => {
                JobWork::Template(Box::new(copy_work(app, caller, id, *work).await?))
            }
            JobWork::Container(work) => JobWork::Container(Box::new(
                copy_containers(app, caller, (from.id, id), *work).await?,
            )),
            JobWork::Plan(work) => {
                JobWork::Plan(Box::new(copy_plan(app, caller, (from.id, id), *work).await?))
            }
            work @ JobWork::Call(_) => work,
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
    if !app.coordinator.create_job(&copy, origin).await? {
        return taken(app, caller.workspace, id, named).await;
    }
    JobStatus::of(app, copy, None).await
}

/// The same containers for a new job, which gets secrets of its own: those of the job go with it.
async fn copy_containers(
    app: &App,
    caller: &Caller,
    of: (JobId, JobId),
    work: ContainerWork,
) -> Result<ContainerWork> {
    let mut order = ContainerOrder::clone(&work);
    for secret in &mut order.secrets {
        copy_secret(app, caller, of, secret).await?;
    }
    ContainerWork::new(order).map_err(|bad| Error::Invalid(bad.to_string()))
}

/// The same of an ordered plan.
async fn copy_plan(
    app: &App,
    caller: &Caller,
    of: (JobId, JobId),
    mut work: OrderedPlan,
) -> Result<OrderedPlan> {
    let logins = work.images.iter_mut().filter_map(|image| image.secret.as_mut());
    for secret in work.scope.secrets.values_mut().chain(logins) {
        copy_secret(app, caller, of, secret).await?;
    }
    Ok(work)
}

/// Names a secret of the first job as one of the second, which it then is.
async fn copy_secret(
    app: &App,
    caller: &Caller,
    (from, to): (JobId, JobId),
    secret: &mut SecretId,
) -> Result<()> {
    if let Some(own) = secret.of_copy(from, to) {
        app.secrets.copy(caller.workspace, secret, own.clone()).await?;
        *secret = own;
    }
    Ok(())
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
