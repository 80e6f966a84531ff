//! A job's tasks as its customer sees them: how far each is, on which machine, and what it used.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::compute::device::Device;
use common::ids::{JobId, NodeId, TaskId};
use common::money::credits::Credits;
use common::plan::Phase;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::customer::hold::PricesOut;
use crate::api::bytenite::customer::job_out::Seconds;
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{Field, integer, word};
use crate::error::{Error, Result};
use crate::jobs::monitoring::tasks;
use crate::jobs::monitoring::tasks::{
    Attempt, LIST_MAX, PHASES, Task, TaskDetail, TaskName, TaskState,
};

const STAGE: Field = word("stage", &["partition", "process", "assemble"], "process by default");

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
            .summary("Gets a task with all its attempts")
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
    let limit = number("limit")?.unwrap_or(LIST_MAX);
    let after = number("after")?;
    let _permit = call.answer_permit(&caller).await;
    let listed =
        tasks::list(call.app(), &caller, id.id::<JobId>("job")?, phase, after, limit).await?;
    let shown = listed.iter().map(TaskOut::new).collect();
    Ok(TasksOut { tasks: shown, prices: PricesOut::default() })
}

/// One task with all its attempts, and the machines that they were on. It is named by its index
/// in its stage, or by its own id.
async fn get_task(id: Segment, name: Segment, call: Call) -> Result<TaskAnswer> {
    let caller = call.caller().await?;
    let phase = read_phase(&call.query()?)?;
    let job = id.id::<JobId>("job")?;
    let unknown = || Error::not_found("task", &name.0);
    let named = TaskName::read(&name.0).ok_or_else(unknown)?;
    let found = tasks::read(call.app(), &caller, job, phase, named).await?;
    let TaskDetail { task, attempts } = found.ok_or_else(unknown)?;
    let shown = attempts.into_iter().map(|(attempt, device)| AttemptOut::new(&attempt, device));
    Ok(TaskAnswer {
        task: TaskOut::new(&task),
        attempts: shown.collect(),
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

const fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Waiting => "Scheduled",
        TaskState::Assigned => "Assigned",
        TaskState::Received => "Received",
        TaskState::Running => "Running",
        TaskState::Done => "Completed",
        TaskState::Failed => "Failed",
    }
}

impl TaskOut {
    fn new(task: &Task) -> Self {
        let last = task.last.as_ref();
        Self {
            id: task.of.id(),
            stage: task.phase.as_str(),
            index: task.of.index,
            state: state_name(last.map_or(TaskState::Waiting, TaskState::of)),
            scheduled_at: task.scheduled_at,
            attempt: last.map_or(0, |attempt| attempt.lease.attempt),
            last: last.map(TryOut::new).unwrap_or_default(),
        }
    }
}

impl TryOut {
    fn new(task: &Attempt) -> Self {
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
    fn new(attempt: &Attempt, device: Option<Device>) -> Self {
        Self {
            attempt: attempt.lease.attempt,
            state: state_name(TaskState::of(attempt)),
            told: TryOut::new(attempt),
            device: device.map(DeviceOut::from),
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
