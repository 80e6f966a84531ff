//! Jobs: listed, made, read, changed and deleted.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::API;
use super::envelope::{self, Envelope};
use super::job_in::{JobIn, change_fields, new_fields, read};
use super::job_out::JobOut;
use super::schedule::{Decided, NotASchedule};
use super::scope::{PATH, Scope};
use crate::api::Answer;
use crate::api::http::call::{BODY_BYTES_MAX, Call};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{integer, text};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::containers::{self, NewContainers};
use crate::jobs::list::{self, JobField};
use crate::jobs::monitoring::status::JobStatus;
use crate::jobs::schedules;
use crate::listing::{Found, Operand, Place, Rest, Selection, Start, Test};

pub const JSON: &str = "application/json";
pub const LIMIT: u32 = 50;
pub const LIMIT_MAX: u32 = 100;

pub fn routes() -> Vec<Route> {
    let (jobs, job) = (format!("{PATH}/jobs"), format!("{PATH}/jobs/{{job}}"));
    let change = |method: Method, operation: &'static str| {
        raw(method, operation, job.clone(), JSON, update)
            .gives::<Envelope<JobOut>>()
            .summary("Changes a job from its next run on; what is left out stays as it is")
            .body(change_fields())
            .fails(&[(422, "The cron expression cannot be kept")])
    };
    vec![
        raw(Method::GET, "Ejjy_ListJobs", jobs.clone(), JSON, list_jobs)
            .gives::<Envelope<JobList>>()
            .summary("Lists the jobs of a project, the newest first")
            .query(vec![
                integer("limit", "At most this many, 1 to 100; 50 where it is left out"),
                text("cursor", "The next_cursor of the page before"),
                text("tag", "Only jobs with this tag"),
            ]),
        raw(Method::POST, "Ejjy_CreateJob", jobs, JSON, create)
            .gives::<Envelope<JobOut>>()
            .creates()
            .succeeds_with(201)
            .summary("Creates a job, which runs when it is triggered and by its schedule")
            .body(new_fields())
            .fails(&[(422, "The cron expression cannot be kept")]),
        raw(Method::GET, "Ejjy_GetJob", job.clone(), JSON, read_job)
            .gives::<Envelope<JobOut>>()
            .summary("Gets a job"),
        change(Method::PATCH, "Ejjy_UpdateJob"),
        change(Method::PUT, "Ejjy_ReplaceJob"),
        raw(Method::DELETE, "Ejjy_DeleteJob", job.clone(), JSON, remove)
            .gives::<Envelope<String>>()
            .summary("Deletes a job, its schedule and all of its runs, which are stopped"),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = EjjyJobList)]
struct JobList {
    /// The newest first.
    jobs: Vec<JobOut>,
    next_cursor: Option<String>,
}

async fn list_jobs(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let query = call.query()?;
    let limit = limit(&query, LIMIT, LIMIT_MAX)?;
    let tag = query.get("tag").map(|tag| (JobField::Tags, Test::HasAll(vec![tag.clone()])));
    let selection = Selection {
        tests: tag.into_iter().collect(),
        order: vec![(JobField::CreatedAt, true)],
        start: Start::Place(query.get("cursor").map(|text| read_cursor(text)).transpose()?),
        limit: limit.into(),
    };
    let (app, _permit) = (call.app(), call.answer_permit(&scope.caller).await);
    let found = list::list_of_project(app, &scope.caller, &API, &scope.project, &selection).await?;
    let next_cursor = write_cursor(&found);
    let mut jobs = Vec::with_capacity(found.rows.len());
    for status in &found.rows {
        jobs.push(shown(app, status).await?);
    }
    envelope::found("Jobs", JobList { jobs, next_cursor })
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let (key, body) = (idempotency::key(&call, &bytes)?, call.object(&bytes)?);
    let scope = Scope::within(caller, &mut call)?;
    let job = read(body, &bytes)?;
    let work = job.new_work()?;
    let decided = match job.schedule.decide(None) {
        Ok(decided) => decided,
        Err(NotASchedule(why)) => {
            return envelope::refused(StatusCode::UNPROCESSABLE_ENTITY, &why);
        }
    };
    let JobIn { terms, .. } = job;
    let app = call.app();
    let (project, api) = (Some(scope.project.clone()), Some(API));
    let new = NewContainers { work, terms, project, api };
    let made = containers::create(app, &scope.caller, key.as_ref(), new).await?;
    if let Err(refused) = apply(app, &scope, &made, decided).await {
        // A job without its schedule is not what was asked for.
        containers::remove(app, &scope.caller, made.job.id).await?;
        return Err(refused);
    }
    envelope::success(StatusCode::CREATED, "Job created", shown(app, &made).await?)
}

async fn read_job(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let found = scope.job(&mut call).await?;
    envelope::found("Job detail", shown(call.app(), &found).await?)
}

async fn update(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let body = call.object(&bytes)?;
    let scope = Scope::within(caller, &mut call)?;
    let id = scope.job(&mut call).await?.job.id;
    let job = read(body, &bytes)?;
    let app = call.app();
    let before = schedules::of_job(app, id).await?;
    let decided = match job.schedule.decide(before.as_ref()) {
        Ok(decided) => decided,
        Err(NotASchedule(why)) => {
            return envelope::refused(StatusCode::UNPROCESSABLE_ENTITY, &why);
        }
    };
    let terms = job.terms.clone();
    let work = |before: &_| job.changed_work(before);
    let changed = containers::change(app, &scope.caller, id, terms, work).await?;
    apply(app, &scope, &changed, decided).await?;
    envelope::found("Job updated", shown(app, &changed).await?)
}

async fn remove(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let id = scope.job(&mut call).await?.job.id;
    containers::remove(call.app(), &scope.caller, id).await?;
    envelope::found("Deleted", id.to_string())
}

/// Sets or removes the schedule of a job.
async fn apply(app: &App, scope: &Scope, of: &JobStatus, decided: Decided) -> Result<()> {
    let (caller, id) = (&scope.caller, of.job.id);
    match decided {
        Decided::Stays => Ok(()),
        Decided::Removed => schedules::remove(app, caller, id).await,
        Decided::Set(rules) => schedules::set(app, caller, id, rules).await.map(drop),
    }
}

async fn shown(app: &App, status: &JobStatus) -> Result<JobOut> {
    let schedule = schedules::of_job(app, status.job.id).await?;
    Ok(JobOut::of(&status.job, schedule.as_ref()))
}

/// How many rows a query asks for.
pub fn limit(query: &BTreeMap<String, String>, usual: u32, most: u32) -> Result<u32> {
    let Some(text) = query.get("limit") else { return Ok(usual) };
    let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| Error::field("limit", format!("must be a whole number from 1 to {most}")))
}

/// Where a page ended: when its last job was made, in microseconds, and the job's id.
fn write_cursor(found: &Found<JobStatus>) -> Option<String> {
    let Rest::After(Some(Place(values))) = &found.rest else { return None };
    match values.as_slice() {
        [Some(Operand::Number(at)), Some(Operand::Uuid(id))] => Some(format!("{at}_{id}")),
        _ => None,
    }
}

fn read_cursor(text: &str) -> Result<Place> {
    let parts = text.split_once('_');
    let place = parts.and_then(|(at, id)| {
        let (at, id) = (at.parse().ok()?, id.parse().ok()?);
        Some(Place(vec![Some(Operand::Number(at)), Some(Operand::Uuid(id))]))
    });
    place.ok_or_else(|| Error::field("cursor", "must be the next_cursor of the page before"))
}
