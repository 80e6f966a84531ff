//! Starting and ending jobs.

use std::sync::Arc;

use common::ids::RunId;
use common::package::config::JobConfig;
use uuid::Uuid;
use warp::Filter as _;

use super::call::{Call, Segment, call};
use super::error::{Error, Result};
use super::reply::{Done, done};
use super::{Doors, Route, any_of, job_out, jobs, plan, reply};
use crate::store;

const ABORTED: &str = "aborted by user";

pub fn routes(doors: &Arc<Doors>) -> Route {
    let run = warp::path!("jobs" / Segment / "run")
        .and(warp::post())
        .and(call(doors))
        .then(run)
        .map(reply::json_reply)
        .boxed();
    let abort = warp::path!("jobs" / Segment / "abort")
        .and(warp::post())
        .and(call(doors))
        .then(abort)
        .map(reply::json_reply)
        .boxed();
    any_of([run, abort])
}

/// Starts a job. The body is a config, one wrapped in `config`, or nothing; it is laid over the
/// job's own.
async fn run(id: Segment, mut call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let body = match body.object("config")? {
        Some(inner) => inner,
        None => body,
    };
    let over = JobConfig::read(body)?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    if job_out::run_of(app, &job).await?.is_some() {
        return Err(crate::coordinator::Error::AlreadyStarted.into());
    }
    let config = job.config.overlaid(over);
    let spec = plan::pin(app, &job, job.config().overlaid(over)).await?;
    let run = match job.run {
        // A start that was cut off between its claim and its run goes on under the same id, so
        // that two of them can never make two runs.
        Some(run) => run,
        None => {
            let run = RunId::new(Uuid::now_v7());
            if !store::jobs::claim(&app.db, &job, run, config).await? {
                return Err(Error::NotNow(
                    "this job has just been changed, started or deleted: read it again".to_owned(),
                ));
            }
            run
        }
    };
    match app.coordinator.start_run(run, spec).await {
        Ok(()) => {
            tracing::info!(job = %job.id, %run, "job started");
            Ok(done())
        }
        Err(refused @ crate::coordinator::Error::Wallet { .. }) => {
            store::jobs::unclaim(&app.db, job.id, run).await?;
            Err(refused.into())
        }
        // The run may be on disk all the same: the claim stays, and starting again tells.
        Err(error) => Err(error.into()),
    }
}

/// Ends a running job as failed; deletes one that has not started.
async fn abort(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    match job_out::run_of(app, &job).await? {
        Some(run) if run.state.is_final() => {
            Err(Error::NotNow("this job has ended already".to_owned()))
        }
        Some(run) => {
            app.coordinator.abort_run(run.id, ABORTED.to_owned()).await?;
            Ok(done())
        }
        None => {
            if !store::jobs::delete_draft(&app.db, caller.workspace, job.id).await? {
                return Err(Error::NotNow("this job is being started: try again".to_owned()));
            }
            Ok(done())
        }
    }
}
