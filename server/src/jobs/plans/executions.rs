//! What became of a run's plan: its stages, and each attempt of their tasks.

use std::collections::{BTreeMap, HashMap};

use common::ids::{RunId, TaskId};
use common::market::{RUN_ENDED, StageOutcome, StageRecord, TaskState};
use common::plan::{BlockId, Body, Plan};
use common::run::task::{Lease, StageNo, TaskRef};
use uuid::Uuid;

use crate::app::App;
use crate::coordinator::Tasks;
use crate::error::Result;
use crate::jobs::RunView;
use crate::jobs::monitoring::tasks::Attempt;
use crate::store::market::{plan_runs, runs, stages};

/// The most stages, and the most attempts, of one answer.
const SHOWN_MAX: u64 = 2_000;
/// The bits of a task's id, random in its run's, in which an attempt after the first is written.
const ATTEMPT_SHIFT: u32 = 54;
const ATTEMPTS_MAX: u32 = 0x7f;

/// All that is known of a run.
#[derive(Debug)]
pub struct Executions {
    pub items: Vec<Execution>,
    /// What blocks can read.
    pub values: BTreeMap<String, String>,
    /// The blocks of the outermost group that have ended.
    pub ended: u64,
}

/// A block that was opened, or an attempt of its task.
#[derive(Debug)]
pub struct Execution {
    pub id: Uuid,
    /// The one that it lies in.
    pub parent: Option<Uuid>,
    pub block: BlockId,
    pub state: State,
    pub stage: StageRecord,
    /// `None` for a block that is no task, or whose task has not been handed out.
    pub attempt: Option<Attempt>,
    /// The text that it gave.
    pub value: Option<String>,
    /// How far it says that it is, in hundredths, while it runs.
    pub progress: Option<u8>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running,
    Done,
    Failed,
    /// Its run has ended before it.
    CutOff,
    /// Its condition was false.
    Skipped,
}

/// The name of an attempt.
fn attempt_id(task: TaskRef, attempt: u32) -> Uuid {
    let mark = u128::from(attempt.saturating_sub(1).min(ATTEMPTS_MAX)) << ATTEMPT_SHIFT;
    Uuid::from_u128(task.id().uuid().as_u128() ^ mark)
}

/// The name of the first attempt of the task that this name is of, and which attempt it names.
fn task_id(id: Uuid, run: RunId) -> (Uuid, u32) {
    let mark = (id.as_u128() ^ run.uuid().as_u128()) >> ATTEMPT_SHIFT;
    let n = u32::try_from(mark & u128::from(ATTEMPTS_MAX)).unwrap_or(0);
    (Uuid::from_u128(id.as_u128() ^ (u128::from(n) << ATTEMPT_SHIFT)), n + 1)
}

/// The attempt that this name is of, if it is one of the run's.
pub fn attempt_of(id: Uuid, run: RunId) -> Option<Lease> {
    let (first, attempt) = task_id(id, run);
    let task = TaskRef::find(run, TaskId::new(first))?;
    Some(Lease { task, attempt })
}

/// The name of an attempt.
pub fn id_of(lease: Lease) -> Uuid {
    attempt_id(lease.task, lease.attempt)
}

/// The name of a stage that has no task of its own.
pub(super) fn stage_id(run: RunId, stage: StageNo) -> Uuid {
    TaskRef::of_stage(run, stage).id().uuid()
}

/// Reads what became of a run, in the order of its stages.
pub async fn read(app: &App, run: &RunView) -> Result<Executions> {
    let values = plan_runs::values_of(&app.db, run.id).await?;
    let Some(plan) = runs::plan(&app.db, run.id).await? else {
        return Ok(Executions { items: Vec::new(), values, ended: 0 });
    };
    let opened = stages::find(&app.db, run.id, None, SHOWN_MAX).await?;
    let mut tasks: BTreeMap<StageNo, Vec<(Attempt, Option<String>)>> = BTreeMap::new();
    for attempt in plan_runs::attempts_of(&app.db, run.id, SHOWN_MAX).await? {
        tasks.entry(attempt.lease.task.stage).or_default().push((attempt, None));
    }
    let of_tasks = plan_runs::tasks_of(&app.db, run.id, SHOWN_MAX).await?;
    let mut stages_at_work = Vec::new();
    for (last, value) in of_tasks {
        let of_stage = tasks.entry(last.lease.task.stage).or_default();
        if last.state == TaskState::Leased {
            stages_at_work.push(last.lease.task);
        }
        // One that waits to be tried again has nothing more in its own row.
        if !of_stage.iter().any(|(attempt, _)| attempt.lease == last.lease) {
            of_stage.push((last, value));
        }
    }
    let progress = add_live(app, run, &stages_at_work, &mut tasks).await?;
    let is_top = |stage: &&StageRecord| stage.parent == Some(BlockId::ROOT.stage());
    let has_ended = |stage: &&StageRecord| stage.ended.is_some_and(|end| !end.is_cut_off());
    let ended = opened.iter().filter(is_top).filter(has_ended).count() as u64;
    let mut all = All { run, plan: &plan, progress, items: Vec::new() };
    for stage in opened.iter().filter(|stage| stage.block != BlockId::ROOT) {
        let mut of_stage = tasks.remove(&stage.no).unwrap_or_default();
        of_stage.sort_by_key(|(attempt, _)| (attempt.lease.task.index, attempt.lease.attempt));
        all.add(stage, of_stage);
    }
    Ok(Executions { items: all.items, values, ended })
}

/// Adds since when attempts run that have not ended, which only the coordinator knows. Gives how far
/// they say that they are.
async fn add_live(
    app: &App,
    run: &RunView,
    at_work: &[TaskRef],
    tasks: &mut BTreeMap<StageNo, Vec<(Attempt, Option<String>)>>,
) -> Result<HashMap<Lease, u8>> {
    let mut progress = HashMap::new();
    let mut stages: BTreeMap<StageNo, (u32, u32)> = BTreeMap::new();
    for task in at_work {
        let (from, to) = stages.entry(task.stage).or_insert((task.index, task.index));
        (*from, *to) = ((*from).min(task.index), (*to).max(task.index));
    }
    for (stage, (from, to)) in stages {
        let asked = Tasks { run: run.id, stage, indexes: from..=to };
        let held = app.coordinator.under_lease(asked).await?;
        progress.extend(held.iter().filter_map(|held| Some((held.lease, held.progress?))));
        for (attempt, _) in tasks.get_mut(&stage).into_iter().flatten() {
            if let Some(held) = held.iter().find(|held| held.lease == attempt.lease) {
                attempt.running_at = held.running_at;
            }
        }
    }
    Ok(progress)
}

struct All<'a> {
    run: &'a RunView,
    plan: &'a Plan,
    progress: HashMap<Lease, u8>,
    items: Vec<Execution>,
}

impl All<'_> {
    /// Adds a stage with its tasks.
    fn add(&mut self, stage: &StageRecord, tasks: Vec<(Attempt, Option<String>)>) {
        if !self.plan.has(stage.block) {
            return;
        }
        let parent = stage.parent.filter(|parent| *parent != BlockId::ROOT.stage());
        let parent = parent.map(|parent| stage_id(self.run.id, parent));
        let list = match &self.plan.block(stage.block).body {
            Body::Each(each) => Some(each.body),
            Body::Group(_) | Body::Child(_) | Body::Data(_) | Body::Call(_) => None,
            Body::Container(_) => {
                self.add_tasks(stage, parent, stage.block, tasks);
                return;
            }
        };
        self.push(stage, parent, stage.block, None);
        if let Some(body) = list {
            self.add_tasks(stage, Some(stage_id(self.run.id, stage.no)), body, tasks);
        }
    }

    fn add_tasks(
        &mut self,
        stage: &StageRecord,
        parent: Option<Uuid>,
        block: BlockId,
        tasks: Vec<(Attempt, Option<String>)>,
    ) {
        if tasks.is_empty() && block == stage.block {
            self.push(stage, parent, block, None);
        }
        for task in tasks {
            self.push(stage, parent, block, Some(task));
        }
    }

    fn push(
        &mut self,
        stage: &StageRecord,
        parent: Option<Uuid>,
        block: BlockId,
        task: Option<(Attempt, Option<String>)>,
    ) {
        let run = self.run.id;
        let (attempt, value) = task.map_or((None, None), |(task, value)| (Some(task), value));
        let (id, state) = match &attempt {
            Some(attempt) => {
                let state = self.state_of_attempt(attempt);
                (attempt_id(attempt.lease.task, attempt.lease.attempt), state)
            }
            None if matches!(self.plan.block(block).body, Body::Container(_)) => {
                let task = TaskRef { run, stage: stage.no, index: 0 };
                (task.id().uuid(), self.state_of_stage(stage, State::Waiting))
            }
            None => (stage_id(run, stage.no), self.state_of_stage(stage, State::Running)),
        };
        let progress = attempt.as_ref().and_then(|attempt| self.progress.get(&attempt.lease));
        let (stage, progress) = (stage.clone(), progress.copied());
        self.items.push(Execution { id, parent, block, state, stage, attempt, value, progress });
    }

    fn state_of_attempt(&self, attempt: &Attempt) -> State {
        match attempt.state {
            TaskState::Waiting | TaskState::Leased if self.run.has_ended() => State::CutOff,
            TaskState::Waiting => State::Waiting,
            TaskState::Leased => State::Running,
            TaskState::Done => State::Done,
            TaskState::Failed if attempt.error.as_deref() == Some(RUN_ENDED) => State::CutOff,
            TaskState::Failed => State::Failed,
        }
    }

    /// `open` is what it is while it has not ended.
    fn state_of_stage(&self, stage: &StageRecord, open: State) -> State {
        match stage.ended.map(|ended| ended.how) {
            Some(StageOutcome::Skipped) => State::Skipped,
            Some(StageOutcome::Done) => State::Done,
            Some(StageOutcome::CutOff) => State::CutOff,
            None if self.run.has_ended() => State::CutOff,
            None => open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_id_leads_back_to_its_task_and_attempt() {
        let run = RunId::new(Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc));
        for (stage, index) in [(StageNo::new(0), 3), (StageNo::MAX, u32::MAX)] {
            let task = TaskRef { run, stage, index };
            for attempt in [1, 2, 11, ATTEMPTS_MAX + 1] {
                let id = attempt_id(task, attempt);

                assert_eq!(task_id(id, run), (task.id().uuid(), attempt));
            }
            assert_eq!(attempt_id(task, 1), task.id().uuid());
        }
    }
}
