//! Making a job of a template, or of packages that the caller names.

use common::ids::JobId;
use common::package::template::Template;
use uuid::Uuid;

use super::{DraftChange, changes, draft_of, made_before, save, taken};
use crate::app::App;
use crate::error::{Error, Result};
use crate::idempotency::{self, NewId, RequestKey};
use crate::jobs::monitoring::status::JobStatus;
use crate::jobs::resolve::app_of;
use crate::jobs::{Job, secret_use};
use crate::people::caller::Caller;
use crate::store::catalogue::templates;
use crate::store::jobs::{self, Change, IdOrigin, JobWork};

/// What a job is made of.
pub struct NewJob {
    /// Chosen by the caller; the draft that has it already is changed.
    pub id: Option<JobId>,
    pub template: TemplateChoice,
    pub draft: DraftChange,
}

/// Which packages a job works with.
pub enum TemplateChoice {
    /// Those of a stored template, by its id.
    Stored(String),
    /// Those that the caller names in its place.
    Named(Box<Template>),
}

/// Makes a job, or changes the draft of the chosen id. Asked for again under the same key, it
/// makes nothing more.
pub async fn create(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    new: NewJob,
) -> Result<JobStatus> {
    let mut template = match new.template {
        TemplateChoice::Stored(id) => find_template(app, caller, &id).await?,
        TemplateChoice::Named(template) => *template,
    };
    template.app_id = app_of(app, caller.workspace, &template).await?;
    if let Some(id) = new.id
        && let Some(draft) = jobs::find(&app.db, caller.workspace, id).await?
    {
        return Box::pin(update(app, caller, key, draft, template, new.draft)).await;
    }
    let drawn = new.id.map_or_else(Uuid::now_v7, JobId::uuid);
    let made = idempotency::new_id(app, caller, key, drawn).await?;
    let (NewId { id, named, .. }, id_origin) = (made, made.origin());
    let origin = if new.id.is_some() { IdOrigin::Given } else { id_origin };
    let id = JobId::new(id);
    if origin == IdOrigin::Given && jobs::is_taken(&app.db, id).await? {
        return taken(app, caller.workspace, id, named).await;
    }
    let changes = changes(app, caller, id, None, &template, new.draft).await?;
    let mut job = Job::new(id, caller.workspace, JobWork::of(template));
    for change in changes {
        job.change(change);
    }
    secret_use::check_job(caller, &job)?;
    if !app.coordinator.create_job(&job, origin).await? {
        return taken(app, caller.workspace, id, named).await;
    }
    JobStatus::of(app, job, None).await
}

/// Changes a draft by a create call. Its key is bound when the draft is changed: a call that was
/// refused or cut off before has done nothing.
async fn update(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    draft: Job,
    template: Template,
    wanted: DraftChange,
) -> Result<JobStatus> {
    if idempotency::asked_before(app, caller, key).await? {
        return made_before(app, draft).await;
    }
    let work = draft_of(&draft)?;
    let mut changes = changes(app, caller, draft.id, Some(work), &template, wanted).await?;
    changes.push(Change::Template(Box::new(template)));
    let changed = save(app, caller, &draft, changes).await?;
    idempotency::new_id(app, caller, key, draft.id.uuid()).await?;
    Ok(changed)
}

/// The template that an id names for the caller.
pub async fn find_template(app: &App, caller: &Caller, id: &str) -> Result<Template> {
    let found = templates::known(&app.db, caller.workspace, id).await?;
    Ok(found.ok_or_else(|| Error::not_found("template", id))?.template)
}
