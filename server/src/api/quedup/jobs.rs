//! Jobs: created, listed, read, changed, paused, resumed, run and deleted.

use std::collections::BTreeMap;

use common::ids::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use super::compile::{self, FIELDS};
use super::ids;
use super::render::{JobOut, JobStatus};
use crate::api::http::call::{Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, patch, post, put};
use crate::api::http::shape::{Field, integer, text, word};
use crate::error::{Error, Result};
use crate::jobs::draft;
use crate::jobs::ordered;
use crate::jobs::schedules;

/// A request's body is in it, with every character escaped at worst.
const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 100;
/// The most jobs that one request looks through for a status, in pages of `LIMIT_MAX`.
const SCANNED_PAGES: usize = 10;
const STATUSES: [&str; 4] = ["active", "paused", "failed", "completed"];

/// What a job with the name of another one gets.
const TAKEN: &[(u16, &str)] = &[(409, "Another job has this name")];

pub fn routes() -> Vec<Route> {
    vec![
        get("QuedUp_ListJobs", "/jobs", list)
            .summary("Lists jobs, the newest first")
            .query(PAGE.to_vec()),
        post("QuedUp_CreateJob", "/jobs", create)
            .creates()
            .summary("Creates a job that runs now, at a time, or by a schedule")
            .body(FIELDS.to_vec())
            .fails(TAKEN),
        get("QuedUp_GetJob", "/jobs/{job}", read).summary("Gets a job"),
        patch("QuedUp_UpdateJob", "/jobs/{job}", update)
            .summary("Changes a job; what is left out stays as it is, null empties a field")
            .body(FIELDS.to_vec())
            .fails(TAKEN),
        put("QuedUp_PutJob", "/jobs/{job}", update)
            .summary("Changes a job; what is left out stays as it is, null empties a field")
            .body(FIELDS.to_vec())
            .fails(TAKEN),
        delete("QuedUp_DeleteJob", "/jobs/{job}", remove)
            .summary("Deletes a job, and cancels what it runs"),
        post("QuedUp_PauseJob", "/jobs/{job}/pause", pause).summary("Pauses a job"),
        post("QuedUp_ResumeJob", "/jobs/{job}/resume", resume)
            .summary("Resumes a job; times that have passed make no run"),
    ]
}

/// Which part of a list is shown.
const PAGE: [Field; 3] = [
    word("status", &STATUSES, "Those in this status"),
    integer("limit", "At most 100; 50 where it is left out"),
    text("cursor", "next_cursor of the page before"),
];

#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpJobList)]
struct JobList {
    /// The newest first.
    jobs: Vec<JobOut>,
    next_cursor: Option<String>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpDeletedJob)]
struct Deleted {
    id: String,
}

/// The id of a path.
pub fn id(segment: &Segment) -> Result<JobId> {
    let text = segment.as_str();
    ids::read_job(text).ok_or_else(|| Error::not_found("job", text))
}

/// How many a page shows.
pub fn limit(query: &BTreeMap<String, String>) -> Result<u32> {
    let Some(text) = query.get("limit") else { return Ok(LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Error::field("limit", format!("must be from 1 to {LIMIT_MAX}")))
}

async fn create(mut call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let (new, start) = compile::read(call.object(&bytes)?)?.into_order()?;
    let key = idempotency::key(&call, &bytes)?;
    JobOut::created(&ordered::order(call.app(), &caller, key.as_ref(), new, start).await?)
}

async fn list(call: Call) -> Result<JobList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let limit = limit(&query)?;
    let status = query.get("status").map(|name| {
        let known = JobStatus::ALL.into_iter().find(|(known, _)| known == name);
        let wrong = || Error::field("status", format!("must be one of {}", STATUSES.join(", ")));
        known.map(|(_, status)| status).ok_or_else(wrong)
    });
    let status = status.transpose()?;
    let after = query.get("cursor").map(|text| {
        ids::read_job(text).ok_or_else(|| Error::field("cursor", "is no next_cursor of a list"))
    });
    let mut after = after.transpose()?;
    let _permit = call.answer_permit(&caller).await;
    let (scope, mut jobs) = (compile::scope(), Vec::new());
    for _ in 0..SCANNED_PAGES {
        let page = ordered::list(call.app(), &caller, &scope, after, LIMIT_MAX).await?;
        let is_last = page.len() < LIMIT_MAX as usize;
        for job in page {
            if jobs.len() == limit as usize {
                return Ok(JobList { jobs, next_cursor: after.map(ids::job) });
            }
            after = Some(job.id());
            let shown = JobOut::of(&job)?;
            if status.is_none_or(|status| shown.status == status) {
                jobs.push(shown);
            }
        }
        if is_last {
            return Ok(JobList { jobs, next_cursor: None });
        }
    }
    Ok(JobList { jobs, next_cursor: after.map(ids::job) })
}

async fn read(job: Segment, call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    JobOut::of(&ordered::read(call.app(), &caller, id(&job)?).await?)
}

async fn update(job: Segment, mut call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let given = compile::read(call.object(&bytes)?)?;
    let (app, id) = (call.app(), id(&job)?);
    let before = ordered::read(app, &caller, id).await?;
    let work = before.call().ok_or_else(|| Error::not_found("job", job.as_str()))?;
    let (draft, timing) = given.into_change(work);
    draft::change(app, &caller, id, draft).await?;
    let removes = before.schedule.as_ref().is_some_and(|schedule| timing.removes(schedule));
    match timing.rules {
        Some(rules) => drop(schedules::set(app, &caller, id, rules).await?),
        None if removes => schedules::remove(app, &caller, id).await?,
        None => {}
    }
    JobOut::of(&ordered::read(app, &caller, id).await?)
}

async fn remove(job: Segment, call: Call) -> Result<Deleted> {
    let caller = call.caller().await?;
    let id = id(&job)?;
    ordered::remove(call.app(), &caller, id).await?;
    Ok(Deleted { id: ids::job(id) })
}

async fn pause(job: Segment, call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let id = id(&job)?;
    schedules::pause(call.app(), &caller, id).await?;
    JobOut::of(&ordered::read(call.app(), &caller, id).await?)
}

async fn resume(job: Segment, call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let id = id(&job)?;
    schedules::resume(call.app(), &caller, id).await?;
    JobOut::of(&ordered::read(call.app(), &caller, id).await?)
}
