//! Scheduled jobs: created, listed, read, paused, resumed and deleted.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::schedule::cron::Cron;
use common::schedule::{ALLOW_MAX, Missed, Overlap, Rules, Schedule, When};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::API;
use super::answers::{self, Done, JSON, PAGE, Page, missing, not_now};
use super::document::text;
use super::jobs::{document, new_plan};
use super::read::Kind;
use super::shown::blocks;
use super::shown::job_out::{cron, inputs};
use super::{ids, validate};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::reply;
use crate::api::http::route::{Body, Route, delete, get, put, raw};
use crate::error::{Error, Result};
use crate::jobs::ordered::Start;
use crate::jobs::plans::{self, list};
use crate::jobs::{Job, schedules};
use crate::people::caller::Caller;
use warp::http::Method;

const SIZE: u64 = 10;
const SIZE_MAX: u64 = 20;

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::POST, "Tork_CreateScheduledJob", "/scheduled-jobs", JSON, create)
            .gives::<Summary>()
            .summary("Submits a job that runs by a cron pattern, in UTC")
            .takes(Body::Bytes("A scheduled job's document, in YAML or JSON")),
        get("Tork_ListScheduledJobs", "/scheduled-jobs", list_jobs)
            .summary("Lists scheduled jobs, the newest first")
            .query(PAGE.to_vec())
            .any_query(),
        get("Tork_GetScheduledJob", "/scheduled-jobs/{job}", read_job)
            .summary("Gets a scheduled job"),
        put("Tork_PauseScheduledJob", "/scheduled-jobs/{job}/pause", pause)
            .summary("Keeps a scheduled job from running"),
        put("Tork_ResumeScheduledJob", "/scheduled-jobs/{job}/resume", resume)
            .summary("Lets a scheduled job run again"),
        delete("Tork_DeleteScheduledJob", "/scheduled-jobs/{job}", remove)
            .summary("Deletes a scheduled job with every job that it has made"),
    ]
}

/// Whether a scheduled job runs.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = TorkScheduledJobState)]
enum State {
    Active,
    Paused,
}

/// A scheduled job in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkScheduledJobSummary)]
struct Summary {
    id: String,
    /// What expressions read, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, String>,
    state: State,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    created_at: DateTime<Utc>,
    /// The cron pattern.
    cron: String,
}

/// A scheduled job with its tasks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkScheduledJob)]
struct Full {
    #[serde(flatten)]
    summary: Summary,
    #[schema(value_type = Vec<Object>)]
    tasks: Vec<Value>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    definition: Map<String, Value>,
}

fn document_of(job: &Job) -> Value {
    job.work.plan().map(|work| work.document.clone()).unwrap_or_default()
}

impl Summary {
    fn of(job: &Job, schedule: &Schedule) -> Self {
        let is_active = plans::is_active(schedule);
        Self {
            id: ids::write(job.id.uuid()),
            inputs: inputs(&document_of(job)),
            state: if is_active { State::Active } else { State::Paused },
            name: job.name.clone(),
            description: job.description.clone(),
            tags: job.tags.clone(),
            created_at: job.created_at,
            cron: cron(schedule),
        }
    }
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let job = document(&mut call, Kind::ScheduledJob).await?;
    let pattern = job.schedule.as_ref().map_or("", |schedule| text(schedule.cron.as_ref()));
    let pattern = Cron::parse(pattern, validate::ZONE);
    let pattern = pattern.map_err(|error| Error::Invalid(error.to_string()))?;
    let rules = Rules {
        overlap: Overlap::Allow(ALLOW_MAX),
        missed: Missed::Skip,
        ..Rules::new(When::Cron(Box::new(pattern)))
    };
    let new = new_plan(call.app(), &caller, &job).await?;
    let id = new.id;
    plans::order(call.app(), &caller, new, Start::Schedule(rules)).await?;
    let (job, schedule) = find(&call, &caller, &ids::write(id.uuid())).await?;
    reply::json(&Summary::of(&job, &schedule))
}

async fn list_jobs(call: Call) -> Result<Page<Summary>> {
    let caller = call.caller().await?;
    let part = answers::part(&call, SIZE, SIZE_MAX)?;
    let _permit = call.answer_permit(&caller).await;
    let cut = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let found =
        list::scheduled(call.app(), &caller, &API, (cut(part.skipped()), cut(part.size))).await?;
    let items = found.items.iter().map(|(job, schedule)| Summary::of(job, schedule)).collect();
    Ok(part.page(items, found.total))
}

async fn find(call: &Call, caller: &Caller, id: &str) -> Result<(Job, Schedule)> {
    let missing = || missing("scheduled job");
    let id = ids::read(id).ok_or_else(missing)?;
    plans::find_scheduled(call.app(), caller, &API, id).await?.ok_or_else(missing)
}

async fn read_job(job: Segment, call: Call) -> Result<Full> {
    let caller = call.caller().await?;
    let (job, schedule) = find(&call, &caller, job.as_str()).await?;
    let document = document_of(&job);
    let fields = ["output", "defaults", "autoDelete", "secrets"];
    let definition =
        fields.iter().filter_map(|name| Some(((*name).to_owned(), document.get(name)?.clone())));
    Ok(Full {
        summary: Summary::of(&job, &schedule),
        tasks: blocks::outermost(&document).to_vec(),
        definition: definition.collect(),
    })
}

async fn pause(job: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let (job, schedule) = find(&call, &caller, job.as_str()).await?;
    if !plans::is_active(&schedule) {
        return Err(not_now("scheduled job is not active"));
    }
    schedules::pause(call.app(), &caller, job.id).await?;
    Ok(Done::OK)
}

async fn resume(job: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let (job, schedule) = find(&call, &caller, job.as_str()).await?;
    if plans::is_active(&schedule) {
        return Err(not_now("scheduled job is not paused"));
    }
    schedules::resume(call.app(), &caller, job.id).await?;
    Ok(Done::OK)
}

async fn remove(job: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let (job, _) = find(&call, &caller, job.as_str()).await?;
    plans::remove(call.app(), &caller, job.id).await?;
    Ok(Done::OK)
}
