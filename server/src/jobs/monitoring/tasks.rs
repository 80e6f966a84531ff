//! A job's tasks: how far each is, on which machine, and what it used.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use common::compute::device::Device;
use common::ids::{NodeId, RunId, TaskId};
use common::market;
use common::plan::{Phase, Plan};
use common::run::task::{Lease, StageNo, TaskRef};

use super::status;
use super::status::RunName;
use crate::app::App;
use crate::coordinator::{Tasks, UnderLease};
use crate::error::Result;
use crate::jobs::RunView;
use crate::people::caller::Caller;
use crate::store::market::runs;
use crate::store::market::tasks;
pub use crate::store::market::tasks::TaskView as Attempt;
use crate::store::market::tasks::attempts;
use crate::store::nodes::devices;

/// The most tasks of one page.
pub const LIST_MAX: u32 = 1_000;
/// The phases in which containers work.
pub const PHASES: [Phase; 3] = [Phase::Partition, Phase::Process, Phase::Assemble];

/// A task, and its last attempt.
#[derive(Debug)]
pub struct Task {
    pub of: TaskRef,
    pub phase: Phase,
    /// When its stage began.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// `None` before the first.
    pub last: Option<Attempt>,
}

/// A task with all its attempts.
#[derive(Debug)]
pub struct TaskDetail {
    pub task: Task,
    /// The first one first, each with its machine where that is known.
    pub attempts: Vec<(Attempt, Option<Device>)>,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Waits for a node.
    Waiting,
    Assigned,
    /// Its node has it.
    Received,
    /// Its container runs.
    Running,
    Done,
    Failed,
}

/// How a caller names a task of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskName {
    /// By its index in its stage.
    Index(u32),
    Id(TaskId),
}

impl TaskState {
    pub fn of(attempt: &Attempt) -> Self {
        match (attempt.state, attempt.received_at, attempt.running_at) {
            (market::TaskState::Waiting, _, _) => Self::Waiting,
            (market::TaskState::Leased, _, Some(_)) => Self::Running,
            (market::TaskState::Leased, Some(_), None) => Self::Received,
            (market::TaskState::Leased, None, None) => Self::Assigned,
            (market::TaskState::Done, _, _) => Self::Done,
            (market::TaskState::Failed, _, _) => Self::Failed,
        }
    }
}

impl TaskName {
    /// An index, or an id; `None` where the text is neither.
    pub fn read(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(index) => Some(Self::Index(index)),
            Err(_) => text.parse().ok().map(Self::Id),
        }
    }

    /// The task of this name in a run, where an index is one in this stage.
    fn find(self, run: RunId, stage: Option<StageNo>) -> Option<TaskRef> {
        match self {
            Self::Index(index) => Some(TaskRef { run, stage: stage?, index }),
            Self::Id(id) => TaskRef::find(run, id),
        }
    }
}

/// Tasks of the caller's job, or run, of this name, after an index: those that were handed out, and then the
/// chunks that wait.
pub async fn list(
    app: &App,
    caller: &Caller,
    name: impl Into<RunName>,
    phase: Phase,
    after: Option<u32>,
    limit: u32,
) -> Result<Vec<Task>> {
    let limit = limit.clamp(1, LIST_MAX);
    let (_, run) = status::find(app, caller, name).await?;
    let Some(run) = run else { return Ok(Vec::new()) };
    let Some(stage) = stage_of(app, &run, phase).await? else { return Ok(Vec::new()) };
    let mut found = tasks::find(&app.db, run.id, stage, after, limit.into()).await?;
    add_live(app, &run, &mut found).await?;
    let last = found.last().map(|task| task.lease.task.index).or(after);
    let mut next = last.map_or(0, |index| index.saturating_add(1));
    let of = Stage { run: &run, phase, stage };
    let mut listed: Vec<_> =
        found.into_iter().map(|task| of.task(task.lease.task.index, Some(task))).collect();
    let total = if phase == Phase::Process && !run.has_ended() { chunks(&run) } else { 0 };
    while listed.len() < limit as usize && next < total {
        listed.push(of.task(next, None));
        next += 1;
    }
    Ok(listed)
}

/// One task of the caller's job, or run, of this name with all its attempts, and the machines that they were
/// on; `None` where the job has no such task. An index is one in the stage of this phase.
pub async fn read(
    app: &App,
    caller: &Caller,
    run: impl Into<RunName>,
    phase: Phase,
    name: TaskName,
) -> Result<Option<TaskDetail>> {
    let (_, run) = status::find(app, caller, run).await?;
    let Some(run) = run else { return Ok(None) };
    let Some(plan) = runs::plan(&app.db, run.id).await? else { return Ok(None) };
    let stage = plan.container_of(phase).map(|(stage, _)| stage);
    let Some(named) = name.find(run.id, stage) else { return Ok(None) };
    let TaskRef { stage, index, .. } = named;
    let Some(phase) = phase_of(&plan, stage) else { return Ok(None) };
    let of = Stage { run: &run, phase, stage };
    let Some(task) = tasks::find_one(&app.db, named).await? else {
        let waits = phase == Phase::Process && index < chunks(&run);
        let waiting = || TaskDetail { task: of.task(index, None), attempts: Vec::new() };
        return Ok(waits.then(waiting));
    };
    let mut all = attempts::find(&app.db, named).await?;
    // A task that waits to be tried again has nothing in its own row that is not there.
    let is_there = all.last().is_some_and(|last| last.lease == task.lease);
    if !is_there {
        all.push(task.clone());
    }
    let mut task = [task];
    add_live(app, &run, &mut task).await?;
    add_live(app, &run, &mut all).await?;
    let nodes: BTreeSet<NodeId> = all.iter().filter_map(|attempt| attempt.node).collect();
    let machines = devices::find(&app.db, &nodes).await?;
    let with_machine = |attempt: Attempt| {
        let device = attempt.node.and_then(|node| machines.get(&node));
        (attempt, device.cloned())
    };
    let [task] = task;
    Ok(Some(TaskDetail {
        task: of.task(index, Some(task)),
        attempts: all.into_iter().map(with_machine).collect(),
    }))
}

/// The indexes of the tasks of these names in a run; `None` where one is not a task of the run.
pub(in crate::jobs) fn indexes(run: RunId, names: &[TaskName]) -> Option<Vec<u32>> {
    let index = |name: &TaskName| match *name {
        TaskName::Index(index) => Some(index),
        TaskName::Id(id) => TaskRef::find(run, id).map(|task| task.index),
    };
    names.iter().map(index).collect()
}

/// The stage in which containers of a run work on a phase; `None` where the server does it.
pub(in crate::jobs) async fn stage_of(
    app: &App,
    run: &RunView,
    phase: Phase,
) -> Result<Option<StageNo>> {
    let plan = runs::plan(&app.db, run.id).await?;
    Ok(plan.and_then(|plan| plan.container_of(phase).map(|(stage, _)| stage)))
}

/// The phase in which a stage's containers work.
pub(in crate::jobs) fn phase_of(plan: &Plan, stage: StageNo) -> Option<Phase> {
    PHASES.into_iter().find(|phase| plan.container_of(*phase).is_some_and(|(of, _)| of == stage))
}

fn chunks(run: &RunView) -> u32 {
    run.chunks.unwrap_or(0)
}

/// Adds what only the coordinator knows: how far the attempts are that have not ended.
async fn add_live(app: &App, run: &RunView, found: &mut [Attempt]) -> Result<()> {
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return Ok(()) };
    if run.has_ended() {
        return Ok(());
    }
    let indexes = first.lease.task.index..=last.lease.task.index;
    let tasks = Tasks { run: run.id, stage: first.lease.task.stage, indexes };
    let held = app.coordinator.under_lease(tasks).await?;
    let held: BTreeMap<Lease, UnderLease> =
        held.into_iter().map(|held| (held.lease, held)).collect();
    for task in found.iter_mut().filter(|task| task.state == market::TaskState::Leased) {
        if let Some(held) = held.get(&task.lease) {
            (task.received_at, task.running_at) = (held.received_at, held.running_at);
        }
    }
    Ok(())
}

/// The stage that tasks are shown of.
struct Stage<'a> {
    run: &'a RunView,
    phase: Phase,
    stage: StageNo,
}

impl Stage<'_> {
    /// A task of the stage; one that was never handed out has no attempt.
    fn task(&self, index: u32, last: Option<Attempt>) -> Task {
        Task {
            of: TaskRef { run: self.run.id, stage: self.stage, index },
            phase: self.phase,
            scheduled_at: self.run.times.of_phase(self.phase),
            last,
        }
    }
}
