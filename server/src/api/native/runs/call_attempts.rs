//! The attempts of a run's calls.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use common::ids::{RunId, TaskId};
use common::run::task::StageNo;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::native::page::{self, PAGE};
use crate::error::Result;
use crate::jobs::monitoring::call_attempts::{self, Answer, CallAttempt, LIST_MAX, Place};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListCallAttempts", "/runs/{run}/attempts", list)
            .summary("Lists the attempts of a run's calls, with what each gave")
            .query(PAGE.to_vec()),
    ]
}

#[derive(Serialize, ToSchema)]
struct CallAttemptList {
    /// The first one first.
    attempts: Vec<CallAttemptOut>,
    next_cursor: Option<String>,
}

/// One try of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = CallAttempt)]
struct CallAttemptOut {
    #[schema(value_type = String)]
    task: TaskId,
    /// From 1.
    number: u32,
    /// When its request was made.
    began_at: DateTime<Utc>,
    /// Null while it is under way.
    duration_ms: Option<u32>,
    /// What the receiver answered; null where it did not.
    status: Option<u16>,
    /// Those of the answer.
    #[schema(value_type = Object)]
    headers: BTreeMap<String, String>,
    /// The beginning of the answer's body.
    body: Option<String>,
    /// Whether the body goes on beyond what is kept.
    body_truncated: bool,
    /// Why there is no answer, or only a part of one.
    error: Option<String>,
    /// When the next one is due.
    next_at: Option<DateTime<Utc>>,
}

async fn list(run: Segment, call: Call) -> Result<CallAttemptList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let limit = page::limit(&query)?.min(LIST_MAX);
    let after = page::cursor(&query)?.map(|Cursor(place)| place);
    let _permit = call.answer_permit(&caller).await;
    let run = run.id::<RunId>("run")?;
    let found = call_attempts::list(call.app(), &caller, run, after, limit).await?;
    let next_cursor = page::next(&found, limit, |attempt| {
        let task = attempt.lease.task;
        format!("{}_{}_{}", task.stage, task.index, attempt.lease.attempt)
    });
    Ok(CallAttemptList {
        attempts: found.into_iter().map(CallAttemptOut::from).collect(),
        next_cursor,
    })
}

/// Where a page ended: the stage, the task and the number of its last attempt.
struct Cursor(Place);

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let mut numbers = text.split('_').map(|part| part.parse::<u32>().map_err(|_| ()));
        let mut next = || numbers.next().ok_or(())?;
        let place = (StageNo::new(next()?), next()?, next()?);
        if numbers.next().is_some() { Err(()) } else { Ok(Self(place)) }
    }
}

impl From<CallAttempt> for CallAttemptOut {
    fn from(CallAttempt { lease, began_at, answer, next_at }: CallAttempt) -> Self {
        let is_over = answer.is_some();
        let Answer { status, headers, body, truncated, took_ms, error, .. } =
            answer.unwrap_or_default();
        Self {
            task: lease.task.id(),
            number: lease.attempt,
            began_at,
            duration_ms: is_over.then_some(took_ms),
            status,
            headers: headers.into_iter().collect(),
            body: status.map(|_| String::from_utf8_lossy(&body).into_owned()),
            body_truncated: truncated,
            error,
            next_at,
        }
    }
}
