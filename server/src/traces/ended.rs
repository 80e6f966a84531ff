//! What has ended in a batch, with what its spans say of the run that it is of.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::market::{Changes, Cursor, Market, RunRecord, StageRecord, TaskRecord, TaskState};
use common::plan::{BlockId, Body};
use common::run::spec::RunSpec;
use common::run::task::StageNo;
use common::run::{RunState, Times};

#[derive(Debug)]
pub struct Ended {
    pub run: About,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Run(Box<RunRecord>),
    Stage(StageRecord),
    Task(TaskEnd),
    /// One after which its task goes on with another.
    Attempt(TaskEnd),
}

/// A task, or an attempt of it, as it ended.
#[derive(Debug)]
pub struct TaskEnd {
    pub record: TaskRecord,
    /// The block that its stage was opened as.
    pub block: BlockId,
}

/// A run as it stands.
#[derive(Debug, Clone)]
pub struct About {
    pub id: RunId,
    pub spec: Arc<RunSpec>,
    pub state: RunState,
    /// When it was taken up again to deliver its results, after it had failed.
    pub again_at: Option<DateTime<Utc>>,
}

impl About {
    /// Whether a stage is the run itself: the outermost group, which has no span of its own.
    pub fn is_all(&self, stage: StageNo) -> bool {
        let root = self.spec.plan.block(BlockId::ROOT);
        stage == BlockId::ROOT.stage() && matches!(root.body, Body::Group(_))
    }
}

/// Takes what has ended out of changes, of the runs that are sampled.
pub fn take(
    changes: &mut Changes,
    market: &Market,
    is_sampled: impl Fn(RunId) -> bool,
) -> Vec<Ended> {
    let batch = Batch::new(std::mem::take(&mut changes.runs), &changes.stages, market);
    let mut found = Vec::new();
    let mut put = |run: RunId, what: What| {
        if is_sampled(run)
            && let Some(run) = batch.about(run)
        {
            found.push(Ended { run, what });
        }
    };
    for record in changes.attempts.drain(..) {
        if let Some(end) = batch.end_of(record) {
            put(end.record.task.run, What::Attempt(end));
        }
    }
    for record in changes.tasks.drain(..) {
        let is_final = matches!(record.state, TaskState::Done | TaskState::Failed);
        if is_final && let Some(end) = batch.end_of(record) {
            put(end.record.task.run, What::Task(end));
        }
    }
    for record in changes.stages.drain(..).filter(|stage| stage.ended.is_some()) {
        put(record.run, What::Stage(record));
    }
    for record in batch.runs.values().filter(|run| run.state.is_final()) {
        put(record.id, What::Run(Box::new(record.clone())));
    }
    found
}

/// What a batch says of its runs. Those that it does not change are in the market.
struct Batch<'a> {
    runs: BTreeMap<RunId, RunRecord>,
    blocks: BTreeMap<(RunId, StageNo), BlockId>,
    /// When the first of each run's steps was opened that have ended now.
    steps: BTreeMap<RunId, DateTime<Utc>>,
    market: &'a Market,
}

impl<'a> Batch<'a> {
    fn new(runs: Vec<RunRecord>, stages: &[StageRecord], market: &'a Market) -> Self {
        let mut steps: BTreeMap<RunId, DateTime<Utc>> = BTreeMap::new();
        let is_step = |stage: &&StageRecord| matches!(stage.cursor, Cursor::Step);
        for stage in stages.iter().filter(|stage| stage.ended.is_some()).filter(is_step) {
            let first = steps.entry(stage.run).or_insert(stage.opened_at);
            *first = stage.opened_at.min(*first);
        }
        let runs = runs.into_iter().map(|run| (run.id, run)).collect();
        let blocks = stages.iter().map(|stage| ((stage.run, stage.no), stage.block)).collect();
        Self { runs, blocks, steps, market }
    }

    fn about(&self, id: RunId) -> Option<About> {
        let about = |spec: &Arc<RunSpec>, state, times| About {
            id,
            spec: Arc::clone(spec),
            state,
            again_at: self.again_at(id, times),
        };
        match self.runs.get(&id) {
            Some(run) => Some(about(&run.spec, run.state, &run.times)),
            None => self.market.run(id).map(|run| about(&run.spec, run.state(), run.times())),
        }
    }

    /// When the run was taken up again, where it was. One that has failed again shows it by a step
    /// that is older than the run's work.
    fn again_at(&self, id: RunId, times: &Times) -> Option<DateTime<Utc>> {
        let ends = [RunState::Failed, RunState::Ending];
        let first = ends.into_iter().filter_map(|state| times.of(state)).min()?;
        let running = times.of(RunState::Running)?;
        let has_old_step = self.steps.get(&id).is_some_and(|opened| *opened < running);
        (first < running || has_old_step).then_some(running)
    }

    /// A stage that has not ended in the batch is open.
    fn end_of(&self, mut record: TaskRecord) -> Option<TaskEnd> {
        let (run, no) = (record.task.run, record.task.stage);
        let stored = self.blocks.get(&(run, no)).copied();
        let block = stored.or_else(|| Some(self.market.run(run)?.stage(no)?.block))?;
        if record.state == TaskState::Done {
            // It lists all results, and has nothing to say that its state does not.
            record.receipt = None;
        }
        Some(TaskEnd { record, block })
    }
}
