//! The steps of a run that the server does itself: looking at the source, cutting it, folding
//! results and delivering them. Each can be done twice, so a restart simply begins it again.

use std::collections::HashMap;
use std::error::Error as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::data::chunk_table::ChunkTable;
use common::data::location::{Destination, Source};
use common::data::object_list::{Object, Objects, Place, TooMany};
use common::ids::RunId;
use common::market::Run;
use common::plan::{Assembler, BlockId, Body, DataTask, Partitioner, Phase};
use common::run::spec::{RunSpec, result_name};
use common::run::task::StageNo;
use futures::{FutureExt as _, Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Command;
use super::turns::{Kind, Turn, Turns};
use crate::data::bucket::blob_key::BlobKey;
use crate::data::pace::{Pace, Side};
use crate::data::{Data, Error as DataError, Resolved, ResultFile, ResultFiles};
use crate::store;
use crate::store::Db;
use crate::store::market::results::ResultView;
use crate::store::market::tasks::OutputView;
use crate::store::market::{results, tasks};

/// Tasks whose outputs are read from the database at a time.
const PAGE: u64 = 1_000;
/// Files delivered at a time.
const DELIVERIES: usize = 8;
/// The waits between the tries of a step whose failure is not the customer's double up to a most.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Tries where stored data is not what it should be.
const TRIES: u32 = 6;
/// Names that are told of files that are left out.
const NAMED_MAX: usize = 5;
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
        let task = tokio::spawn(context.clone().survive(run.id, context.work(step)));
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
            Body::Group(_) | Body::Each(_) | Body::Child(_) | Body::Container(_) => None,
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

    /// The field of the job that the step reads or writes.
    fn side(&self) -> &'static str {
        match self.task() {
            Some(DataTask::Deliver { .. }) => "dataDestination",
            _ => "dataSource",
        }
    }
}

impl Context {
    /// Sees a step through even where our own code breaks down in it: a run whose step is gone
    /// would wait forever.
    async fn survive(self, run: RunId, step: impl Future<Output = ()>) {
        if AssertUnwindSafe(step).catch_unwind().await.is_err() {
            tracing::error!(%run, "a step broke down");
            let reason = "the server failed while it worked on this run; run the job again";
            self.send(Command::StepFailed { run, reason: reason.to_owned() }).await;
        }
    }

    /// Does the step, again after a pause where the world was at fault, and reports the end.
    async fn work(self, step: Step) {
        let Step { run, stage, .. } = step;
        let (began, mut wait, mut waits) = (Instant::now(), FIRST_WAIT, None);
        for attempt in 1.. {
            // No place is held in the pause: others' steps need not wait for this one's luck.
            let error = match self.once(&step).await {
                Ok(table) => return self.send(Command::StepDone { run, stage, table }).await,
                Err(error) => error,
            };
            let cause = describe(&error);
            let reason = match patience(&error) {
                Patience::None => {
                    if matches!(error, StepError::Data(DataError::Damaged(_))) {
                        tracing::error!(%run, %stage, cause, "stored data is damaged");
                    }
                    let is_customers = matches!(
                        error,
                        StepError::Data(DataError::Customer(_) | DataError::Full(_))
                    );
                    let what = error.to_string();
                    if is_customers { step.curable(what) } else { what }
                }
                Patience::Elsewhere(_) if began.elapsed() >= ELSEWHERE => {
                    let what = format!("{}: {error}; it was tried for an hour", step.side());
                    step.curable(what)
                }
                Patience::Few if attempt >= TRIES => {
                    tracing::error!(%run, %stage, cause, "step given up");
                    "the server could not read or write the run's data; run the job again"
                        .to_owned()
                }
                passing @ (Patience::Few | Patience::Elsewhere(_) | Patience::Ours(_)) => {
                    tracing::warn!(%run, %stage, attempt, cause, "step failed, trying again");
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
            self.send(Command::StepFailed { run, reason }).await;
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
                self.cut(step, source, *partitioner).await?
            }
            Some(DataTask::Collect { .. }) => self.collect(step).await?,
            Some(DataTask::Deliver { assembler, destination, .. }) => {
                self.fold(step, assembler.as_ref(), destination).await?;
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
        self.send(Command::StepEnters { run, stage, phase }).await;
    }

    /// Finds the objects of a source. The turn is kept for what is done with them.
    async fn look(&self, step: &Step, source: &Source) -> Result<(Objects, Turn), StepError> {
        let Step { run, spec, pace, .. } = step;
        let turn = self.turn(Kind::Step, step).await;
        match self.data.resolve(*run, spec.workspace, source, pace).await? {
            Resolved::Objects(objects) => Ok((objects, turn)),
            Resolved::ToStage => {
                drop(turn);
                let turn = self.turn(Kind::Copy, step).await;
                Ok((self.data.stage(*run, spec.workspace, source, pace).await?, turn))
            }
        }
    }

    async fn cut(
        &self,
        step: &Step,
        source: &Source,
        partitioner: Partitioner,
    ) -> Result<ChunkTable, StepError> {
        let (objects, _turn) = self.look(step, source).await?;
        self.enter(step, Phase::Partition).await;
        let owner = step.spec.workspace;
        Ok(self.data.partition(owner, source, partitioner, objects, &step.pace).await?)
    }

    /// Makes chunks of `data_0.bin`, `data_1.bin`, …; other files are no chunks, and are named.
    async fn collect(&self, step: &Step) -> Result<ChunkTable, StepError> {
        let _turn = self.turn(Kind::Step, step).await;
        let Some(Results { stage, .. }) = step.results else {
            return Ok(ChunkTable::whole(Objects::pack(&[])?));
        };
        let outputs = tasks::outputs(&self.db, step.run, stage, None, 1).await?;
        let (mut numbered, mut others) = (Vec::<(u64, OutputView)>::new(), Vec::new());
        for output in outputs.into_iter().flat_map(|task| task.files) {
            match chunk_number(&output.name) {
                Some(n) => numbered.push((n, output)),
                None => others.push(output.name),
            }
        }
        numbered.sort_by_key(|(n, _)| *n);
        if let Some(warning) = left_out(&others) {
            let (run, stage) = (step.run, step.stage);
            self.send(Command::StepWarns { run, stage, warning }).await;
        }
        let objects: Vec<Object> = numbered
            .into_iter()
            .map(|(_, output)| Object {
                size: output.size,
                place: Place::Bucket { key: key(&output).path() },
                name: output.name,
                version: None,
            })
            .collect();
        Ok(ChunkTable::whole(Objects::pack(&objects)?))
    }

    async fn fold(
        &self,
        step: &Step,
        assembler: Option<&Assembler>,
        destination: &Destination,
    ) -> Result<(), StepError> {
        let _turn = self.turn(Kind::Step, step).await;
        if *destination == Destination::Bypass {
            self.enter(step, Phase::Deliver).await;
            return Ok(());
        }
        let files = self.result_files(step);
        let files = match assembler {
            Some(assembler) => {
                let owner = step.spec.workspace;
                self.data.assemble(owner, step.run, assembler, files).await?
            }
            None => files,
        };
        self.enter(step, Phase::Deliver).await;
        self.deliver(step, destination, files).await
    }

    /// Takes the final files where the customer wants them and notes their names.
    async fn deliver(
        &self,
        step: &Step,
        destination: &Destination,
        files: ResultFiles,
    ) -> Result<(), StepError> {
        let away = *destination != Destination::Bucket;
        let delivered = files.map(|file| async {
            let file = file?;
            if away {
                let owner = step.spec.workspace;
                self.data.deliver(owner, destination, &file, &step.pace).await?;
            }
            let key = (!away).then(|| file.key.path());
            let ResultFile { name, size, digest, .. } = file;
            Ok::<_, StepError>(ResultView { name, size, digest, key })
        });
        let mut pages = delivered.buffered(DELIVERIES).try_chunks(1_000);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|stream::TryChunksError(_, error)| error)?;
            results::insert(&self.db, step.run, &page).await?;
        }
        Ok(())
    }

    /// All accepted outputs that a step reads in task order, under the names they are handed on
    /// with.
    fn result_files(&self, step: &Step) -> ResultFiles {
        let Some(Results { stage, tasks, is_list }) = step.results else {
            return Box::pin(stream::empty());
        };
        let name = move |output: &OutputView| {
            if is_list {
                result_name(output.lease.task.index, tasks, &output.name)
            } else {
                output.name.clone()
            }
        };
        let files = outputs(self.db.clone(), step.run, stage).map_ok(move |output| {
            let digest = Some(output.digest);
            ResultFile::new(&name(&output), output.size, digest, key(&output))
        });
        Box::pin(files)
    }

    async fn send(&self, command: Command) {
        if let Some(commands) = self.commands.upgrade() {
            // A coordinator that has stopped begins the step again when it is back.
            let _ = commands.send(command).await;
        }
    }
}

/// The accepted outputs of a stage, read page by page.
fn outputs(
    db: Db,
    run: RunId,
    stage: StageNo,
) -> impl Stream<Item = Result<OutputView, DataError>> + Send {
    let pages = stream::try_unfold(None, move |after: Option<u32>| {
        let db = db.clone();
        async move {
            let page =
                tasks::outputs(&db, run, stage, after, PAGE).await.map_err(DataError::from)?;
            let Some(last) = page.last().map(|task| task.index) else { return Ok(None) };
            let files: Vec<_> = page.into_iter().flat_map(|task| task.files).collect();
            Ok::<_, DataError>(Some((stream::iter(files.into_iter().map(Ok)), Some(last))))
        }
    });
    pages.try_flatten()
}

/// How long a step is tried again.
enum Patience<'a> {
    /// The customer must change something.
    None,
    /// Stored data is not as it should be; rarely does that pass.
    Few,
    /// A customer's server fails for now.
    Elsewhere(&'a str),
    /// A part of the server's own is away, and the customer cannot do anything about it.
    Ours(&'static str),
}

fn patience(error: &StepError) -> Patience<'_> {
    let of_database = |error| {
        if store::is_away(error) { Patience::Ours("database") } else { Patience::Few }
    };
    match error {
        StepError::TooMany(_) => Patience::None,
        StepError::Db(error) => of_database(error),
        StepError::Data(error) => match error {
            DataError::Customer(_) | DataError::Full(_) | DataError::Damaged(_) => Patience::None,
            DataError::NotFound(_) | DataError::Mismatch => Patience::Few,
            DataError::Elsewhere(text) => Patience::Elsewhere(text),
            DataError::Store(_) => Patience::Ours("bucket"),
            DataError::Io(_) => match error.of_database() {
                Some(error) => of_database(error),
                None => Patience::Ours("bucket"),
            },
        },
    }
}

/// An error with all its sources, as one line.
fn describe(error: &StepError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn key(output: &OutputView) -> BlobKey {
    BlobKey::Result { lease: output.lease, digest: output.digest }
}

/// What is said of a partitioner's files that are no chunks.
fn left_out(others: &[String]) -> Option<String> {
    let more = others.len().checked_sub(1)?.saturating_sub(NAMED_MAX - 1);
    let mut named = others[..others.len() - more].join(", ");
    if more > 0 {
        named = format!("{named} and {more} more");
    }
    Some(format!(
        "the partitioner wrote files that are no chunks and were left out: {named}; chunks are \
         called data_0.bin, data_1.bin and so on, and lie in no folder"
    ))
}

fn chunk_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("data_")?.strip_suffix(".bin")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

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
        let run = RunId::new(Uuid::from_u128(1));

        context.survive(run, async { panic!("on purpose") }).await;

        let heard = queue.recv().await;
        assert!(matches!(heard, Some(Command::StepFailed { run: failed, .. }) if failed == run));
    }

    #[test]
    fn step_waits_for_an_unreachable_service_and_not_after_a_refusal() {
        let full = std::io::ErrorKind::StorageFull;
        for error in [
            DataError::Io(std::io::ErrorKind::ConnectionRefused.into()),
            DataError::Io(full.into()),
            DataError::from(store::no_answer()),
        ] {
            let error = StepError::Data(error);
            assert!(matches!(patience(&error), Patience::Ours(_)), "{error:?}");
        }
        assert!(matches!(patience(&StepError::Db(store::no_answer())), Patience::Ours("database")));
        let elsewhere = StepError::Data(DataError::Elsewhere("503".to_owned()));
        assert!(matches!(patience(&elsewhere), Patience::Elsewhere("503")));
        let refused = StepError::Data(DataError::Customer("403".to_owned()));
        assert!(matches!(patience(&refused), Patience::None));
        let missing = StepError::Data(DataError::NotFound("x".to_owned()));
        assert!(matches!(patience(&missing), Patience::Few));
    }

    #[test]
    fn files_that_are_no_chunks_are_named_up_to_a_limit() {
        let names = |n: usize| (0..n).map(|n| format!("f{n}")).collect::<Vec<_>>();
        assert_eq!(left_out(&[]), None);
        for (n, named) in [
            (1, "left out: f0; chunks"),
            (5, "left out: f0, f1, f2, f3, f4; chunks"),
            (6, "left out: f0, f1, f2, f3, f4 and 1 more; chunks"),
        ] {
            let warning = left_out(&names(n)).unwrap();
            assert!(warning.contains(named), "{warning}");
        }
    }

    #[test]
    fn chunks_are_numbered_files_only() {
        assert_eq!(chunk_number("data_0.bin"), Some(0));
        assert_eq!(chunk_number("data_12.bin"), Some(12));
        for name in ["data_.bin", "data_+1.bin", "data_1.bin.tmp", "log.txt", "data_-1.bin"] {
            assert_eq!(chunk_number(name), None, "{name}");
        }
    }
}
