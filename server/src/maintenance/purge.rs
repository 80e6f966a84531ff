//! Deletes what nobody needs any more: the data of runs that ended 48 hours ago, files of drafts
//! that were deleted or are not run, old logs, and objects that no row names.
//!
//! It takes no input, so a pass that is lost costs time and nothing else.

mod logs;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common::error_chain::chain;
use common::ids::{JobId, RunId};
use futures::TryStreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::StorageConfig;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::{self, Data};
use crate::store::catalogue::{images, packages};
use crate::store::logs::segments;
use crate::store::market::runs::purge as runs;
use crate::store::schedules::skips;
use crate::store::storage::holdings;
use crate::store::{Db, jobs, schedules, secrets};

/// How long results can be downloaded.
pub const RESULTS_LIVE: TimeDelta = TimeDelta::hours(48);
/// What is younger may still get the row that names it: the longest upload takes less.
const GRACE: TimeDelta = TimeDelta::hours(24);
const PERIOD: Duration = Duration::from_secs(600);
/// The whole bucket is looked through once in this many passes.
const SWEEP_EVERY: u32 = 36;
const PAGE: u64 = 100;

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// The file of a draft that is not run.
    pub draft: TimeDelta,
    /// Logs, after the end of their run.
    pub log: TimeDelta,
}

impl Ages {
    pub fn of(config: StorageConfig) -> Self {
        let days = |days: std::num::NonZeroU32| TimeDelta::days(days.get().into());
        Self { draft: days(config.draft_days), log: days(config.log_days) }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("database")]
    Db(#[from] crate::store::Error),
    #[error("bucket")]
    Data(#[from] data::Error),
}

/// Passes every ten minutes, until told to stop.
pub async fn run(db: Db, data: Data, ages: Ages, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    for pass in 0u32.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        let now = clock::now();
        report("old results", results(&db, &data, now).await);
        report("files of drafts", uploads(&db, &data, now, ages.draft).await);
        if pass % SWEEP_EVERY == 0 {
            report("old logs", logs::purge(&db, &data, now, ages.log).await);
            report("secrets of deleted jobs", secrets_of_jobs(&db).await);
            report("old skips", old_skips(&db, now - ages.log).await);
            report("holdings", unnamed_holdings(&db, &data, now).await);
            report("objects without a row", unnamed_objects(&db, &data, now).await);
        }
    }
}

fn report(what: &str, done: Result<(), Error>) {
    if let Err(error) = done {
        tracing::warn!(error = %chain(&error), "{what} could not be deleted, trying again later");
    }
}

/// Deletes the files of drafts that were deleted, or that are older than `age` and not run.
async fn uploads(db: &Db, data: &Data, now: DateTime<Utc>, age: TimeDelta) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = holdings::page(db, "uploads", after.as_deref(), now, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.path.clone());
        for held in page {
            let Some(BlobKey::Upload(job)) = BlobKey::from_path(&held.path) else { continue };
            if !jobs::needs_upload(db, job, held.updated_at, now - age).await? {
                data.purge_upload(job).await?;
            }
        }
    }
}

/// Deletes what is noted of nominal times that made no run, as old as logs are kept.
async fn old_skips(db: &Db, then: DateTime<Utc>) -> Result<(), Error> {
    Ok(skips::purge(db, then).await?)
}

/// Deletes what came sealed with jobs that have been deleted, where that was cut off.
async fn secrets_of_jobs(db: &Db) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = secrets::derived(db, after.as_ref(), PAGE).await?;
        let Some(last) = page.last().cloned() else { return Ok(()) };
        after = Some(last);
        let jobs_of: Vec<JobId> = page.iter().filter_map(|(_, id)| id.job()).collect();
        let deleted = jobs::deleted(db, &jobs_of).await?;
        for (owner, id) in page {
            if let Some(job) = id.job().filter(|job| deleted.contains(job)) {
                secrets::delete_of_job(db, owner, job).await?;
            }
        }
    }
}

/// Corrects what is counted for images and packages whose rows are gone, or were never written
/// because the upload broke off, and for cache files whose upload did.
async fn unnamed_holdings(db: &Db, data: &Data, now: DateTime<Utc>) -> Result<(), Error> {
    for folder in ["images", "packages", "caches"] {
        let mut after = None;
        loop {
            let page = holdings::page(db, folder, after.as_deref(), now - GRACE, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.path.clone());
            for held in page {
                let Some(key) = BlobKey::from_path(&held.path) else { continue };
                let size = match &key {
                    BlobKey::Image(digest) if images::has(db, held.owner, *digest).await? => {
                        continue;
                    }
                    BlobKey::Package(digest)
                        if packages::is_named(db, Some(held.owner), *digest).await? =>
                    {
                        continue;
                    }
                    BlobKey::Cached { .. } => data.size(&key).await?,
                    BlobKey::Image(_)
                    | BlobKey::Package(_)
                    | BlobKey::Upload(_)
                    | BlobKey::Staged { .. }
                    | BlobKey::Sums { .. }
                    | BlobKey::Result { .. }
                    | BlobKey::Final { .. }
                    | BlobKey::Log { .. } => None,
                };
                if size != Some(held.bytes) {
                    data.quotas().settle(held.owner, &key, size).await?;
                }
            }
        }
    }
    Ok(())
}

/// Deletes uploads, images, packages and segments of logs that no row names. Each has been there for longer than
/// any upload takes, and is looked up right before it is deleted.
async fn unnamed_objects(db: &Db, data: &Data, now: DateTime<Utc>) -> Result<(), Error> {
    for folder in ["uploads", "images", "packages", "logs"] {
        let mut objects = data.objects(folder);
        while let Some((path, written_at)) = objects.try_next().await? {
            if written_at > now - GRACE {
                continue;
            }
            let Some(key) = BlobKey::from_path(&path) else { continue };
            let needed = match &key {
                BlobKey::Upload(job) => {
                    jobs::needs_upload(db, *job, written_at, DateTime::UNIX_EPOCH).await?
                }
                BlobKey::Image(digest) => {
                    images::is_named(db, *digest).await?
                        || runs::pins(db, &digest.to_string()).await?
                }
                BlobKey::Package(digest) => {
                    packages::is_named(db, None, *digest).await?
                        || runs::pins(db, &digest.to_string()).await?
                }
                BlobKey::Log { run, seq, digest } => {
                    segments::is_named(db, *run, *seq, *digest).await?
                }
                BlobKey::Staged { .. }
                | BlobKey::Sums { .. }
                | BlobKey::Result { .. }
                | BlobKey::Final { .. }
                | BlobKey::Cached { .. } => true,
            };
            if !needed {
                tracing::info!(path, "an object that no row names is deleted");
                data.purge(&key).await?;
            }
        }
    }
    Ok(())
}

/// Goes through what is old enough. What cannot be deleted now stays for the next pass and holds
/// up nothing else.
async fn results(db: &Db, data: &Data, now: DateTime<Utc>) -> Result<(), Error> {
    loop {
        let page = runs::ended_before(db, now - RESULTS_LIVE, PAGE).await?;
        let mut deleted = 0;
        for (run, job) in page {
            match delete(db, data, run, job).await {
                Ok(()) => deleted += 1,
                Err(error) => {
                    tracing::warn!(
                        %run,
                        error = %chain(&error),
                        "old results could not be deleted"
                    );
                }
            }
        }
        if deleted == 0 {
            return Ok(());
        }
    }
}

async fn delete(db: &Db, data: &Data, run: RunId, job: JobId) -> Result<(), Error> {
    data.purge_run(run).await?;
    if !schedules::has(db, job).await? {
        data.purge_upload(job).await?;
    }
    runs::set_purged(db, run).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
