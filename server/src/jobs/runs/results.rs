//! What came out of a job: its delivered files or, of a run that did not complete, the results of
//! its accepted tasks, unfolded.

use std::time::Duration;

use common::data::location::{Destination, Provider};
use common::plan::Phase;
use common::run::RunState;
use common::run::spec::result_name;

use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::links::{Holder, Linked};
use crate::error::{Error, Result};
use crate::field::Field;
use crate::jobs::monitoring::status;
use crate::jobs::monitoring::status::RunName;
use crate::jobs::monitoring::tasks::stage_of;
use crate::jobs::runs::cancel::done_and_paid;
use crate::jobs::{Job, RunView};
use crate::people::caller::Caller;
use crate::store::market::{results, tasks};

const LINK_LIVES: Duration = Duration::from_secs(48 * 3600);
const PAGE_FILES: u64 = 10_000;
/// The most bytes of names and links of one page, or a little more.
const PAGE_BYTES: usize = 4 << 20;
/// Tasks that are looked at in one go: one may have thousands of files.
const TASKS: u64 = 64;

/// One page of a job's files.
#[derive(Debug)]
pub struct ResultPage {
    pub files: Vec<ResultFile>,
    /// These are accepted tasks' own results, unfolded: the job did not complete.
    pub is_partial: bool,
    /// Where there are more: the `after` of the next page.
    pub next: Option<String>,
}

/// A file of a job's results.
#[derive(Debug)]
pub struct ResultFile {
    pub name: String,
    /// A link where Fanfold keeps the file, its address where it was delivered.
    pub link: String,
    pub size: u64,
}

/// The files of the caller's job, or run, of this name, after the place where the page before ended.
///
/// # Errors
/// `JOB_NOT_COMPLETED` where it has not ended, and `JOB_FAILED` where it has failed or was aborted
/// and `takes_partial` does not ask for what was accepted.
pub async fn read(
    app: &App,
    caller: &Caller,
    name: impl Into<RunName>,
    takes_partial: bool,
    after: Option<&str>,
) -> Result<ResultPage> {
    let (job, run) = status::find(app, caller, name).await?;
    match run {
        Some(run) if run.state == RunState::Succeeded => {
            delivered(app, caller, &job, &run, after).await
        }
        Some(run) if run.has_ended() && takes_partial => accepted(app, caller, &run, after).await,
        Some(run) if run.has_ended() => Err(has_none(&run)),
        _ => {
            let text = "job has not yet been completed".to_owned();
            Err(Error::Blocked("JOB_NOT_COMPLETED", text))
        }
    }
}

/// The delivered files of a run that has succeeded.
pub(in crate::jobs) async fn delivered(
    app: &App,
    caller: &Caller,
    job: &Job,
    run: &RunView,
    after: Option<&str>,
) -> Result<ResultPage> {
    let found = results::find(&app.db, run.id, after, PAGE_FILES).await?;
    let (full, n) = (found.len() as u64 == PAGE_FILES, found.len());
    let folder = delivered_to(job);
    let (mut files, mut bytes) = (Vec::<ResultFile>::with_capacity(n), 0);
    for file in found {
        if bytes > PAGE_BYTES {
            break;
        }
        let link = match file.key.as_deref().and_then(BlobKey::from_path) {
            Some(key) => {
                let linked = Linked { name: &file.name, digest: file.digest };
                app.data.download_link(&key, linked, holder(caller), LINK_LIVES)
            }
            None => folder.as_ref().map_or_else(String::new, |to| format!("{to}{}", file.name)),
        };
        bytes += file.name.len() + link.len();
        files.push(ResultFile { name: file.name, link, size: file.size });
    }
    let more = full || files.len() < n;
    let next = files.last().filter(|_| more).map(|last| last.name.clone());
    Ok(ResultPage { files, is_partial: false, next })
}

/// The files of accepted tasks after one of them, by the names that they are folded under.
async fn accepted(
    app: &App,
    caller: &Caller,
    run: &RunView,
    after: Option<&str>,
) -> Result<ResultPage> {
    let mut after = after
        .map(str::parse::<u32>)
        .transpose()
        .map_err(|_| Error::field(Field::Cursor, "must be the next of the answer before"))?;
    let total = run.chunks.unwrap_or(0);
    let Some(stage) = stage_of(app, run, Phase::Process).await? else {
        return Ok(ResultPage { files: Vec::new(), is_partial: true, next: None });
    };
    let (mut files, mut bytes) = (Vec::new(), 0);
    loop {
        let page = tasks::outputs(&app.db, run.id, stage, after, TASKS).await?;
        if page.is_empty() {
            return Ok(ResultPage { files, is_partial: true, next: None });
        }
        for task in page {
            for file in task.files {
                let name = result_name(task.index, total, &file.name);
                let key = BlobKey::Result { lease: file.lease, digest: file.digest };
                let linked = Linked { name: &name, digest: Some(file.digest) };
                let link = app.data.download_link(&key, linked, holder(caller), LINK_LIVES);
                bytes += name.len() + link.len();
                files.push(ResultFile { name, link, size: file.size });
            }
            after = Some(task.index);
            if bytes > PAGE_BYTES {
                let next = Some(task.index.to_string());
                return Ok(ResultPage { files, is_partial: true, next });
            }
        }
    }
}

/// Who links are made for.
fn holder(caller: &Caller) -> Holder {
    Holder { workspace: caller.workspace, user: caller.user, key: caller.key }
}

/// Says that a run has no results as a whole, and how to get those that there are.
fn has_none(run: &RunView) -> Error {
    let why = run.error().unwrap_or_default();
    let what = if matches!(run.state, RunState::Ending | RunState::Cancelled) {
        "was aborted"
    } else {
        "has failed"
    };
    let rest = if run.chunks_done == 0 {
        String::new()
    } else {
        let done = done_and_paid(run);
        format!(
            "; {done}: ask for the results of these with partial=true (--partial on the command \
             line)"
        )
    };
    Error::Blocked("JOB_FAILED", format!("job {what} and has no results as a whole: {why}{rest}"))
}

/// The address of the folder that results were delivered to, ending in a slash.
fn delivered_to(job: &Job) -> Option<String> {
    let Destination::Cloud { bucket, folder } = job.work.template()?.destination()? else {
        return None;
    };
    let scheme = match bucket.provider {
        Provider::Aws { .. } => "s3",
        Provider::Gcp { .. } => "gs",
        Provider::Storj { .. } => "sj",
        Provider::Azure { .. } => "az",
    };
    let folder = folder.trim_matches('/');
    let slash = if folder.is_empty() { "" } else { "/" };
    Some(format!("{scheme}://{}/{folder}{slash}", bucket.name))
}
