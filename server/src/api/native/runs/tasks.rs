//! The tasks of a run, and their attempts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{NodeId, RunId, TaskId};
use common::money::credits::Credits;
use common::plan::Phase;
use serde::Serialize;
use utoipa::ToSchema;

use super::cause::AttemptCauseOut;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{Field, word};
use crate::api::native::page::{self, PAGE};
use crate::api::native::words::{PhaseOut, TaskStateOut};
use crate::error::{Error, Result};
use crate::jobs::monitoring::tasks::{
    self, Attempt, PHASES, Task, TaskDetail, TaskName, TaskState,
};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListTasks", "/runs/{run}/tasks", list)
            .summary("Lists the tasks of a run's phase, each with its last attempt")
            .query([&PAGE[..], &[PHASE]].concat()),
        get("Fanfold_GetTask", "/runs/{run}/tasks/{task}", read)
            .summary("Gets a task of a run with all its attempts"),
    ]
}

const NAMES: [&str; 3] = ["partition", "process", "assemble"];
const PHASE: Field =
    word("phase", &NAMES, "The phase that they work in; process where it is left out");
/// The same, of lists of all phases.
pub const PHASES_FIELD: Field =
    word("phase", &NAMES, "Of containers in this phase; all where it is left out");

#[derive(Serialize, ToSchema)]
struct RunTasks {
    /// In the order of their indexes.
    tasks: Vec<TaskOut>,
    next_cursor: Option<String>,
}

/// A task of a run.
#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
struct TaskOut {
    #[schema(value_type = String)]
    id: TaskId,
    /// The number of its stage.
    stage: u32,
    phase: PhaseOut,
    /// Its place in its stage, from 0: the number of its chunk.
    index: u32,
    state: TaskStateOut,
    /// When its stage began.
    scheduled_at: Option<DateTime<Utc>>,
    /// Its latest attempt; null before the first.
    last_attempt: Option<AttemptOut>,
}

/// A task with all its attempts.
#[derive(Serialize, ToSchema)]
struct TaskWithAttempts {
    task: TaskOut,
    /// The first one first.
    attempts: Vec<AttemptOut>,
}

/// One try of a task, on one node.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptOut {
    /// From 1.
    number: u32,
    state: TaskStateOut,
    #[schema(value_type = Option<String>)]
    node: Option<NodeId>,
    /// When its node was given it.
    assigned_at: Option<DateTime<Utc>>,
    /// When its node had it.
    received_at: Option<DateTime<Utc>>,
    /// When its container began to run.
    running_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// What its node has signed for.
    usage: Option<AttemptUsage>,
    /// What it cost, in credits.
    #[schema(value_type = String)]
    price: Credits,
    /// Why it failed.
    cause: Option<AttemptCauseOut>,
}

/// What an attempt used.
#[derive(Serialize, ToSchema)]
struct AttemptUsage {
    /// Milliseconds of vCPU time.
    cpu_ms: u64,
    /// Milliseconds by the clock.
    wall_ms: u64,
    /// The most memory at a time.
    memory_peak_bytes: u64,
    /// What it read.
    input_bytes: u64,
    /// What it gave.
    output_bytes: u64,
    /// Over the container's own network, both ways.
    network_bytes: u64,
    /// How it is known: by `counters`, by `samples`, or as a lower bound (`floor`).
    metering: &'static str,
}

async fn list(run: Segment, call: Call) -> Result<RunTasks> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (phase, limit) = (find_phase(&query)?.unwrap_or(Phase::Process), page::limit(&query)?);
    let after = page::cursor(&query)?;
    let run = run.id::<RunId>("run")?;
    let _permit = call.answer_permit(&caller).await;
    let found = tasks::list(call.app(), &caller, run, phase, after, limit).await?;
    let next_cursor = page::next(&found, limit, |task| task.of.index);
    Ok(RunTasks { tasks: found.iter().map(TaskOut::from).collect(), next_cursor })
}

async fn read(run: Segment, task: Segment, call: Call) -> Result<TaskWithAttempts> {
    let caller = call.caller().await?;
    let name = TaskName::Id(task.id("task")?);
    let run = run.id::<RunId>("run")?;
    // The name says which phase it is of.
    let found = tasks::read(call.app(), &caller, run, Phase::Process, name).await?;
    let TaskDetail { task, attempts } = found.ok_or_else(|| Error::not_found("task", &task.0))?;
    let attempts = attempts.iter().map(|(attempt, _)| attempt.into()).collect();
    Ok(TaskWithAttempts { task: TaskOut::from(&task), attempts })
}

/// The phase that a query names.
pub fn find_phase(query: &BTreeMap<String, String>) -> Result<Option<Phase>> {
    let Some(name) = query.get("phase") else { return Ok(None) };
    PHASES
        .into_iter()
        .find(|phase| phase.as_str() == name)
        .map(Some)
        .ok_or_else(|| Error::field("phase", "must be partition, process or assemble"))
}

impl From<&Task> for TaskOut {
    fn from(task: &Task) -> Self {
        let last = task.last.as_ref();
        Self {
            id: task.of.id(),
            stage: task.of.stage.number(),
            phase: task.phase.into(),
            index: task.of.index,
            state: last.map_or(TaskState::Waiting, TaskState::of).into(),
            scheduled_at: task.scheduled_at,
            last_attempt: last.map(AttemptOut::from),
        }
    }
}

impl From<&Attempt> for AttemptOut {
    fn from(attempt: &Attempt) -> Self {
        let usage = attempt.head.map(|head| head.usage);
        Self {
            number: attempt.lease.attempt,
            state: TaskState::of(attempt).into(),
            node: attempt.node,
            assigned_at: attempt.leased_at,
            received_at: attempt.received_at,
            running_at: attempt.running_at,
            ended_at: attempt.ended_at,
            usage: usage.map(|usage| AttemptUsage {
                cpu_ms: usage.cpu_ms,
                wall_ms: usage.wall_ms,
                memory_peak_bytes: usage.memory_peak_bytes,
                input_bytes: usage.input_bytes,
                output_bytes: usage.output_bytes,
                network_bytes: usage.network_bytes,
                metering: usage.metering.as_str(),
            }),
            price: attempt.price,
            cause: AttemptCauseOut::of(attempt),
        }
    }
}
