//! A job's tasks as its customer sees them: how far each is, on which machine, and what it used.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use common::compute::device::Device;
use common::ids::{NodeId, RunId, TaskId};
use common::market::TaskState;
use common::money::credits::Credits;
use common::plan::{Phase, Plan};
use common::run::task::{Lease, StageNo, TaskRef};
use serde::Serialize;
use utoipa::ToSchema;

use super::hold::PricesOut;
use super::job_out::{self, Seconds};
use super::jobs;
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{Field, integer, word};
use crate::app::App;
use crate::coordinator::{Tasks, UnderLease};
use crate::error::{Error, Result};
use crate::store::market::runs;
use crate::store::market::runs::RunView;
use crate::store::market::tasks::TaskView;
use crate::store::market::{attempts, tasks};
use crate::store::nodes::devices;

const LIST_MAX: u32 = 1_000;
const STAGE: Field = word("stage", &["partition", "process", "assemble"], "process by default");
/// The phases in which containers work.
const PHASES: [Phase; 3] = [Phase::Partition, Phase::Process, Phase::Assemble];

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_ListTasks", "/jobs/{jobId}/tasks", list_tasks)
            .summary("Lists a job's tasks, one for each chunk")
            .query(vec![
                STAGE,
                integer("after", "The index of the last one known"),
                integer("limit", ""),
            ]),
        get("Customer_GetTask", "/jobs/{jobId}/tasks/{task}", get_task)
            .summary("Reads a task with all its attempts")
            .query(vec![STAGE]),
    ]
}

#[derive(Serialize, ToSchema)]
struct TasksOut {
    tasks: Vec<TaskOut>,
    /// What `usage` is paid by.
    prices: PricesOut,
}

/// A task with its last attempt.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TaskOut {
    #[schema(value_type = String)]
    id: TaskId,
    #[schema(value_type = words::TaskStage)]
    stage: &'static str,
    /// The chunk's number, from 0.
    index: u32,
    #[schema(value_type = words::TaskState)]
    state: &'static str,
    /// When its stage began.
    scheduled_at: Option<DateTime<Utc>>,
    /// The number of its last attempt; 0 before the first.
    attempt: u32,
    #[serde(flatten)]
    last: TryOut,
}

/// What is known of one attempt.
#[derive(Serialize, ToSchema, Default)]
#[serde(rename_all = "camelCase")]
struct TryOut {
    #[schema(value_type = Option<String>)]
    node: Option<NodeId>,
    assigned_at: Option<DateTime<Utc>>,
    received_at: Option<DateTime<Utc>>,
    running_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    /// Where the container ended by itself.
    exit_code: Option<i64>,
    /// What its node has signed for.
    usage: Option<TaskUsageOut>,
    #[schema(value_type = String)]
    price: Credits,
    error: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TaskUsageOut {
    #[schema(value_type = f64)]
    cpu_seconds: Seconds,
    #[schema(value_type = f64)]
    wall_seconds: Seconds,
    memory_peak_bytes: u64,
    input_bytes: u64,
    output_bytes: u64,
    /// Over the container's own network, both ways.
    network_bytes: u64,
    /// How CPU time and memory are known: by the kernel's `counters`, by `samples`, or not, and
    /// then they are a lower bound (`floor`).
    metering: &'static str,
}

#[derive(Serialize, ToSchema)]
struct TaskAnswer {
    #[serde(flatten)]
    task: TaskOut,
    /// All of them, first first.
    attempts: Vec<AttemptOut>,
    /// What `usage` is paid by.
    prices: PricesOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AttemptOut {
    attempt: u32,
    #[schema(value_type = words::TaskState)]
    state: &'static str,
    #[serde(flatten)]
    told: TryOut,
    device: Option<DeviceOut>,
}

/// The machine, in its owner's words.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeviceOut {
    region: String,
    os: String,
    cpu: String,
    cores: u32,
    memory_mib: u32,
    gpus: Vec<String>,
    engine: String,
}

/// The tasks of a stage by index: those that were handed out, and then the chunks that wait.
async fn list_tasks(id: Segment, call: Call) -> Result<TasksOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let phase = read_phase(&query)?;
    let number = |name: &str| match query.get(name) {
        None => Ok(None),
        Some(text) => {
            text.parse::<u32>().map(Some).map_err(|_| Error::field(name, "must be a whole number"))
        }
    };
    let limit = number("limit")?.map_or(LIST_MAX, |limit| limit.clamp(1, LIST_MAX));
    let after = number("after")?;
    let _place = call.answer_place(&caller).await;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    let Some(run) = job_out::run_of(app, &job).await? else {
        return Ok(TasksOut { tasks: Vec::new(), prices: PricesOut::default() });
    };
    let Some(stage) = stage_of(app, &run, phase).await? else {
        return Ok(TasksOut { tasks: Vec::new(), prices: PricesOut::default() });
    };
    let of = Of { run: &run, phase, stage };
    let mut found = tasks::find(&app.db, run.id, stage, after, limit.into()).await?;
    add_live(app, &run, &mut found).await?;
    let mut next = found.last().map(|task| task.lease.task.index).or(after).map_or(0, after_it);
    let mut shown: Vec<_> = found.iter().map(|task| of.task(task)).collect();
    let total = if phase == Phase::Process && !run.has_ended() { chunks(&run) } else { 0 };
    while shown.len() < limit as usize && next < total {
        shown.push(of.waiting(next));
        next += 1;
    }
    Ok(TasksOut { tasks: shown, prices: PricesOut::default() })
}

/// One task with all its attempts, and the machines that they were on. It is named by its index
/// in its stage, or by its own id.
async fn get_task(id: Segment, name: Segment, call: Call) -> Result<TaskAnswer> {
    let caller = call.caller().await?;
    let phase = read_phase(&call.query()?)?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    let unknown = || Error::not_found("task", &name.0);
    let run = job_out::run_of(app, &job).await?.ok_or_else(unknown)?;
    let plan = runs::plan(&app.db, run.id).await?.ok_or_else(unknown)?;
    let stage = plan.container_of(phase).map(|(stage, _)| stage);
    let named = named(&name.0, run.id, stage).ok_or_else(unknown)?;
    let TaskRef { stage, index, .. } = named;
    let phase = phase_of(&plan, stage).ok_or_else(unknown)?;
    let of = Of { run: &run, phase, stage };
    let Some(task) = tasks::find_one(&app.db, named).await? else {
        if phase != Phase::Process || index >= chunks(&run) {
            return Err(unknown());
        }
        let (task, prices) = (of.waiting(index), PricesOut::default());
        return Ok(TaskAnswer { task, attempts: vec![], prices });
    };
    let mut all = attempts::find(&app.db, named).await?;
    // A task that waits to be tried again has nothing in its own row that is not there.
    let is_told = all.last().is_some_and(|last| last.lease == task.lease);
    if !is_told {
        all.push(task.clone());
    }
    let mut task = [task];
    add_live(app, &run, &mut task).await?;
    add_live(app, &run, &mut all).await?;
    let nodes: BTreeSet<NodeId> = all.iter().filter_map(|attempt| attempt.node).collect();
    let machines = devices::find(&app.db, &nodes).await?;
    Ok(TaskAnswer {
        task: of.task(&task[0]),
        attempts: all.iter().map(|attempt| AttemptOut::new(attempt, &machines)).collect(),
        prices: PricesOut::default(),
    })
}

fn read_phase(query: &BTreeMap<String, String>) -> Result<Phase> {
    let name = query.get("stage").map_or("process", String::as_str);
    PHASES
        .into_iter()
        .find(|known| known.as_str() == name)
        .ok_or_else(|| Error::field("stage", "must be partition, process or assemble"))
}

/// The stage in which containers of a run work on a phase; `None` where the server does it.
pub async fn stage_of(app: &App, run: &RunView, phase: Phase) -> Result<Option<StageNo>> {
    let plan = runs::plan(&app.db, run.id).await?;
    Ok(plan.and_then(|plan| plan.container_of(phase).map(|(stage, _)| stage)))
}

/// The phase in which a stage's containers work.
pub fn phase_of(plan: &Plan, stage: StageNo) -> Option<Phase> {
    PHASES.into_iter().find(|phase| plan.container_of(*phase).is_some_and(|(of, _)| of == stage))
}

fn named(name: &str, run: RunId, stage: Option<StageNo>) -> Option<TaskRef> {
    match name.parse::<u32>() {
        Ok(index) => Some(TaskRef { run, stage: stage?, index }),
        Err(_) => TaskRef::find(run, name.parse().ok()?),
    }
}

fn chunks(run: &RunView) -> u32 {
    run.chunks.unwrap_or(0)
}

const fn after_it(index: u32) -> u32 {
    index.saturating_add(1)
}

/// Adds what only the coordinator knows: how far the attempts are that have not ended.
async fn add_live(app: &App, run: &RunView, found: &mut [TaskView]) -> Result<()> {
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return Ok(()) };
    if run.has_ended() {
        return Ok(());
    }
    let indexes = first.lease.task.index..=last.lease.task.index;
    let tasks = Tasks { run: run.id, stage: first.lease.task.stage, indexes };
    let held = app.coordinator.under_lease(tasks).await?;
    let held: BTreeMap<Lease, UnderLease> =
        held.into_iter().map(|held| (held.lease, held)).collect();
    for task in found.iter_mut().filter(|task| task.state == TaskState::Leased) {
        if let Some(held) = held.get(&task.lease) {
            (task.received_at, task.running_at) = (held.received_at, held.running_at);
        }
    }
    Ok(())
}

/// The stage that tasks are shown of.
struct Of<'a> {
    run: &'a RunView,
    phase: Phase,
    stage: StageNo,
}

impl Of<'_> {
    fn task(&self, task: &TaskView) -> TaskOut {
        let waiting = self.waiting(task.lease.task.index);
        let last = TryOut::new(task);
        TaskOut { state: state(task), attempt: task.lease.attempt, last, ..waiting }
    }

    /// A task that was never handed out.
    fn waiting(&self, index: u32) -> TaskOut {
        TaskOut {
            id: TaskRef { run: self.run.id, stage: self.stage, index }.id(),
            stage: self.phase.as_str(),
            index,
            state: "Scheduled",
            scheduled_at: self.run.times.of_phase(self.phase),
            attempt: 0,
            last: TryOut::default(),
        }
    }
}

fn state(task: &TaskView) -> &'static str {
    match (task.state, task.received_at, task.running_at) {
        (TaskState::Waiting, _, _) => "Scheduled",
        (TaskState::Leased, _, Some(_)) => "Running",
        (TaskState::Leased, Some(_), None) => "Received",
        (TaskState::Leased, None, None) => "Assigned",
        (TaskState::Done, _, _) => "Completed",
        (TaskState::Failed, _, _) => "Failed",
    }
}

impl TryOut {
    fn new(task: &TaskView) -> Self {
        let usage = task.head.map(|head| head.usage);
        Self {
            node: task.node,
            assigned_at: task.leased_at,
            received_at: task.received_at,
            running_at: task.running_at,
            completed_at: task.ended_at,
            exit_code: task.head.and_then(|head| head.exit_code),
            usage: usage.map(|usage| TaskUsageOut {
                cpu_seconds: Seconds { millis: usage.cpu_ms },
                wall_seconds: Seconds { millis: usage.wall_ms },
                memory_peak_bytes: usage.memory_peak_bytes,
                input_bytes: usage.input_bytes,
                output_bytes: usage.output_bytes,
                network_bytes: usage.network_bytes,
                metering: usage.metering.as_str(),
            }),
            price: task.price,
            error: task.error.clone(),
        }
    }
}

impl AttemptOut {
    fn new(task: &TaskView, machines: &BTreeMap<NodeId, Device>) -> Self {
        let device = task.node.and_then(|node| machines.get(&node));
        Self {
            attempt: task.lease.attempt,
            state: state(task),
            told: TryOut::new(task),
            device: device.cloned().map(DeviceOut::from),
        }
    }
}

impl From<Device> for DeviceOut {
    fn from(device: Device) -> Self {
        Self {
            region: device.region,
            os: device.os,
            cpu: device.cpu,
            cores: device.cores,
            memory_mib: device.memory_mib,
            gpus: device.gpus,
            engine: device.engine,
        }
    }
}

#[cfg(test)]
mod tests;
