//! Assembles accepted results into final files and delivers them.

use common::data::location::Destination;
use common::ids::RunId;
use common::plan::{Assembler, Phase};
use common::run::spec::result_name;
use common::run::task::StageNo;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::{Context, Results, Step, StepError};
use crate::coordinator::turns::Kind;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::{Error as DataError, ResultFile, ResultFiles};
use crate::store::Db;
use crate::store::market::results::ResultView;
use crate::store::market::tasks::OutputView;
use crate::store::market::{results, tasks};

/// Tasks whose outputs are read from the database at a time.
const PAGE: u64 = 1_000;
/// Files delivered at a time.
const DELIVERIES: usize = 8;

impl Context {
    pub(super) async fn assemble_and_deliver(
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
    pub(super) async fn deliver(
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

/// Where an output lies.
pub(super) fn key(output: &OutputView) -> BlobKey {
    BlobKey::Result { lease: output.lease, digest: output.digest }
}
