//! The stages of a run: the blocks of its plan that have been opened.

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::market::{Cursor, StageEnd, StageOutcome};
use common::run::task::StageNo;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::native::page::{self, PAGE};
use crate::api::native::words::{PhaseOut, StageKindOut, StageStateOut};
use crate::error::Result;
use crate::jobs::runs::stages::{self, Stage};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListStages", "/runs/{run}/stages", list)
            .summary("Lists the stages of a run, in the order of their numbers")
            .query(&PAGE[..]),
    ]
}

#[derive(Serialize, ToSchema)]
struct StageList {
    /// In the order of their numbers.
    stages: Vec<StageOut>,
    next_cursor: Option<String>,
}

/// An opened block of a run's plan.
#[derive(Serialize, ToSchema)]
#[schema(as = Stage)]
struct StageOut {
    /// Unique in its run.
    number: u32,
    /// The number of the stage that it is in.
    parent: Option<u32>,
    /// Which element of a list it is for, from 0.
    element: Option<u32>,
    /// What its block in the plan is called.
    name: String,
    /// What it does.
    kind: StageKindOut,
    /// The phase that begins with it.
    phase: Option<PhaseOut>,
    state: StageStateOut,
    /// How far its tasks are, where it has some.
    tasks: Option<StageTasks>,
    /// The run that it waits for.
    #[schema(value_type = Option<String>)]
    child: Option<RunId>,
    /// When it began.
    opened_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

/// How far the tasks of a stage are.
#[derive(Serialize, ToSchema)]
struct StageTasks {
    /// All of them.
    total: u32,
    /// Those that have been handed out.
    begun: u32,
    /// Those that are done.
    done: u32,
}

async fn list(run: Segment, call: Call) -> Result<StageList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (page::limit(&query)?, page::cursor(&query)?.map(StageNo::new));
    let _permit = call.answer_permit(&caller).await;
    let found = stages::list(call.app(), &caller, run.id::<RunId>("run")?, after, limit).await?;
    let next_cursor = page::next(&found, limit, |stage| stage.record.no);
    Ok(StageList { stages: found.into_iter().map(StageOut::from).collect(), next_cursor })
}

impl From<Stage> for StageOut {
    fn from(Stage { record, name, kind, phase }: Stage) -> Self {
        let (tasks, child) = match record.cursor {
            Cursor::Tasks { len, next, done } => {
                (Some(StageTasks { total: len, begun: next, done }), None)
            }
            Cursor::Child(run) => (None, Some(run)),
            Cursor::Group(_)
            | Cursor::Each(_)
            | Cursor::Step
            | Cursor::Call
            | Cursor::Resolving
            | Cursor::Output => (None, None),
        };
        Self {
            number: record.no.number(),
            parent: record.parent.map(StageNo::number),
            element: record.item,
            name,
            kind: kind.into(),
            phase: phase.map(PhaseOut::from),
            state: match record.ended {
                None => StageStateOut::Open,
                Some(StageEnd { how: StageOutcome::Done, .. }) => StageStateOut::Done,
                Some(StageEnd { how: StageOutcome::Skipped, .. }) => StageStateOut::Skipped,
                Some(StageEnd { how: StageOutcome::CutOff, .. }) => StageStateOut::CutOff,
            },
            tasks,
            child,
            opened_at: record.opened_at,
            ended_at: record.ended.map(|end| end.at),
        }
    }
}
