//! What the containers of a run wrote, and their nodes around them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use common::ids::{RunId, TaskId};
use common::protocol::Level;
use serde::Serialize;
use utoipa::ToSchema;

use super::tasks::{PHASES_FIELD, find_phase};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{text, word};
use crate::api::native::page::CURSOR;
use crate::api::native::words::{LevelOut, PhaseOut, StreamOut};
use crate::error::{Error, Result};
use crate::jobs::monitoring::logs::{self, BatchPlace, LogEntry, LogPage, LogQuery};
use crate::jobs::monitoring::tasks::TaskName;

pub(super) const LEVELS: [&str; 4] = ["container", "debug", "info", "error"];

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_GetLogs", "/runs/{run}/logs", read)
            .summary("Gets a run's log lines, in pages of about 1 MiB")
            .query(vec![
                CURSOR,
                PHASES_FIELD,
                text("task", "Of this task, by its id or its index; all where it is left out"),
                word("level", &LEVELS, "Of this level; all where it is left out"),
            ]),
    ]
}

#[derive(Serialize, ToSchema)]
struct LogLines {
    /// In the order in which they came.
    lines: Vec<LogLineOut>,
    next_cursor: Option<String>,
}

/// A line of a task's log.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
struct LogLineOut {
    #[schema(value_type = String)]
    task: TaskId,
    /// The task's place in its stage, from 0: the number of its chunk.
    index: u32,
    phase: PhaseOut,
    /// When it was written.
    at: DateTime<Utc>,
    level: LevelOut,
    /// Where the container wrote it.
    stream: StreamOut,
    /// The line without its end.
    text: String,
}

async fn read(run: Segment, call: Call) -> Result<LogLines> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let asked = LogQuery {
        phases: find_phase(&query)?.into_iter().collect(),
        tasks: read_task(&query)?.into_iter().collect(),
        levels: read_level(&query)?.map(|level| vec![level]),
        after: read_cursor(&query)?,
    };
    let run = run.id::<RunId>("run")?;
    let _permit = call.answer_permit(&caller).await;
    let page = logs::read(call.app(), &caller, run, asked).await?;
    let LogPage { lines, next } = page.ok_or_else(unknown_task)?;
    let next_cursor = next.map(write_cursor).transpose()?;
    Ok(LogLines { lines: lines.into_iter().map(LogLineOut::from).collect(), next_cursor })
}

fn read_task(query: &BTreeMap<String, String>) -> Result<Option<TaskName>> {
    let Some(text) = query.get("task") else { return Ok(None) };
    TaskName::read(text).map(Some).ok_or_else(unknown_task)
}

fn unknown_task() -> Error {
    Error::field("task", "must be the id of a task of the run, or its index")
}

pub(super) fn read_level(query: &BTreeMap<String, String>) -> Result<Option<Level>> {
    match query.get("level").map(String::as_str) {
        None => Ok(None),
        Some("container") => Ok(Some(Level::Unknown)),
        Some("debug") => Ok(Some(Level::Debug)),
        Some("info") => Ok(Some(Level::Info)),
        Some("error") => Ok(Some(Level::Error)),
        Some(_) => Err(Error::field("level", format!("must be one of {}", LEVELS.join(", ")))),
    }
}

fn write_cursor(place: BatchPlace) -> Result<String> {
    let text = serde_json::to_vec(&place).map_err(|error| Error::Internal(Box::new(error)))?;
    Ok(BASE64.encode(text))
}

fn read_cursor(query: &BTreeMap<String, String>) -> Result<Option<BatchPlace>> {
    let Some(text) = query.get("cursor") else { return Ok(None) };
    let place = BASE64.decode(text).ok().and_then(|text| serde_json::from_slice(&text).ok());
    place
        .map(Some)
        .ok_or_else(|| Error::field("cursor", "must be the next_cursor of the page before"))
}

impl From<LogEntry> for LogLineOut {
    fn from(LogEntry { task, phase, at, level, stream, text }: LogEntry) -> Self {
        let (phase, level, stream) = (phase.into(), level.into(), stream.into());
        Self { task: task.id(), index: task.index, phase, at, level, stream, text }
    }
}
