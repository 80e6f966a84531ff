//! Assembles accepted results into final files and delivers them.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::data::location::Destination;
use common::ids::RunId;
use common::plan::{Assembler, Phase};
use common::protocol::Contents;
use common::run::spec::result_name;
use common::run::task::StageNo;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::{Context, Results, Step, StepError};
use crate::coordinator::turns::Kind;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::{Data, Error as DataError, ResultFile, ResultFiles};
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
        let outputs = outputs(self.db.clone(), self.data.clone(), step.run, stage);
        let files = outputs.map_ok(move |(output, content)| {
            let digest = Some(output.digest);
            let file = ResultFile::new(&name(&output), output.size, digest, key(&output));
            ResultFile { content, ..file }
        });
        Box::pin(files)
    }
}

/// The accepted outputs of a stage, read page by page, small ones with their bytes.
fn outputs(
    db: Db,
    data: Data,
    run: RunId,
    stage: StageNo,
) -> impl Stream<Item = Result<(OutputView, Option<Bytes>), DataError>> + Send {
    let pages = stream::try_unfold(None, move |after: Option<u32>| {
        let (db, data) = (db.clone(), data.clone());
        async move {
            let page =
                tasks::outputs(&db, run, stage, after, PAGE).await.map_err(DataError::from)?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(None) };
            let (first, last) = (first.index, last.index);
            let small = data.small_results(run, stage, first..=last).await?;
            let files = page.into_iter().flat_map(|task| task.files);
            let files: Vec<_> = files.map(|output| with_content(output, &small)).collect();
            Ok::<_, DataError>(Some((stream::iter(files.into_iter().map(Ok)), Some(last))))
        }
    });
    pages.try_flatten()
}

/// An output with its bytes, where they came with its receipt.
fn with_content(
    output: OutputView,
    small: &BTreeMap<u32, Contents>,
) -> (OutputView, Option<Bytes>) {
    let contents = small.get(&output.lease.task.index);
    let bytes = contents.and_then(|contents| contents.find(output.digest));
    let bytes = bytes.map(Bytes::copy_from_slice);
    (output, bytes)
}

/// Where an output lies.
pub(super) fn key(output: &OutputView) -> BlobKey {
    BlobKey::Result { lease: output.lease, digest: output.digest }
}
