//! The steps of a run that the server does itself: looking at the source, partitioning it,
//! assembling results and delivering them. Each can be done twice, so a restart begins it again.

mod deliver;
mod news;
mod partition;
mod retry;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::data::chunk_table::ChunkTable;
use common::data::object_list::TooMany;
use common::error_chain::chain;
use common::ids::RunId;
use common::market::Run;
use common::plan::{BlockId, Body, DataTask, Phase};
use common::run::cause::{Cause, CauseKind};
use common::run::spec::RunSpec;
use common::run::task::StageNo;
use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::Command;
use super::turns::{Kind, Turn, Turns};
use crate::data::pace::{Pace, Side};
use crate::data::{Data, Error as DataError};
use crate::store;
use crate::store::Db;
pub(super) use news::StepNews;
use retry::{Patience, patience};

/// The waits between the tries of a step whose failure is not the customer's double up to a most.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Tries where stored data is not what it should be.
const TRIES: u32 = 6;
/// How long a customer's server is waited for. Our own bucket and database are waited for until
/// the job's timeout.
const ELSEWHERE: Duration = Duration::from_secs(3600);

/// Begins and cancels steps.
pub(super) struct Steps {
    context: Context,
    running: HashMap<(RunId, StageNo), AbortHandle>,
}

#[derive(Clone)]
struct Context {
    db: Db,
    data: Data,
    /// Weak, so that the coordinator ends when all its handles have gone.
    commands: mpsc::WeakSender<Command>,
    turns: Turns,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("database")]
    Db(#[from] store::Error),
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

impl Steps {
    pub fn new(db: Db, data: Data, commands: mpsc::WeakSender<Command>, turns: Turns) -> Self {
        Self { context: Context { db, data, commands, turns }, running: HashMap::new() }
    }

    /// Begins the step of a stage; one of the same stage that is still going on has become
    /// pointless.
    pub fn begin(&mut self, run: &Run, no: StageNo) {
        let Some(step) = Step::new(run, no) else { return };
        let key = (run.id, no);
        let context = self.context.clone();
        let span = tracing::error_span!("step", run = %run.id, stage = %no);
        let working = context.clone().catch_panic(run.id, context.work(step));
        let task = tokio::spawn(working.instrument(span));
        if let Some(older) = self.running.insert(key, task.abort_handle()) {
            older.abort();
        }
    }

    /// Stops what is being done for a run that has ended.
    pub fn cancel(&mut self, run: RunId) {
        self.running.retain(|(of, _), task| {
            let goes_on = *of != run && !task.is_finished();
            if *of == run {
                task.abort();
            }
            goes_on
        });
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

/// What a step is about.
#[derive(Clone)]
struct Step {
    run: RunId,
    stage: StageNo,
    spec: Arc<RunSpec>,
    block: BlockId,
    /// Whose results it reads, where it reads any.
    results: Option<Results>,
    /// Of the customer's server, over all tries.
    pace: Pace,
}

/// The results of a block, which is opened once.
#[derive(Clone, Copy)]
struct Results {
    stage: StageNo,
    tasks: u32,
    /// Whether each task is for an element of a list.
    is_list: bool,
}

impl Step {
    fn new(run: &Run, no: StageNo) -> Option<Self> {
        let block = run.stage(no)?.block;
        let Body::Data(task) = &run.spec.plan.block(block).body else { return None };
        let (of, side) = match **task {
            DataTask::Look { .. } | DataTask::Cut { .. } => (None, Side::Source),
            DataTask::Collect { of } => (Some(of), Side::Source),
            DataTask::Deliver { of, .. } => (Some(of), Side::Destination),
        };
        let results = of.map(|of| Results {
            stage: of.stage(),
            tasks: run.tasks_of(of),
            is_list: matches!(run.spec.plan.block(of).body, Body::Each(_)),
        });
        let (spec, pace) = (Arc::clone(&run.spec), Pace::new(side));
        Some(Self { run: run.id, stage: no, spec, block, results, pace })
    }

    fn task(&self) -> Option<&DataTask> {
        match &self.spec.plan.block(self.block).body {
            Body::Data(task) => Some(task),
            Body::Group(_)
            | Body::Each(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Call(_) => None,
        }
    }

    /// What keeps the step from its end and its customer can put right. After the last task that is
    /// not the end of the job.
    fn curable(&self, what: String) -> String {
        match self.task() {
            Some(DataTask::Deliver { .. }) => format!(
                "{what}; when that is put right, its results can be delivered again at no cost"
            ),
            _ => what,
        }
    }

    /// The phase in which it ends, where it begins in another one.
    fn last_phase(&self) -> Option<Phase> {
        match self.task()? {
            DataTask::Cut { .. } => Some(Phase::Partition),
            DataTask::Look { .. } | DataTask::Collect { .. } | DataTask::Deliver { .. } => None,
        }
    }

    /// Which end of the job's data the step reads or writes.
    fn side(&self) -> &'static str {
        match self.task() {
            Some(DataTask::Deliver { .. }) => "destination",
            _ => "source",
        }
    }

    /// What a run ends for where trying the step again helps nothing.
    fn cause_of(&self, error: &StepError) -> Cause {
        let what = error.to_string();
        match error {
            StepError::Data(DataError::Customer(_) | DataError::At(..)) => self.cause(what),
            StepError::Data(DataError::Full(_)) => {
                Cause::new(CauseKind::Storage, self.curable(what))
            }
            StepError::TooMany(_) => Cause::new(CauseKind::Source, what),
            StepError::Data(_) | StepError::Db(_) => Cause::new(CauseKind::Server, what),
        }
    }

    /// What a run ends for whose source or destination keeps the step from its end.
    fn cause(&self, message: String) -> Cause {
        let kind = match self.task() {
            Some(DataTask::Deliver { .. }) => CauseKind::Destination,
            _ => CauseKind::Source,
        };
        Cause::new(kind, self.curable(message))
    }
}

impl Context {
    /// Runs a step to its end and catches its panics: a run whose step is gone would wait forever.
    async fn catch_panic(self, run: RunId, step: impl Future<Output = ()>) {
        if AssertUnwindSafe(step).catch_unwind().await.is_err() {
            tracing::error!("a step panicked");
            let message = "the server failed while it worked on this run; run the job again";
            let cause = Cause::new(CauseKind::Server, message);
            self.send(Command::Step(StepNews::Failed { run, cause })).await;
        }
    }

    /// Does the step, again after a pause where the world was at fault, and reports the end.
    async fn work(self, step: Step) {
        let Step { run, stage, .. } = step;
        let (began, mut wait, mut waits) = (Instant::now(), FIRST_WAIT, None);
        for tries in 1.. {
            // No place is held in the pause: others' steps need not wait for this one's luck.
            let error = match self.once(&step).await {
                Ok(table) => {
                    let entered = step.last_phase();
                    let done = StepNews::Done { run, stage, entered, table };
                    return self.send(Command::Step(done)).await;
                }
                Err(error) => error,
            };
            let cause = match patience(&error) {
                Patience::None => {
                    if matches!(error, StepError::Data(DataError::Damaged(_))) {
                        tracing::error!(error = %chain(&error), "stored data is damaged");
                    }
                    step.cause_of(&error)
                }
                Patience::Elsewhere(_) if began.elapsed() >= ELSEWHERE => {
                    step.cause(format!("{}: {error}; it was tried for an hour", step.side()))
                }
                Patience::Few if tries >= TRIES => {
                    tracing::error!(error = %chain(&error), "step given up");
                    let what =
                        "the server could not read or write the run's data; run the job again";
                    Cause::new(CauseKind::Server, what)
                }
                passing @ (Patience::Few | Patience::Elsewhere(_) | Patience::Ours(_)) => {
                    tracing::warn!(tries, error = %chain(&error), "step failed, trying again");
                    let what = match passing {
                        Patience::Elsewhere(text) => format!("{}: {text}", step.side()),
                        Patience::Ours(what) => format!("the server's {what} cannot be reached"),
                        Patience::None | Patience::Few => "the server failed".to_owned(),
                    };
                    // What is said of it before must not be taken back afterwards.
                    drop(waits.take());
                    waits = Some(self.turns.waits(run, format!("{what}; it is tried again")));
                    tokio::time::sleep(wait).await;
                    wait = WAIT_MAX.min(wait * 2);
                    continue;
                }
            };
            self.send(Command::Step(StepNews::Failed { run, cause })).await;
            return;
        }
    }

    /// Does the step; gives what it has found or cut.
    async fn once(&self, step: &Step) -> Result<Option<ChunkTable>, StepError> {
        let table = match step.task() {
            Some(DataTask::Look { source }) => {
                let (objects, _turn) = self.look(step, source).await?;
                ChunkTable::whole(objects)
            }
            Some(DataTask::Cut { source, partitioner }) => {
                self.partition(step, source, *partitioner).await?
            }
            Some(DataTask::Collect { .. }) => self.collect(step).await?,
            Some(DataTask::Deliver { assembler, destination, .. }) => {
                self.assemble_and_deliver(step, assembler.as_ref(), destination).await?;
                return Ok(None);
            }
            None => return Ok(None),
        };
        store::prove_table(&table)?;
        Ok(Some(table))
    }

    async fn turn(&self, kind: Kind, step: &Step) -> Turn {
        self.turns.take(kind, step.spec.workspace, step.run, &step.pace).await
    }

    async fn enter(&self, step: &Step, phase: Phase) {
        let Step { run, stage, .. } = *step;
        self.send(Command::Step(StepNews::Enters { run, stage, phase })).await;
    }

    async fn send(&self, command: Command) {
        if let Some(commands) = self.commands.upgrade() {
            // A coordinator that has stopped begins the step again when it is back.
            let _ = commands.send(command).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn step_that_panics_ends_its_run() {
        let server = TestServer::open().await;
        let (commands, mut queue) = mpsc::channel(1);
        let context = Context {
            db: server.app.db.clone(),
            data: server.app.data.clone(),
            commands: commands.downgrade(),
            turns: Turns::new(),
        };
        let run = RunId::new(uuid::Uuid::from_u128(1));

        context.catch_panic(run, async { panic!("on purpose") }).await;

        let heard = queue.recv().await;
        assert!(
            matches!(heard, Some(Command::Step(StepNews::Failed { run: failed, .. })) if failed == run)
        );
    }
}
