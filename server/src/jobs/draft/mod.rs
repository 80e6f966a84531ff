//! Drafts: jobs that can still be changed.

pub mod call;
mod copy;
mod create;
mod locations;
pub mod probe;
mod upload;

use chrono::{DateTime, TimeDelta, Utc};
use common::data::location::{Destination, DraftSource};
use common::ids::{JobId, WorkspaceId};
use common::order::call::CallWork;
use common::order::callback::Callbacks;
use common::package::config::JobConfig;
use common::package::template::{ParamsChange, Template};
use common::run::scheduling::{Priority, Regions};

pub use copy::copy;
pub use create::{NewJob, TemplateChoice, create, find_template};
pub use locations::Given;
pub(super) use locations::keep;
pub use upload::complete_upload;

use super::monitoring::status::{JobStatus, find, find_job};
use super::resolve::params;
use super::{Job, secret_use};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::field::Field;
use crate::people::caller::Caller;
use crate::store::jobs::{self, Change, JobWork, TemplateWork};

/// The limits that an API reads a draft by.
pub const NAME_CHARS_MAX: usize = 256;
pub const DESCRIPTION_CHARS_MAX: usize = 4000;
/// Tags, or regions of one list.
pub const LABELS_MAX: usize = 50;
pub const LABEL_CHARS_MAX: usize = 256;
/// A run holds its credits while it waits for its start.
const START_AHEAD_MAX: TimeDelta = TimeDelta::days(366);

/// What a caller says of a job. What is `None` stays as it is.
#[derive(Default)]
pub struct DraftChange {
    pub name: Option<String>,
    pub description: Option<String>,
    pub source: Option<Given<DraftSource>>,
    pub destination: Option<Given<Destination>>,
    pub params: Option<ParamsChange>,
    /// Laid over the job's own.
    pub config: Option<JobConfig>,
    pub priority: Option<Priority>,
    pub regions: Option<Regions>,
    pub tags: Option<Vec<String>>,
    pub start_at: Option<DateTime<Utc>>,
    /// What a job of a call does.
    pub call: Option<Box<CallWork>>,
    /// In place of all that the job has.
    pub callbacks: Option<Callbacks>,
    /// It is deleted so many seconds after the end of its latest run.
    pub auto_delete_secs: Option<u32>,
}

/// A time at which a job may be started.
///
/// # Errors
/// `Invalid` where it is too far away.
pub fn start_at(time: DateTime<Utc>) -> Result<DateTime<Utc>> {
    if time > clock::now() + START_AHEAD_MAX {
        return Err(Error::Invalid("must be within a year from now".to_owned()));
    }
    Ok(time)
}

/// Changes the caller's draft of this id.
pub async fn change(
    app: &App,
    caller: &Caller,
    id: JobId,
    wanted: DraftChange,
) -> Result<JobStatus> {
    let job = find_job(app, caller, id).await?;
    let changes = match &job.work {
        JobWork::Template(_) | JobWork::Container(_) | JobWork::Plan(_) => {
            let work = draft_of(&job)?;
            changes(app, caller, id, Some(work), &work.template, wanted).await?
        }
        JobWork::Call(_) => {
            let mut changes = beside_work(&wanted);
            if let Some(work) = &wanted.call {
                call::check(work)?;
                changes.push(Change::Call(work.clone()));
            }
            no_template(wanted)?;
            changes
        }
    };
    save(app, caller, &job, changes).await
}

/// What is changed of a job of any kind.
fn beside_work(wanted: &DraftChange) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(wanted.name.clone().map(Change::Name));
    changes.extend(wanted.description.clone().map(Change::Description));
    changes.extend(wanted.priority.map(Change::Priority));
    changes.extend(wanted.regions.clone().map(Change::Regions));
    changes.extend(wanted.tags.clone().map(Change::Tags));
    changes.extend(wanted.start_at.map(Change::StartAt));
    changes.extend(wanted.callbacks.clone().map(Change::Callbacks));
    changes.extend(wanted.auto_delete_secs.map(Change::AutoDelete));
    changes
}

/// Refuses what only jobs of templates have.
fn no_template(wanted: DraftChange) -> Result<()> {
    let DraftChange { source, destination, params, config, .. } = wanted;
    let given = [
        ("source", source.is_some()),
        ("destination", destination.is_some()),
        ("params", params.is_some()),
        ("config", config.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => {
            Err(Error::field(field, "is of jobs of templates: leave it out for a call"))
        }
        None => Ok(()),
    }
}

/// Renames a job, also one that has started or ended. The statement's line of a run keeps the name
/// that it began with.
pub async fn rename(app: &App, caller: &Caller, id: JobId, name: String) -> Result<JobStatus> {
    let (mut job, run) = find(app, caller, id).await?;
    secret_use::check_job(caller, &job)?;
    if !jobs::rename(&app.db, job.workspace, id, &name).await? {
        return Err(Error::not_found("job", &id.to_string()));
    }
    job.name = name;
    JobStatus::of(app, job, run).await
}

/// What is changed of a draft, or said of a new one. Keys that came with the data are stored.
async fn changes(
    app: &App,
    caller: &Caller,
    id: JobId,
    before: Option<&TemplateWork>,
    template: &Template,
    wanted: DraftChange,
) -> Result<Vec<Change>> {
    if wanted.call.is_some() {
        return Err(Error::field("call", "is of jobs of calls: leave it out for a template"));
    }
    let mut changes = beside_work(&wanted);
    if let Some(change) = wanted.params {
        let kept = before.map(|work| work.params.clone()).unwrap_or_default();
        let given = kept.changed_by(change);
        params::check_given(app, caller.workspace, template, &given).await?;
        changes.push(Change::Params(given));
    }
    if let Some(config) = wanted.config {
        let kept = before.map(|work| work.config).unwrap_or_default();
        changes.push(Change::Config(kept.overlaid(config)));
    }
    let data = locations::changes(app, caller, id, before, wanted.source, wanted.destination);
    changes.extend(data.await?);
    Ok(changes)
}

/// Changes a draft, as it was read, where the caller may use the secrets that it names then.
async fn save(app: &App, caller: &Caller, job: &Job, changes: Vec<Change>) -> Result<JobStatus> {
    let mut changed = job.clone();
    for change in &changes {
        changed.change(change.clone());
    }
    secret_use::check_job(caller, &changed)?;
    call::check_name(app, &changed).await?;
    let lock = app.coordinator.lock_job(job.id).await?;
    if !jobs::change(&app.db, &lock, caller.workspace, changes).await? {
        return Err(started());
    }
    JobStatus::of(app, find_job(app, caller, job.id).await?, None).await
}

/// The work of a draft. What would touch a job that runs is refused: even its secrets stay as they
/// are.
fn draft_of(job: &Job) -> Result<&TemplateWork> {
    match &job.work {
        JobWork::Template(_) if job.run.is_some() => Err(started()),
        JobWork::Template(work) => Ok(work),
        JobWork::Call(_) => Err(Error::NotNow("this job is a call: it takes no data".to_owned())),
        JobWork::Container(_) => Err(Error::NotNow(
            "this job runs containers: change its container, and nothing of a template".to_owned(),
        )),
        JobWork::Plan(_) => {
            Err(Error::NotNow("this job is a whole plan: order another one".to_owned()))
        }
    }
}

fn started() -> Error {
    Error::NotNow(
        "this job has been started: it cannot be changed any more, create another one".to_owned(),
    )
}

/// The id turned out to be taken: by another call that was faster, by a deleted job, or by a
/// stranger's. A repeat of a request under its key finds what the first one has made.
async fn taken(app: &App, owner: WorkspaceId, id: JobId, is_repeat: bool) -> Result<JobStatus> {
    match jobs::find(&app.db, owner, id).await? {
        Some(made) if is_repeat => made_before(app, made).await,
        Some(_) => {
            Err(Error::NotNow("is just being made by another call".to_owned()).at(Field::JobId))
        }
        None => Err(Error::not_found("job", &id.to_string())),
    }
}

async fn made_before(app: &App, job: Job) -> Result<JobStatus> {
    let run = crate::jobs::monitoring::status::run_of(app, &job).await?;
    JobStatus::of(app, job, run).await
}
