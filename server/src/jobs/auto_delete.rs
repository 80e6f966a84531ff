//! Jobs that are deleted by themselves, some time after their end.
//!
//! What is due follows from what is stored alone, so a pass that is lost costs time and nothing
//! else.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error_chain::chain;
use common::ids::{JobId, WorkspaceId};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock;
use crate::error::Result;
use crate::store::jobs;
use crate::store::market::runs;

const PERIOD: Duration = Duration::from_secs(5);
const PAGE: u64 = 100;

/// Deletes what is due, until told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = pass(&app, clock::now()).await {
            tracing::warn!(error = %chain(&error), "jobs could not be deleted, trying again later");
        }
    }
}

/// Deletes the jobs that are due at this time.
pub async fn pass(app: &App, now: DateTime<Utc>) -> Result<()> {
    loop {
        let looked = jobs::look_for_deletion(&app.db, now, PAGE).await?;
        for (owner, job) in looked.due {
            delete(app, owner, job).await?;
        }
        if !looked.is_full {
            return Ok(());
        }
    }
}

/// Deletes a job, unless a run of it goes on by now: then it is looked at again.
async fn delete(app: &App, owner: WorkspaceId, id: JobId) -> Result<()> {
    let lock = app.coordinator.lock_job(id).await?;
    if !runs::unfinished_of(&app.db, owner, id).await?.is_empty() {
        return Ok(());
    }
    let is_deleted = jobs::delete_ended(&app.db, &lock, owner).await?;
    drop(lock);
    if is_deleted {
        app.secrets.forget_job(owner, id).await?;
        tracing::info!(job = %id, "job deleted some time after its end, as it says");
    }
    Ok(())
}
