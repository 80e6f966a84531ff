//! All results of a run as a numbered list, for an assembler on a node. There may be millions:
//! only the pages' first numbers are kept, and the pages that were read last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::RunId;
use common::protocol::{InputFile, NAME_BYTES_MAX};
use common::run::spec::result_name;
use common::run::task::StageNo;

use super::lru::Recent;
use crate::p2p::backend::Port;
use crate::p2p::refusal::Refusal;
use crate::store::market::tasks::{OutputView, TaskOutputs};

/// Runs whose index is kept: at most a few KiB for each thousand pages.
const INDEXES_MAX: usize = 64;
/// Pages kept, over all runs.
const PAGES_MAX: usize = 16;
/// The tasks of a page at first and at most.
const TASKS_FIRST: u64 = 64;
const TASKS_MAX: u64 = 1000;
/// The files that a page should have: tasks with many results make pages of fewer tasks.
const FILES_AIM: u64 = 4000;

/// The stage whose results they are.
type Of = (RunId, StageNo);

/// Clones share what is kept. While a lease to assemble lives, a run's results do not change.
#[derive(Clone)]
pub struct Results<P> {
    port: P,
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    indexes: Recent<Of, Arc<Index>>,
    pages: Recent<(Of, usize), Arc<Vec<OutputView>>>,
}

/// Where the pages of a run begin.
#[derive(Default)]
pub struct Index {
    pages: Vec<Page>,
    files: u32,
}

#[derive(Clone, Copy)]
struct Page {
    /// The number of its first file.
    first: u32,
    after: Option<u32>,
    tasks: u64,
}

impl Index {
    pub const fn files(&self) -> u32 {
        self.files
    }

    pub const fn pages(&self) -> usize {
        self.pages.len()
    }
}

impl<P: Port> Results<P> {
    pub fn new(port: P) -> Self {
        let kept = Kept { indexes: Recent::new(INDEXES_MAX), pages: Recent::new(PAGES_MAX) };
        Self { port, kept: Arc::new(Mutex::new(kept)) }
    }

    /// The index of a run's results; reads them all once.
    pub async fn index(&self, of: Of) -> Result<Arc<Index>, Refusal> {
        if let Some(index) = self.kept().indexes.get(&of) {
            return Ok(index);
        }
        let mut index = Index::default();
        let (mut after, mut tasks) = (None, TASKS_FIRST);
        loop {
            let page = Page { first: index.files, after, tasks };
            let done = self.port.results(of.0, of.1, after, tasks).await?;
            let Some(last) = done.last().map(|task| task.index) else { break };
            let span = done.len() as u64;
            after = Some(last);
            let rows = files(done);
            let files = rows.len() as u64;
            tasks = (FILES_AIM * span / files.max(1)).clamp(1, TASKS_MAX);
            if rows.is_empty() {
                continue;
            }
            index.files = u32::try_from(files)
                .ok()
                .and_then(|files| index.files.checked_add(files))
                .ok_or_else(|| Refusal::never("the run has too many results to assemble"))?;
            let n = index.pages.len();
            index.pages.push(page);
            self.kept().pages.put((of, n), Arc::new(rows));
        }
        let index = Arc::new(index);
        self.kept().indexes.put(of, index.clone());
        Ok(index)
    }

    /// The results of a page, and the number of the first.
    pub async fn page(
        &self,
        of: Of,
        index: &Index,
        n: usize,
    ) -> Result<(u32, Arc<Vec<OutputView>>), Refusal> {
        let page = index.pages.get(n).ok_or_else(|| Refusal::never("there is no such page"))?;
        if let Some(rows) = self.kept().pages.get(&(of, n)) {
            return Ok((page.first, rows));
        }
        let rows = Arc::new(self.read(of, *page).await?);
        self.kept().pages.put((of, n), rows.clone());
        Ok((page.first, rows))
    }

    /// Result `n` of a run.
    pub async fn get(&self, of: Of, n: u32) -> Result<OutputView, Refusal> {
        let index = self.index(of).await?;
        let none = || Refusal::never("there is no such input");
        // The last page that begins at or before it.
        let after = index.pages.partition_point(|page| page.first <= n);
        let at = after.checked_sub(1).ok_or_else(none)?;
        let (first, rows) = self.page(of, &index, at).await?;
        rows.get((n - first) as usize).cloned().ok_or_else(none)
    }

    async fn read(&self, of: Of, page: Page) -> Result<Vec<OutputView>, Refusal> {
        Ok(files(self.port.results(of.0, of.1, page.after, page.tasks).await?))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Only a cache: whatever is in it is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All files of some tasks, in an order that is the same whenever they are read.
fn files(tasks: Vec<TaskOutputs>) -> Vec<OutputView> {
    let mut rows: Vec<OutputView> = tasks.into_iter().flat_map(|task| task.files).collect();
    rows.sort_by(|a, b| (a.lease.task.index, &a.name).cmp(&(b.lease.task.index, &b.name)));
    rows
}

/// Result `n` as an assembler sees it. The prefix may make a long name longer than a file's can
/// be; such a name gives way to one that is still unique and in order.
pub fn input_file(n: u32, tasks: u32, output: &OutputView) -> InputFile {
    let index = output.lease.task.index;
    let mut name = result_name(index, tasks, &output.name);
    if name.len() > NAME_BYTES_MAX {
        name = result_name(index, tasks, &format!("{n}_{}", output.digest));
    }
    InputFile { name, size: output.size, digest: Some(output.digest) }
}
