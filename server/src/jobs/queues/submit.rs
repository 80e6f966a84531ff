//! Submitting a job: a definition and a queue make one, which is started at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::compute::container::Command;
use common::compute::environment::Environment;
use common::expression::Template;
use common::ids::JobId;
use common::order::container::{ContainerOrder, ContainerWork};
use common::order::parameters;
use common::package::config::JobConfig;
use common::schedule::{Rules, Schedule};
use common::secret::SecretId;
use uuid::Uuid;

use super::definitions::{self, Definition};
use super::{Queue, name_taken};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::idempotency::{self, NewId, RequestKey};
use crate::jobs::monitoring::status::{self, JobStatus};
use crate::jobs::runs::{cancel, start};
use crate::jobs::schedules::{self, JobSchedule};
use crate::jobs::{ApiName, Job, JobScope, secret_use};
use crate::people::caller::Caller;
use crate::store::definitions as stored;
use crate::store::jobs::{self, JobWork};

/// Names a definition; without a version, the newest active one.
#[derive(Debug, Clone)]
pub struct DefinitionName {
    pub project: String,
    pub name: String,
    pub version: Option<u32>,
}

/// A variable that a job lays over those of its definition.
#[derive(Debug, Clone)]
pub struct Variable {
    pub value: String,
    /// Its value is kept sealed, and never shown again.
    pub is_sensitive: bool,
}

/// What is said of a job that is submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    pub definition: Definition,
    pub queue: Queue,
    /// The only one in its queue; `None` for one that is made up.
    pub name: Option<String>,
    /// In place of the definition's.
    pub command: Option<Vec<String>>,
    pub parameters: parameters::Values,
    pub variables: BTreeMap<String, Variable>,
    /// Not before this; one that has passed is now.
    pub start_at: Option<DateTime<Utc>>,
    /// When its runs are made, in place of one at once.
    pub rules: Option<Rules>,
    /// The API that it is submitted to, where that API shows its own jobs alone.
    pub api: Option<ApiName>,
    /// Variables that the job gets beside all these, unless they are given.
    pub told: Vec<(String, String)>,
    /// The same, as templates over the job and each of its runs.
    pub told_late: Vec<(String, Template)>,
}

/// The caller's definition of this name, of which jobs may be made.
///
/// # Errors
/// Names what is missing, or not active.
pub async fn find_definition(
    app: &App,
    caller: &Caller,
    name: &DefinitionName,
) -> Result<Definition> {
    let DefinitionName { project, name, version } = name;
    let of = (project.as_str(), name.as_str());
    let found = stored::find_named(&app.db, caller.workspace, of, *version).await?;
    let missing = || Error::Invalid("there is no such definition, or none is active".to_owned());
    let found = found.ok_or_else(missing)?;
    if !found.is_active {
        return Err(Error::Invalid("this version of the definition is not active".to_owned()));
    }
    Ok(found)
}

/// Makes a job and starts it; where that is refused, there is no job. Submitted again under the
/// same key, it makes nothing more. `tell` adds variables that depend on the job's id.
pub async fn submit(
    app: &App,
    caller: &Caller,
    key: Option<&RequestKey>,
    submission: Submission,
    tell: impl FnOnce(JobId) -> Vec<(String, String)>,
) -> Result<JobStatus> {
    let NewId { id, named, .. } = idempotency::new_id(app, caller, key, Uuid::now_v7()).await?;
    let id = JobId::new(id);
    if named && jobs::is_taken(&app.db, id).await? {
        return status::read(app, caller, id).await;
    }
    let told = [submission.told.clone(), tell(id)].concat();
    let work = work(&submission, told, id)?;
    let mut job = Job::new(id, caller.workspace, JobWork::Container(Box::new(work)));
    job.name = submission.name.clone().unwrap_or_else(|| made_up_name(id));
    job.scope = Some(JobScope(format!("queue:{}", submission.queue.id)));
    job.queue = Some(submission.queue.id);
    job.api = submission.api.clone();
    job.project = Some(submission.definition.project.clone()).filter(|name| !name.is_empty());
    job.start_at = submission.start_at.filter(|at| *at > clock::now());
    secret_use::check_job(caller, &job)?;
    check_name(app, &job).await?;
    hide(app, caller, &submission, id).await?;
    if let Err(error) = jobs::insert(&app.db, &job).await {
        // Another one of the same name was faster.
        check_name(app, &job).await?;
        return Err(error.into());
    }
    if let Err(refused) = begin(app, caller, id, submission.rules).await {
        cancel::delete(app, caller, id).await?;
        return Err(refused);
    }
    status::read(app, caller, id).await
}

async fn begin(app: &App, caller: &Caller, id: JobId, rules: Option<Rules>) -> Result<()> {
    match rules {
        Some(rules) => schedules::set(app, caller, id, rules).await.map(drop),
        None => {
            let ready = start::prepare(app, caller, id, JobConfig::default()).await?;
            ready.start(app).await.map(drop)
        }
    }
}

/// The caller's job of this id with its schedule, where this API has made it and it has one.
pub async fn scheduled(
    app: &App,
    caller: &Caller,
    api: &ApiName,
    id: JobId,
) -> Result<Option<(Job, Schedule)>> {
    let job = jobs::find(&app.db, caller.workspace, id).await?;
    let Some(job) = job.filter(|job| job.api.as_ref() == Some(api)) else { return Ok(None) };
    Ok(schedules::of_job(app, id).await?.map(|schedule| (job, schedule)))
}

/// At most `limit` of the caller's jobs that this API has made and that have a schedule, after this
/// one, in the order in which they were made.
pub async fn list_scheduled(
    app: &App,
    caller: &Caller,
    api: &ApiName,
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<(Job, Schedule)>> {
    let all = schedules::list(app, caller, after, schedules::LIST_MAX).await?;
    let ids: Vec<JobId> = all.iter().map(|found| found.schedule.job).collect();
    let found = jobs::find_many(&app.db, caller.workspace, &ids).await?;
    let own = found.into_iter().filter(|job| job.api.as_ref() == Some(api));
    let mut by_id: BTreeMap<JobId, Job> = own.map(|job| (job.id, job)).collect();
    let with_job = |found: JobSchedule| Some((by_id.remove(&found.schedule.job)?, found.schedule));
    Ok(all.into_iter().filter_map(with_job).take(limit as usize).collect())
}

/// Runs the caller's job of this id once more, where none of its runs goes on.
pub async fn submit_again(app: &App, caller: &Caller, id: JobId) -> Result<JobStatus> {
    let before = status::read(app, caller, id).await?;
    if before.run.as_ref().is_some_and(|run| !run.has_ended()) {
        return Err(Error::NotNow("this job is queued or running".to_owned()));
    }
    start::prepare(app, caller, id, JobConfig::default()).await?.start(app).await?;
    status::read(app, caller, id).await
}

/// Whether no other job of the queue has the name of this one.
async fn check_name(app: &App, job: &Job) -> Result<()> {
    let Some(scope) = &job.scope else { return Ok(()) };
    match jobs::find_named(&app.db, job.workspace, scope, &job.name).await? {
        Some(other) if other.id != job.id => {
            Err(Error::Blocked("JOB_NAME_TAKEN", name_taken("job of this queue")).at("name"))
        }
        Some(_) | None => Ok(()),
    }
}

/// What the job runs: its definition, with what was said at its submission laid over it.
fn work(submission: &Submission, told: Vec<(String, String)>, id: JobId) -> Result<ContainerWork> {
    let Submission { definition, command, parameters, variables, .. } = submission;
    let mut order = ContainerOrder::clone(&definition.work);
    let words = command.clone().unwrap_or_else(|| definitions::words(&order).to_vec());
    let filled = parameters::fill(&words, parameters, &definition.parameters);
    let filled = filled.map_err(|bad| Error::field("parameters", bad.to_string()))?;
    if command.is_some() || !filled.is_empty() {
        order.main.command = Command::Line(filled);
    }
    let hidden: Vec<SecretId> =
        hidden_names(submission).map(|name| SecretId::of_variable(id.uuid(), name)).collect();
    order.secrets.retain(SecretId::is_named);
    order.secrets.extend(hidden);
    let is_hidden = |name: &str| hidden_names(submission).any(|hidden| hidden == name);
    let mut all: BTreeMap<String, String> =
        told.into_iter().filter(|(name, _)| !is_hidden(name)).collect();
    let own = order.main.environment.pairs();
    all.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, variable) in variables {
        if variable.is_sensitive {
            all.remove(name);
        } else {
            all.insert(name.clone(), variable.value.clone());
        }
    }
    let late = submission.told_late.iter();
    let late = late.filter(|(name, _)| !all.contains_key(name) && !variables.contains_key(name));
    order.late.extend(late.filter(|(name, _)| !is_hidden(name)).cloned());
    order.main.environment =
        Environment::try_from(all).map_err(|bad| Error::field("variables", bad.to_string()))?;
    ContainerWork::new(order).map_err(|bad| Error::Invalid(bad.to_string()))
}

/// The variables of the job whose values are sealed: those that are sensitive, and those of its
/// definition that are not given.
fn hidden_names(submission: &Submission) -> impl Iterator<Item = &str> {
    let given = submission.variables.iter();
    let sensitive = given.filter(|(_, variable)| variable.is_sensitive).map(|(name, _)| name);
    let of_definition = derived(&submission.definition);
    let left = of_definition.filter(|name| !submission.variables.contains_key(*name));
    sensitive.map(String::as_str).chain(left)
}

/// The sealed variables of a definition.
fn derived(definition: &Definition) -> impl Iterator<Item = &str> {
    let ids = definition.work.secrets.iter().filter(|id| !id.is_named());
    ids.filter_map(SecretId::variable)
}

/// Seals the job's own values, and copies those of its definition: the job keeps them when the
/// definition goes.
async fn hide(app: &App, caller: &Caller, submission: &Submission, id: JobId) -> Result<()> {
    let given = submission.variables.iter().filter(|(_, variable)| variable.is_sensitive);
    let own = given.map(|(name, variable)| (name.clone(), variable.value.clone())).collect();
    definitions::keep_hidden(app, caller, id.uuid(), &own).await?;
    let definition = &submission.definition;
    let left = derived(definition).filter(|name| !submission.variables.contains_key(*name));
    for name in left {
        let from = SecretId::of_variable(definition.id.uuid(), name);
        let to = SecretId::of_variable(id.uuid(), name);
        app.secrets.copy(caller.workspace, &from, to).await?;
    }
    Ok(())
}

/// A name that no other job has: two letters and the time.
fn made_up_name(id: JobId) -> String {
    let letter = |byte: u8| char::from(b'A' + byte % 26);
    let [.., a, b] = *id.uuid().as_bytes();
    format!("{}{}-{}", letter(a), letter(b), clock::now().timestamp_millis())
}
