//! Jobs as drafts: made from a template, changed until they run.

use common::ids::{JobId, NotAnId};
use common::package::config::JobConfig;
use common::package::loose::Loose;
use common::package::template::Template;
use common::secret::{DataEnd, SecretId};
use uuid::Uuid;

use super::draft::{change, copied, read_data, refuse_started};
use super::job_out::{self, JobAnswer};
use super::{described, params, plan};
use crate::api::bytenite::names::PRIORITIES;
use crate::api::bytenite::secret_use;
use crate::api::bytenite::template;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::work::{CONFIG, DATA, PARAMS};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, post};
use crate::api::http::shape::{Field, Shape, date, one, text, texts, word};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::idempotency::NewId;
use crate::people::caller::Caller;
use crate::store::catalogue::templates;
use crate::store::jobs::{self, Change, Job};

pub const NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 4000;

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_CreateJob", "/jobs", create)
            .creates()
            .summary("Makes a job, or changes the draft of the given id")
            .body(CREATE),
        post("Customer_CloneJob", "/jobs/{jobId}/clone", clone)
            .creates()
            .summary("Makes a draft like an existing job")
            .body(vec![text("name", "Of the draft")]),
        delete("Customer_DeleteJob", "/jobs/{jobId}", remove)
            .summary("Deletes a draft, or hides a job that has ended"),
    ]
}

const CREATE: &[Field] = &[
    text("templateId", "Or app, partitioner and assembler in its place"),
    text("app", "A tag; in place of a template").example("hello-world"),
    text("partitioner", "A tag; passthrough where it is left out"),
    text("assembler", "A tag; passthrough where it is left out"),
    text("jobId", "A UUID; made where it is left out"),
    text("name", "At most 256 characters").example("first job"),
    text("description", "At most 4000 characters"),
    one("dataSource", &DATA, "Where the data comes from; the template's where it is left out"),
    one(
        "dataDestination",
        &DATA,
        "Where the results go; the template's where it is left out, and else the temporary bucket, \
         from which links lead to them for 48 hours",
    ),
    one("params", &PARAMS, "Laid over the template's"),
    one("config", &CONFIG, "Laid over the template's"),
    word("priority", &PRIORITIES, "How soon the job gets nodes, against other jobs"),
    date("startAt", ""),
    one("regions", &REGIONS, ""),
    texts("tags", ""),
];

const REGIONS: Shape =
    Shape { name: "Regions", fields: &[texts("whitelist", ""), texts("blacklist", "")] };

/// Makes a job, or changes the draft of the given id.
async fn create(mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let app = call.app();
    let mut template = read_template(app, &caller, &mut body).await?;
    template.app_id = plan::app_of(app, caller.workspace, &template).await?;
    let chosen = body.text("jobId")?;
    let chosen: Option<JobId> = chosen
        .map(|text| text.parse().map_err(|e: NotAnId| Error::field("jobId", e.to_string())))
        .transpose()?;
    if let Some(id) = chosen
        && let Some(draft) = jobs::find(&app.db, caller.workspace, id).await?
    {
        return update(&call, &caller, &bytes, draft, template, body).await;
    }
    let id = chosen.map_or_else(Uuid::now_v7, JobId::uuid);
    let NewId { id, named, .. } = idempotency::given_id(&call, &caller, &bytes, id).await?;
    let id = JobId::new(id);
    if jobs::is_taken(&app.db, id).await? {
        return taken(app, &caller, id, named).await;
    }
    let mut job = Job::new(id, caller.workspace, template.clone());
    for change in read_changes(app, &caller, id, None, template, &mut body).await? {
        job.change(change);
    }
    secret_use::check_job(&caller, &job)?;
    if !jobs::insert(&app.db, &job).await? {
        return taken(app, &caller, id, named).await;
    }
    job_out::answer(app, job, None).await
}

/// Changes a draft by a create call. Its `Idempotency-Key` is bound when the draft is changed: a
/// call that was refused or cut off before has done nothing.
async fn update(
    call: &Call,
    caller: &Caller,
    bytes: &[u8],
    draft: Job,
    template: Template,
    mut body: Loose,
) -> Result<JobAnswer> {
    let app = call.app();
    if idempotency::asked_before(call, caller, bytes).await? {
        return made_before(app, draft).await;
    }
    refuse_started(&draft)?;
    let id = draft.id;
    let changes = read_changes(app, caller, id, Some(&draft), template, &mut body).await?;
    let changed = change(app, caller, &draft, changes).await?;
    idempotency::given_id(call, caller, bytes, id.uuid()).await?;
    Ok(changed)
}

/// The template that a create call names, or the packages that it names in its place.
async fn read_template(app: &App, caller: &Caller, body: &mut Loose) -> Result<Template> {
    let id = body.text("templateId")?;
    let unnamed = template::unnamed(body)?;
    match (id, unnamed) {
        (Some(id), None) => Ok(templates::find(&app.db, caller.workspace, &id)
            .await?
            .ok_or_else(|| Error::not_found("template", &id))?
            .template),
        (None, Some(template)) => Ok(template),
        (Some(_), Some(_)) => {
            let problem = "names the packages already: leave out app, partitioner and assembler";
            Err(Error::field("templateId", problem))
        }
        (None, None) => Err(Error::field("templateId", "is missing, and so is app")),
    }
}

/// The id turned out to be taken: by another call that was faster, by a deleted job, or by a
/// stranger's.
async fn taken(app: &App, caller: &Caller, id: JobId, named: bool) -> Result<JobAnswer> {
    match jobs::find(&app.db, caller.workspace, id).await? {
        Some(made) if named => made_before(app, made).await,
        Some(_) => Err(Error::NotNow("jobId: is just being made by another call".to_owned())),
        None => Err(Error::not_found("job", &id.to_string())),
    }
}

async fn made_before(app: &App, job: Job) -> Result<JobAnswer> {
    let run = job_out::run_of(app, &job).await?;
    job_out::answer(app, job, run).await
}

/// The changes that a create call asks for.
async fn read_changes(
    app: &App,
    caller: &Caller,
    id: JobId,
    before: Option<&Job>,
    template: Template,
    body: &mut Loose,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    if let Some(name) = body.line("name", NAME_CHARS_MAX)? {
        changes.push(Change::Name(name));
    }
    let field = body.name("description");
    if let Some(text) = body.text("description")? {
        if text.chars().count() > DESCRIPTION_CHARS_MAX {
            let problem = format!("must have at most {DESCRIPTION_CHARS_MAX} characters");
            return Err(Error::field(field, problem));
        }
        changes.push(Change::Description(text));
    }
    if let Some(params) = body.object("params")? {
        let kept = before.map(|job| job.params.clone()).unwrap_or_default();
        let given = kept.changed_by(params)?;
        params::check_given(app, caller.workspace, &template, &given).await?;
        changes.push(Change::Params(given));
    }
    if let Some(config) = body.object("config")? {
        let kept = before.map(|job| job.config).unwrap_or_default();
        changes.push(Change::Config(kept.overlaid(JobConfig::read(config)?)));
    }
    described::read(body, &mut changes)?;
    changes.extend(read_data(app, caller, id, before, body).await?);
    changes.push(Change::Template(Box::new(template)));
    Ok(changes)
}

/// Makes a draft like an existing job, under a name of its own where one is given. A file must be
/// uploaded anew.
async fn clone(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let name = body.line("name", NAME_CHARS_MAX)?;
    body.finish()?;
    let app = call.app();
    let from = find(app, &caller, &id).await?;
    secret_use::check_job(&caller, &from)?;
    let NewId { id, named, .. } = idempotency::new_id(&call, &caller, &bytes).await?;
    let id = JobId::new(id);
    let source = SecretId::of_job(id, DataEnd::Source);
    let destination = SecretId::of_job(id, DataEnd::Destination);
    let copy = Job {
        id,
        source: copied(app, &caller, "dataSource", from.source, source).await?,
        destination: copied(app, &caller, "dataDestination", from.destination, destination).await?,
        name: name.unwrap_or_else(|| from.name.clone()),
        upload: None,
        received: None,
        draft: 0,
        run: None,
        created_at: clock::now(),
        submitted_at: None,
        ..from
    };
    if !jobs::insert(&app.db, &copy).await? {
        return taken(app, &caller, copy.id, named).await;
    }
    job_out::answer(app, copy, None).await
}

/// Deletes a draft, or hides a job whose run has ended.
async fn remove(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = find(app, &caller, &id).await?;
    let deleted = match job_out::run_of(app, &job).await? {
        None => {
            let lock = app.coordinator.lock_job(job.id).await?;
            let deleted = jobs::delete_draft(&app.db, &lock, caller.workspace).await?;
            if deleted {
                app.data.purge_upload(job.id).await?;
            }
            deleted
        }
        Some(run) if run.state.is_final() => {
            jobs::delete_ended(&app.db, caller.workspace, job.id).await?
        }
        Some(_) => false,
    };
    if !deleted {
        return Err(Error::NotNow("this job is running: abort it first".to_owned()));
    }
    Ok(done())
}

/// The caller's own job of this id.
pub async fn find(app: &App, caller: &Caller, id: &Segment) -> Result<Job> {
    jobs::find(&app.db, caller.workspace, id.id("job")?)
        .await?
        .ok_or_else(|| Error::not_found("job", &id.0))
}

#[cfg(test)]
mod tests;
