//! A run as it is shown.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{JobId, RunId};
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use super::cause::RunCauseOut;
use crate::api::native::words::{OriginOut, PhaseOut, StateOut};
use crate::jobs::RunView;
use crate::jobs::monitoring::status::JobStatus;

/// One execution of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunOut {
    #[schema(value_type = String)]
    id: RunId,
    #[schema(value_type = String)]
    job: JobId,
    /// Why it was started.
    origin: OriginOut,
    /// The run whose end it tells, where it is a callback.
    #[schema(value_type = Option<String>)]
    callback_of: Option<RunId>,
    /// The time that the job's schedule names for it.
    scheduled_for: Option<DateTime<Utc>>,
    state: StateOut,
    /// The part that is under way.
    phase: Option<PhaseOut>,
    /// Why it failed or was cancelled.
    cause: Option<RunCauseOut>,
    /// The text that a job of several steps gives at its end.
    output: Option<String>,
    /// Why it waits, where it does.
    waits: Option<String>,
    /// What its customer should know of it, though it went on.
    warning: Option<String>,
    /// When it was accepted.
    started_at: Option<DateTime<Utc>>,
    /// When it ended, or was cancelled.
    ended_at: Option<DateTime<Utc>>,
    /// When it entered its states.
    #[schema(value_type = Object)]
    states: BTreeMap<StateOut, DateTime<Utc>>,
    /// When its phases began.
    #[schema(value_type = Object)]
    phases: BTreeMap<PhaseOut, DateTime<Utc>>,
    /// How far it is.
    counts: RunCounts,
    /// What its attempts have cost, in credits.
    #[schema(value_type = String)]
    price: Credits,
    /// What is reserved for it now, in credits.
    #[schema(value_type = String)]
    held: Credits,
    /// What it is expected to cost in all, in credits; null until its chunks are known.
    #[schema(value_type = Option<String>)]
    estimate: Option<Credits>,
}

/// How far a run is.
#[derive(Serialize, ToSchema)]
struct RunCounts {
    /// Null until they are known.
    chunks: Option<u32>,
    /// Chunks of the whole source: a test job works on the first of them only.
    chunks_found: Option<u32>,
    /// Chunks that are done.
    chunks_done: u32,
    /// Tasks that nodes have.
    tasks_running: u32,
    /// Tasks that were accepted and gave no results.
    tasks_without_results: u32,
}

impl RunOut {
    /// The run of a job, if it has been started.
    pub fn of(status: &JobStatus) -> Option<Self> {
        let run = status.run.as_ref()?;
        let cause = run.cause.as_ref().map(RunCauseOut::from);
        let waits = Some(status.message()).filter(|text| cause.is_none() && !text.is_empty());
        Some(Self {
            id: run.id,
            job: run.job,
            origin: run.origin.into(),
            callback_of: run.origin.callback_of(),
            scheduled_for: run.origin.nominal(),
            state: run.state.into(),
            phase: run.phase.map(PhaseOut::from),
            output: run.output.clone(),
            waits: waits.map(ToOwned::to_owned),
            cause,
            warning: Some(status.warning()).filter(|text| !text.is_empty()),
            started_at: run.started_at(),
            ended_at: run.ended_at(),
            states: run.times.states.iter().map(|(state, at)| ((*state).into(), *at)).collect(),
            phases: run.times.phases.iter().map(|(phase, at)| ((*phase).into(), *at)).collect(),
            counts: RunCounts::of(run, status.hold.map_or(0, |hold| hold.tasks)),
            price: run.price,
            held: run.held,
            estimate: status.estimate,
        })
    }
}

impl RunCounts {
    fn of(run: &RunView, tasks_running: u32) -> Self {
        Self {
            chunks: run.chunks,
            chunks_found: run.found,
            chunks_done: run.chunks_done,
            tasks_running,
            tasks_without_results: run.empty,
        }
    }
}
