//! Logs of jobs and tasks, in parts, the newest first.

use chrono::{DateTime, Utc};
use common::digest::Digest;
use serde::Serialize;
use utoipa::ToSchema;

use super::API;
use super::answers::{self, PAGE, Page, WORDS, missing};
use super::ids;
use super::jobs::{find, redactor};
use super::search::Search;
use super::shown::redact::Redactor;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::jobs::plans::executions::attempt_of;
use crate::jobs::plans::log::{self, Part};
use crate::jobs::plans::{self, executions};

const SIZE: u64 = 25;
const SIZE_MAX: u64 = 100;

pub fn routes() -> Vec<Route> {
    let query = [&PAGE[..], &[WORDS]].concat();
    vec![
        get("Tork_GetJobLog", "/jobs/{job}/log", of_job)
            .summary("Gets what all tasks of a job wrote")
            .query(query.clone())
            .any_query(),
        get("Tork_GetTaskLog", "/tasks/{task}/log", of_task)
            .summary("Gets what a task wrote")
            .query(query)
            .any_query(),
    ]
}

/// Lines that came together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkLogPart)]
struct PartOut {
    id: String,
    /// From 1, in its task.
    number: u32,
    task_id: String,
    contents: String,
    created_at: DateTime<Utc>,
}

impl PartOut {
    fn of(part: &Part, redactor: &Redactor) -> Self {
        let task_id = ids::write(executions::id_of(part.lease));
        // A part has no id of its own: it is named by its task and its number.
        let name = Digest::of(format!("{task_id} {}", part.number).as_bytes()).to_string();
        let hex = name.chars().rev().take(32).collect();
        Self {
            id: hex,
            number: part.number,
            contents: redactor.text(&part.text),
            created_at: part.at,
            task_id,
        }
    }
}

async fn of_job(job: Segment, call: Call) -> Result<Page<PartOut>> {
    let caller = call.caller().await?;
    let found = find(&call, &caller, job.as_str()).await?;
    let _permit = call.answer_permit(&caller).await;
    let parts = log::read(call.app(), &found.run, None).await?;
    page(&call, parts, &redactor(&call, &found).await?)
}

async fn of_task(task: Segment, call: Call) -> Result<Page<PartOut>> {
    let caller = call.caller().await?;
    let missing = || missing("task");
    let id = ids::read(task.as_str()).ok_or_else(missing)?;
    let found = plans::find_by_task(call.app(), &caller, &API, id).await?.ok_or_else(missing)?;
    let lease = attempt_of(id, found.run.id).ok_or_else(missing)?;
    let _permit = call.answer_permit(&caller).await;
    let parts = log::read(call.app(), &found.run, Some(lease)).await?;
    page(&call, parts, &redactor(&call, &found).await?)
}

fn page(call: &Call, parts: Vec<Part>, redactor: &Redactor) -> Result<Page<PartOut>> {
    let part = answers::part(call, SIZE, SIZE_MAX)?;
    let search = Search::read(&answers::query(call, "q").unwrap_or_default());
    let is_found = |part: &Part| search.matches(&[&part.text]);
    let parts: Vec<Part> = parts.into_iter().filter(is_found).collect();
    let shown = parts.iter().map(|part| PartOut::of(part, redactor)).collect();
    Ok(part.cut(shown))
}
