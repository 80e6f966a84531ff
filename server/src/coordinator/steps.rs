//! The steps of a run that the server does itself: looking at the source, cutting it, folding
//! results and delivering them. Each can be done twice, so a restart simply begins it again.

use std::collections::HashMap;
use std::error::Error as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::chunks::ChunkTable;
use common::ids::RunId;
use common::market::{Run, Step};
use common::objects::{Object, Objects, Place, TooMany};
use common::spec::{Assemble, Destination, Partition, RunSpec, result_name};
use common::task::Stage;
use futures::{FutureExt as _, Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Command;
use super::turns::{Kind, Turn, Turns};
use crate::data::key::BlobKey;
use crate::data::pace::{Pace, Side};
use crate::data::{Data, Error as DataError, Resolved, ResultFile, ResultFiles};
use crate::store::results::ResultView;
use crate::store::tasks::OutputView;
use crate::store::{self, Db, results, tasks};

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
    running: HashMap<RunId, AbortHandle>,
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

    /// Begins a step of a run; one of the same run that is still going on has become pointless.
    pub fn begin(&mut self, run: &Run, step: Step) {
        let job = Job {
            run: run.id,
            spec: Arc::clone(&run.spec),
            chunks: run.chunks().map_or(0, |table| table.len()),
            pace: Pace::new(match step {
                Step::Cut | Step::Collect => Side::Source,
                Step::Fold => Side::Destination,
            }),
        };
        let context = self.context.clone();
        let task = tokio::spawn(context.clone().survive(run.id, context.work(job, step)));
        if let Some(older) = self.running.insert(run.id, task.abort_handle()) {
            older.abort();
        }
    }

    /// Stops what is being done for a run that has ended.
    pub fn cancel(&mut self, run: RunId) {
        if let Some(task) = self.running.remove(&run) {
            task.abort();
        }
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
struct Job {
    run: RunId,
    spec: Arc<RunSpec>,
    chunks: u32,
    /// Of the customer's server, over all tries.
    pace: Pace,
}

impl Context {
    /// Sees a step through even where our own code breaks down in it: a run whose step is gone
    /// would wait for ever.
    async fn survive(self, run: RunId, step: impl Future<Output = ()>) {
        if AssertUnwindSafe(step).catch_unwind().await.is_err() {
            tracing::error!(%run, "a step broke down");
            let reason = "the server failed while it worked on this run; run the job again";
            self.send(Command::StepFailed { run, reason: reason.to_owned() }).await;
        }
    }

    /// Does the step, again after a pause where the world was at fault, and reports the end.
    async fn work(self, job: Job, step: Step) {
        let run = job.run;
        let (began, mut wait, mut waits) = (Instant::now(), FIRST_WAIT, None);
        for attempt in 1.. {
            // No place is held in the pause: others' steps need not wait for this one's luck.
            let done = match step {
                Step::Cut => self.cut(&job).await,
                Step::Collect => self.collect(&job).await,
                Step::Fold => self.fold(&job).await,
            };
            let Err(error) = done else { return };
            let cause = describe(&error);
            let reason = match patience(&error) {
                Patience::None => {
                    if matches!(error, StepError::Data(DataError::Damaged(_))) {
                        tracing::error!(%run, ?step, cause, "stored data is damaged");
                    }
                    let is_customers = matches!(
                        error,
                        StepError::Data(DataError::Customer(_) | DataError::Full(_))
                    );
                    let what = error.to_string();
                    if is_customers { curable(step, what) } else { what }
                }
                Patience::Elsewhere(_) if began.elapsed() >= ELSEWHERE => {
                    let what = format!("{}: {error}; it was tried for an hour", side(step));
                    curable(step, what)
                }
                Patience::Few if attempt >= TRIES => {
                    tracing::error!(%run, ?step, cause, "step given up");
                    "the server could not read or write the run's data; run the job again"
                        .to_owned()
                }
                passing @ (Patience::Few | Patience::Elsewhere(_) | Patience::Ours(_)) => {
                    tracing::warn!(%run, ?step, attempt, cause, "step failed, trying again");
                    let what = match passing {
                        Patience::Elsewhere(text) => format!("{}: {text}", side(step)),
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

    async fn turn(&self, kind: Kind, job: &Job) -> Turn {
        self.turns.take(kind, job.spec.workspace, job.run, &job.pace).await
    }

    async fn cut(&self, job: &Job) -> Result<(), StepError> {
        let Job { run, spec, pace, .. } = job;
        let mut turn = self.turn(Kind::Step, job).await;
        let objects = match self.data.resolve(*run, spec.workspace, &spec.source, pace).await? {
            Resolved::Objects(objects) => objects,
            Resolved::ToStage => {
                drop(turn);
                turn = self.turn(Kind::Copy, job).await;
                self.data.stage(*run, spec.workspace, &spec.source, pace).await?
            }
        };
        match &spec.partition {
            Partition::Custom(_) => {
                let objects = ChunkTable::whole(objects);
                store::prove_table(&objects)?;
                let objects = Some(objects);
                self.send(Command::Looked { run: *run, objects }).await;
            }
            Partition::Builtin(partitioner) => {
                self.send(Command::Looked { run: *run, objects: None }).await;
                let table = self.data.partition(spec, *partitioner, objects, pace).await?;
                store::prove_table(&table)?;
                self.send(Command::Partitioned { run: *run, table }).await;
            }
        }
        drop(turn);
        Ok(())
    }

    /// Makes chunks of `data_0.bin`, `data_1.bin`, …; other files are no chunks, and are named.
    async fn collect(&self, job: &Job) -> Result<(), StepError> {
        let _turn = self.turn(Kind::Step, job).await;
        let outputs = tasks::outputs(&self.db, job.run, Stage::Partition, None, 1).await?;
        let (mut numbered, mut others) = (Vec::<(u64, OutputView)>::new(), Vec::new());
        for output in outputs.into_iter().flat_map(|task| task.files) {
            match chunk_number(&output.name) {
                Some(n) => numbered.push((n, output)),
                None => others.push(output.name),
            }
        }
        numbered.sort_by_key(|(n, _)| *n);
        if let Some(warning) = left_out(&others) {
            self.send(Command::LeftOut { run: job.run, warning }).await;
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
        let table = ChunkTable::whole(Objects::pack(&objects)?);
        store::prove_table(&table)?;
        self.send(Command::Partitioned { run: job.run, table }).await;
        Ok(())
    }

    async fn fold(&self, job: &Job) -> Result<(), StepError> {
        let Job { run, spec, .. } = job;
        let _turn = self.turn(Kind::Step, job).await;
        if spec.destination != Destination::Bypass {
            let files = match &spec.assemble {
                Assemble::Builtin(assembler) => {
                    let files = self.result_files(job, Stage::Process);
                    self.data.assemble(spec.workspace, *run, assembler, files).await?
                }
                Assemble::Custom(_) => self.result_files(job, Stage::Assemble),
            };
            self.send(Command::Folded { run: *run }).await;
            self.deliver(job, files).await?;
        } else {
            self.send(Command::Folded { run: *run }).await;
        }
        self.send(Command::Delivered { run: *run }).await;
        Ok(())
    }

    /// Takes the final files where the customer wants them and notes their names.
    async fn deliver(&self, job: &Job, files: ResultFiles) -> Result<(), StepError> {
        let away = job.spec.destination != Destination::Bucket;
        let delivered = files.map(|file| async {
            let file = file?;
            if away {
                self.data.deliver(&job.spec, &file, &job.pace).await?;
            }
            let key = (!away).then(|| file.key.path());
            let ResultFile { name, size, digest, .. } = file;
            Ok::<_, StepError>(ResultView { name, size, digest, key })
        });
        let mut pages = delivered.buffered(DELIVERIES).try_chunks(1_000);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|stream::TryChunksError(_, error)| error)?;
            results::insert(&self.db, job.run, &page).await?;
        }
        Ok(())
    }

    /// All accepted outputs of a stage in task order, under the names they are handed on with.
    fn result_files(&self, job: &Job, stage: Stage) -> ResultFiles {
        let (db, run, total) = (self.db.clone(), job.run, job.chunks);
        let name = move |output: &OutputView| match stage {
            Stage::Process => result_name(output.lease.task.index, total, &output.name),
            Stage::Partition | Stage::Assemble => output.name.clone(),
        };
        let files = outputs(db, run, stage).map_ok(move |output| {
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
    stage: Stage,
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

/// The field of the job that the step reads or writes.
fn side(step: Step) -> &'static str {
    if step == Step::Fold { "dataDestination" } else { "dataSource" }
}

/// What keeps a step from its end and its customer can put right. After the last task that is not
/// the end of the job.
fn curable(step: Step, what: String) -> String {
    match step {
        Step::Fold => {
            format!("{what}; when that is put right, its results can be delivered again at no cost")
        }
        Step::Cut | Step::Collect => what,
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
    use crate::api::testing::Door;

    #[tokio::test]
    async fn a_step_that_breaks_down_ends_its_run() {
        let door = Door::open().await;
        let (commands, mut queue) = mpsc::channel(1);
        let context = Context {
            db: door.app.db.clone(),
            data: door.app.data.clone(),
            commands: commands.downgrade(),
            turns: Turns::new(),
        };
        let run = RunId::new(Uuid::from_u128(1));

        context.survive(run, async { panic!("on purpose") }).await;

        let heard = queue.recv().await;
        assert!(matches!(heard, Some(Command::StepFailed { run: failed, .. }) if failed == run));
    }

    #[test]
    fn a_step_waits_for_what_is_away_and_not_for_what_is_refused() {
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
    fn files_that_are_no_chunks_are_named_as_far_as_they_are_few() {
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
    fn only_numbered_files_are_chunks() {
        assert_eq!(chunk_number("data_0.bin"), Some(0));
        assert_eq!(chunk_number("data_12.bin"), Some(12));
        for name in ["data_.bin", "data_+1.bin", "data_1.bin.tmp", "log.txt", "data_-1.bin"] {
            assert_eq!(chunk_number(name), None, "{name}");
        }
    }
}
