//! Ending a job's run, and deleting jobs.

use common::ids::JobId;

use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::monitoring::status::{RunName, find};
use crate::jobs::{RunView, schedules, secret_use};
use crate::people::caller::Caller;
use crate::store::jobs;
use crate::store::market::runs;

const ABORTED: &str = "aborted by user";

/// What was ended.
#[derive(Debug)]
pub enum Aborted {
    /// A run, as it was then.
    Run(Box<RunView>),
    /// A job that had not started: it is deleted.
    Draft,
}

/// Ends the latest run of a job, or the named one; deletes a job that has not started.
pub async fn abort(app: &App, caller: &Caller, name: impl Into<RunName>) -> Result<Aborted> {
    let (job, run) = find(app, caller, name).await?;
    match run {
        Some(run) if run.has_ended() => Err(Error::NotNow("this job has ended already".to_owned())),
        Some(run) => {
            app.coordinator.cancel_run(run.id, ABORTED.to_owned()).await?;
            tracing::info!(job = %job.id, run = %run.id, "run cancelled by its customer");
            // The answer came after the commit.
            let ended = runs::find(&app.db, caller.workspace, run.id).await?.unwrap_or(run);
            Ok(Aborted::Run(Box::new(ended)))
        }
        None => {
            schedules::remove_with_job(app, job.id).await?;
            let lock = app.coordinator.lock_job(job.id).await?;
            if !jobs::delete_draft(&app.db, &lock, caller.workspace).await? {
                return Err(Error::NotNow("this job is being started: try again".to_owned()));
            }
            app.secrets.forget_job(caller.workspace, job.id).await?;
            Ok(Aborted::Draft)
        }
    }
}

/// Deletes a draft, or hides a job whose run has ended. Its schedule goes too.
pub async fn delete(app: &App, caller: &Caller, id: JobId) -> Result<()> {
    let (job, run) = find(app, caller, id).await?;
    if run.as_ref().is_none_or(|run| run.state.is_final()) {
        schedules::remove_with_job(app, job.id).await?;
    }
    // No run begins from now on; the schedule may have made one until now.
    let lock = app.coordinator.lock_job(job.id).await?;
    let (job, run) = find(app, caller, id).await?;
    let deleted = match run {
        None => {
            let deleted = jobs::delete_draft(&app.db, &lock, caller.workspace).await?;
            if deleted {
                app.data.purge_upload(job.id).await?;
            }
            deleted
        }
        Some(run) if run.state.is_final() => {
            jobs::delete_ended(&app.db, &lock, caller.workspace).await?
        }
        Some(_) => false,
    };
    drop(lock);
    if !deleted {
        return Err(Error::NotNow("this job is running: abort it first".to_owned()));
    }
    app.secrets.forget_job(caller.workspace, job.id).await?;
    Ok(())
}

/// Folds and delivers the results of a failed job again. No task runs, and nothing is charged.
pub async fn deliver_again(app: &App, caller: &Caller, name: impl Into<RunName>) -> Result<()> {
    let (job, run) = find(app, caller, name).await?;
    secret_use::check_job(caller, &job)?;
    let run = run.ok_or_else(|| Error::NotNow("this job has not run: run it".to_owned()))?;
    app.coordinator.deliver_again(job.id, run.id).await?;
    tracing::info!(job = %job.id, run = %run.id, "results are delivered again");
    Ok(())
}

/// How far a run got, and for how much.
pub fn done_and_paid(run: &RunView) -> String {
    let (done, price) = (run.chunks_done, run.price);
    match run.chunks {
        Some(chunks) => format!("{done} of {chunks} chunks, {price} credits paid"),
        None => format!("{price} credits paid"),
    }
}
