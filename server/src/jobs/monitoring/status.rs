//! A job as it is now: what its customer has said, how far its run is, and what that costs. What
//! only the coordinator knows of a run that goes on is merged with what is stored.

use std::time::Duration;

use common::data::location::Source;
use common::ids::{JobId, RunId};
use common::money::credits::Credits;
use common::money::price;
use common::plan::Phase;
use common::run::RunState;
use common::run::milestone::Milestone;

use super::explain;
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::error::{Error, Result};
use crate::jobs::quote::Forecast;
use crate::jobs::runs::hold::Hold;
use crate::jobs::{Job, RunView};
use crate::people::caller::Caller;
use crate::store::jobs;
use crate::store::jobs::{JobKind, TemplateWork};
use crate::store::market::runs;

const UPLOAD_LIVES: Duration = Duration::from_secs(48 * 3600);
/// The most jobs whose running tasks are counted at once.
pub const COUNTED_MAX: usize = 1_000;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobState {
    /// `None` is a draft.
    pub run: Option<RunState>,
    /// The part of a template's run that is under way.
    pub phase: Option<Phase>,
}

/// A job, its run, and what follows from both.
#[derive(Debug)]
pub struct JobStatus {
    pub job: Job,
    pub run: Option<RunView>,
    /// What is held for a run that goes on.
    pub hold: Option<Hold>,
    /// What the whole run is expected to cost; `None` until its chunks are known.
    pub estimate: Option<Credits>,
    /// Where to upload the source of a draft that is a file. Lists leave it out.
    pub upload_link: Option<String>,
    /// Why it waits; empty where it does not. Lists leave it out.
    waits: String,
}

/// How far a job's run is.
#[derive(Debug)]
pub struct JobProgress {
    pub state: JobState,
    pub chunks: u32,
    pub chunks_done: u32,
    /// Tasks that were accepted and gave no results.
    pub tasks_without_results: u32,
    pub tasks_running: u32,
    pub nodes_busy: u32,
    pub spent: Credits,
    /// What is reserved for it now.
    pub held: Credits,
    /// Why it failed, or why it waits.
    pub message: String,
}

/// Names a run: by itself, or as the latest of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunName {
    Latest(JobId),
    Run(RunId),
}

impl From<JobId> for RunName {
    fn from(job: JobId) -> Self {
        Self::Latest(job)
    }
}

impl From<RunId> for RunName {
    fn from(run: RunId) -> Self {
        Self::Run(run)
    }
}

/// The caller's job of this id, or that of this run.
pub async fn read(app: &App, caller: &Caller, id: impl Into<RunName>) -> Result<JobStatus> {
    let (job, run) = find(app, caller, id).await?;
    JobStatus::of(app, job, run).await
}

/// What the caller's job of this id is of.
pub async fn kind(app: &App, caller: &Caller, id: JobId) -> Result<JobKind> {
    Ok(find_job(app, caller, id).await?.work.kind())
}

/// How far the caller's job of this id is.
pub async fn progress(app: &App, caller: &Caller, id: JobId) -> Result<JobProgress> {
    let (_, run) = find(app, caller, id).await?;
    let run = run.as_ref();
    let live = run.and_then(|run| app.coordinator.progress(run.id));
    let waits = explain::message(app, run).await?;
    let state = JobState::of(run);
    let held = run.map_or(Credits::ZERO, |run| run.held);
    let message = run.and_then(RunView::error).map_or(waits, ToOwned::to_owned);
    Ok(match live {
        Some(live) => JobProgress {
            state,
            chunks: live.chunks,
            chunks_done: live.chunks_done,
            tasks_without_results: live.tasks_without_results,
            tasks_running: live.tasks_running,
            nodes_busy: live.nodes_busy,
            spent: live.spent,
            held,
            message,
        },
        None => JobProgress {
            state,
            chunks: run.and_then(|run| run.chunks).unwrap_or(0),
            chunks_done: run.map_or(0, |run| run.chunks_done),
            tasks_without_results: run.map_or(0, |run| run.empty),
            tasks_running: 0,
            nodes_busy: 0,
            spent: run.map_or(Credits::ZERO, |run| run.price),
            held,
            message,
        },
    })
}

/// How many tasks of each of these jobs are running. Jobs that are not the caller's are left out.
pub async fn running_tasks(app: &App, caller: &Caller, ids: &[JobId]) -> Result<Vec<(JobId, u32)>> {
    let running = |run: RunId| app.coordinator.progress(run).map_or(0, |live| live.tasks_running);
    let found = jobs::find_many(&app.db, caller.workspace, ids).await?;
    Ok(found.iter().map(|job| (job.id, job.run.map_or(0, running))).collect())
}

/// The caller's job of this id, without its run.
pub(in crate::jobs) async fn find_job(app: &App, caller: &Caller, id: JobId) -> Result<Job> {
    jobs::find(&app.db, caller.workspace, id)
        .await?
        .ok_or_else(|| Error::not_found("job", &id.to_string()))
}

/// The caller's job of this name, with the run: its latest where none is named, if it has been
/// started. A run of a job that has been deleted is not found.
pub(in crate::jobs) async fn find(
    app: &App,
    caller: &Caller,
    name: impl Into<RunName>,
) -> Result<(Job, Option<RunView>)> {
    match name.into() {
        RunName::Latest(id) => {
            let found = jobs::find_with_run(&app.db, caller.workspace, id).await?;
            found.ok_or_else(|| Error::not_found("job", &id.to_string()))
        }
        RunName::Run(id) => {
            let missing = || Error::not_found("run", &id.to_string());
            let run = runs::find(&app.db, caller.workspace, id).await?.ok_or_else(missing)?;
            let job = jobs::find(&app.db, caller.workspace, run.job).await?;
            Ok((job.ok_or_else(missing)?, Some(run)))
        }
    }
}

/// The latest run of a job, if it has been started.
pub(in crate::jobs) async fn run_of(app: &App, job: &Job) -> Result<Option<RunView>> {
    let Some(run) = job.run else { return Ok(None) };
    Ok(runs::find(&app.db, job.workspace, run).await?)
}

impl JobState {
    /// How far a job in this state has come.
    pub fn milestone(self) -> Milestone {
        self.run.map_or(Milestone::Draft, |run| Milestone::of_run(run, self.phase))
    }

    /// Whether it has run, and nothing more happens.
    pub fn has_ended(self) -> bool {
        self.run.is_some_and(RunState::is_final)
    }

    pub const DRAFT: Self = Self { run: None, phase: None };

    pub fn of(run: Option<&RunView>) -> Self {
        run.map_or(Self::DRAFT, |run| Self { run: Some(run.state), phase: run.phase })
    }
}

impl JobStatus {
    /// A job alone: with where to upload its file, and why it waits.
    pub(in crate::jobs) async fn of(app: &App, job: Job, run: Option<RunView>) -> Result<Self> {
        let source = job.work.template().and_then(TemplateWork::source);
        let upload_link = match source {
            Some(Source::File(_)) if run.is_none() => {
                Some(app.data.upload_link(&BlobKey::Upload(job.id), UPLOAD_LIVES).await?)
            }
            _ => None,
        };
        let waits = explain::message(app, run.as_ref()).await?;
        Ok(Self { upload_link, waits, ..Self::in_list(app, job, run) })
    }

    /// A job among others.
    pub(in crate::jobs) fn in_list(app: &App, job: Job, run: Option<RunView>) -> Self {
        let hold = run.as_ref().filter(|run| !run.has_ended()).map(|run| Hold::of_run(app, run));
        let estimate = run.as_ref().and_then(|run| estimate(app, run));
        Self { job, run, hold, estimate, upload_link: None, waits: String::new() }
    }

    pub fn state(&self) -> JobState {
        JobState::of(self.run.as_ref())
    }

    /// What its customer should know of a run that went on; empty where there is nothing.
    pub fn warning(&self) -> String {
        let Some(run) = &self.run else { return String::new() };
        let cut = run.chunks.zip(run.found).filter(|(chunks, found)| chunks < found);
        let cut = cut.map(|(chunks, found)| {
            format!("this is a test job: it works on the first {chunks} of its {found} chunks")
        });
        cut.into_iter().chain(run.warning.clone()).collect::<Vec<_>>().join("; ")
    }

    /// Why it failed, or why it waits; empty where it does neither.
    pub fn message(&self) -> &str {
        let error = self.run.as_ref().and_then(RunView::error);
        error.filter(|error| !error.is_empty()).unwrap_or(&self.waits)
    }
}

/// What a run is expected to cost in all, by what is known of it alone.
fn estimate(app: &App, run: &RunView) -> Option<Credits> {
    let chunks = run.chunks?.into();
    let forecast = Forecast::of_run(run).unwrap_or_else(|| {
        let secs = app.coordinator.reserved_secs(run.task_timeout_secs);
        Forecast::assumed(price::most(run.needs, secs), Credits::ZERO)
    });
    Some(forecast.total(chunks))
}
