//! Schedules: when jobs make runs by themselves, and which of these times made none.

mod schedule_in;
mod schedule_out;

use std::str::FromStr;

use chrono::{DateTime, Utc};
use common::ids::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{self, PAGE};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, post, put};
use crate::api::http::shape::integer;
use crate::error::Result;
use crate::jobs::schedules::{self, PREVIEW_MAX, Skip};
use schedule_in::{RULES, WHEN, read_rules, read_when};
use schedule_out::{ScheduleOut, SkipOut};

/// The nominal times of a preview that asks for no number.
const PREVIEW_DEFAULT: u32 = 10;

pub fn routes() -> Vec<Route> {
    let n = integer("count", "At most this many, 1 to 100; 10 where it is left out").example("10");
    vec![
        put("Fanfold_SetSchedule", "/jobs/{job}/schedule", set)
            .summary("Sets when a job makes runs by itself, in place of what was set before")
            .body([&WHEN[..], &RULES[..]].concat()),
        get("Fanfold_GetSchedule", "/jobs/{job}/schedule", read)
            .summary("Gets the schedule of a job"),
        delete("Fanfold_RemoveSchedule", "/jobs/{job}/schedule", remove)
            .summary("Removes the schedule of a job; runs that it has made go on"),
        post("Fanfold_PauseSchedule", "/jobs/{job}/schedule/pause", pause)
            .summary("Keeps a job from making runs by itself until its schedule is resumed"),
        post("Fanfold_ResumeSchedule", "/jobs/{job}/schedule/resume", resume)
            .summary("Resumes a schedule; times that have passed meanwhile make no run"),
        get("Fanfold_ListSkips", "/jobs/{job}/schedule/skips", list_skips)
            .summary("Lists nominal times of a job that made no run, the newest first")
            .query(PAGE.to_vec()),
        get("Fanfold_ListSchedules", "/schedules", list)
            .summary("Lists schedules, in the order in which their jobs were created")
            .query(PAGE.to_vec()),
        post("Fanfold_PreviewSchedule", "/schedules/preview", preview)
            .summary("Lists the next nominal times of a schedule, and stores nothing")
            .body([&WHEN[..], &[n]].concat()),
    ]
}

#[derive(Serialize, ToSchema)]
struct ScheduleList {
    /// In the order in which their jobs were created.
    schedules: Vec<ScheduleOut>,
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SkipList {
    /// The newest first.
    skips: Vec<SkipOut>,
    next_cursor: Option<String>,
}

/// The next nominal times.
#[derive(Serialize, ToSchema)]
struct SchedulePreview {
    /// The next first.
    times: Vec<DateTime<Utc>>,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
struct RemovedSchedule {
    #[schema(value_type = String)]
    job: JobId,
}

async fn set(job: Segment, mut call: Call) -> Result<ScheduleOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let rules = read_rules(&mut body)?;
    body.finish()?;
    Ok(schedules::set(call.app(), &caller, job.id("job")?, rules).await?.into())
}

async fn read(job: Segment, call: Call) -> Result<ScheduleOut> {
    let caller = call.caller().await?;
    Ok(schedules::read(call.app(), &caller, job.id("job")?).await?.into())
}

async fn remove(job: Segment, call: Call) -> Result<RemovedSchedule> {
    let caller = call.caller().await?;
    let job = job.id("job")?;
    schedules::remove(call.app(), &caller, job).await?;
    Ok(RemovedSchedule { job })
}

async fn pause(job: Segment, call: Call) -> Result<ScheduleOut> {
    let caller = call.caller().await?;
    Ok(schedules::pause(call.app(), &caller, job.id("job")?).await?.into())
}

async fn resume(job: Segment, call: Call) -> Result<ScheduleOut> {
    let caller = call.caller().await?;
    Ok(schedules::resume(call.app(), &caller, job.id("job")?).await?.into())
}

async fn list(call: Call) -> Result<ScheduleList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (page::limit(&query)?, page::cursor::<JobId>(&query)?);
    let found = schedules::list(call.app(), &caller, after, limit).await?;
    let next_cursor = page::next(&found, limit, |found| found.schedule.job);
    Ok(ScheduleList { schedules: found.into_iter().map(ScheduleOut::from).collect(), next_cursor })
}

async fn list_skips(job: Segment, call: Call) -> Result<SkipList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let limit = page::limit(&query)?;
    let before = page::cursor(&query)?.map(|SkipCursor(first)| first);
    let found = schedules::skipped(call.app(), &caller, job.id("job")?, before, limit).await?;
    let next_cursor = page::next(&found, limit, |skip: &Skip| skip.first.timestamp_micros());
    Ok(SkipList { skips: found.into_iter().map(SkipOut::from).collect(), next_cursor })
}

async fn preview(mut call: Call) -> Result<SchedulePreview> {
    call.caller().await?;
    let mut body = call.json().await?;
    let when = read_when(&mut body)?;
    let count = body.number("count", 1..=PREVIEW_MAX.into())?;
    body.finish()?;
    let count = count.and_then(|count| u32::try_from(count).ok()).unwrap_or(PREVIEW_DEFAULT);
    Ok(SchedulePreview { times: schedules::preview(&when, count)? })
}

/// Where a page of skips ended: the first nominal time of the last one, in microseconds.
struct SkipCursor(DateTime<Utc>);

impl FromStr for SkipCursor {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let micros = text.parse().map_err(|_| ())?;
        DateTime::from_timestamp_micros(micros).map(Self).ok_or(())
    }
}
