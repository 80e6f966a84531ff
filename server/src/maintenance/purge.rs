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
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use common::ids::WorkspaceId;
    use common::market::{Market, Policy, Stored};
    use common::money::credits::Credits;
    use common::schedule::when::EVERY_SECS_MAX;
    use common::schedule::{Rules, Schedule, When};
    use common::secret::{Purpose, SecretId};
    use futures::stream;
    use reqwest::Method;
    use uuid::Uuid;

    use super::*;
    use crate::data::ssrf_guard::Guard;
    use crate::limits::quotas::Quotas;
    use crate::secrets::Secrets;
    use crate::store::testing::{commit_next, databases, spec};

    /// A run that ended so long ago, with a file of its own in the bucket.
    async fn ended(db: &Db, data: &Data, ago: TimeDelta) -> (RunId, BlobKey) {
        let workspace = WorkspaceId::new(Uuid::now_v7());
        let run = RunId::new(Uuid::now_v7());
        let then = clock::now() - ago;
        let ledger = crate::store::load(db).await.unwrap().ledger;
        let stored = Stored { ledger, ..Stored::default() };
        let mut market = Market::load(Policy::default(), stored, then);
        market.grant(workspace, Credits::from_units(500_000_000).unwrap(), "gift", then).unwrap();
        market.start_run(run, Arc::new(spec(workspace)), then).unwrap();
        market.cancel(run, "enough".to_owned(), then).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();
        let key = BlobKey::Final { run, name: "result.txt".to_owned() };
        let bytes = stream::iter([Ok(Bytes::from_static(b"result"))]);
        data.put(&key, Box::pin(bytes)).await.unwrap();
        (run, key)
    }

    #[tokio::test]
    async fn results_are_kept_for_48_hours() {
        for fresh in databases().await {
            let folder = tempfile::tempdir().unwrap();
            let options = data::Options {
                bucket: data::Bucket::Folder(folder.path().to_owned()),
                guard: Guard::new(false),
                public_url: "http://localhost".to_owned(),
                link_key: [8; 32],
            };
            let db = &fresh.db;
            let secrets = Secrets::new(db.clone(), [7; 32]);
            let quotas = Quotas::new(db.clone(), 1 << 30);
            let data = Data::open(options, db.clone(), secrets, quotas).await.unwrap();
            let (_, old) = ended(db, &data, TimeDelta::hours(49)).await;
            let (_, young) = ended(db, &data, TimeDelta::hours(47)).await;

            results(db, &data, clock::now()).await.unwrap();

            assert_eq!(data.size(&old).await.unwrap(), None, "{}", fresh.name);
            assert_eq!(data.size(&young).await.unwrap(), Some(6), "{}", fresh.name);
            let left = runs::ended_before(db, clock::now(), 10).await.unwrap();
            assert_eq!(left.len(), 1, "{}", fresh.name);
        }
    }

    fn kept(n: u128) -> BlobKey {
        BlobKey::Image(common::digest::Digest::of(&n.to_le_bytes()))
    }

    async fn put(data: &Data, key: &BlobKey) {
        let bytes = stream::iter([Ok(Bytes::from_static(b"bytes"))]);
        data.put(key, Box::pin(bytes)).await.unwrap();
    }

    #[tokio::test]
    async fn objects_without_a_row_are_removed_after_a_day_and_others_stay() {
        let server = crate::api::testing::TestServer::open().await;
        let (db, data) = (&server.app.db, &server.app.data);
        let (named, unnamed) = (kept(1), kept(2));
        let upload = BlobKey::Upload(JobId::new(Uuid::from_u128(3)));
        for key in [&named, &unnamed, &upload] {
            put(data, key).await;
            data.quotas().reserve(server.workspace, key, 5).await.unwrap();
        }
        let BlobKey::Image(digest) = named else { panic!("it is an image") };
        let image = images::StoredImage { reference: "a:1".to_owned(), digest, size: 5 };
        images::put(db, server.workspace, &image).await.unwrap();
        let all = async |data: &Data| {
            let mut sizes = Vec::new();
            for key in [&named, &unnamed, &upload] {
                sizes.push(data.size(key).await.unwrap());
            }
            sizes
        };

        unnamed_objects(db, data, clock::now()).await.unwrap();
        assert_eq!(all(data).await, [Some(5), Some(5), Some(5)]);
        let tomorrow = clock::now() + TimeDelta::hours(25);
        unnamed_objects(db, data, tomorrow).await.unwrap();
        unnamed_holdings(db, data, tomorrow).await.unwrap();
        uploads(db, data, tomorrow, TimeDelta::days(30)).await.unwrap();

        assert_eq!(all(data).await, [Some(5), None, None]);
        assert_eq!(holdings::total(db, server.workspace).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn secrets_of_a_deleted_job_are_removed_and_others_stay() {
        let server = crate::api::testing::TestServer::open().await;
        let (db, owner) = (&server.app.db, server.workspace);
        server.template("lines", "concat").await;
        let deleted = server.job(serde_json::json!({"templateId": "t"})).await;
        let kept = server.job(serde_json::json!({"templateId": "t"})).await;
        let of = |job: &str| SecretId::of_variable(job.parse().unwrap(), "TOKEN");
        let keep = async |id: SecretId| {
            let secret = secrets::Secret {
                id,
                purpose: Purpose::Other,
                name: "TOKEN".to_owned(),
                access_key: String::new(),
                params: [].into(),
                expires_at: None,
            };
            server.app.secrets.keep(owner, &secret, "value").await.unwrap();
        };
        keep(of(&kept)).await;
        keep(SecretId::of_image("app", "a", "1")).await;
        let (gone, _) =
            server.call(Method::DELETE, &format!("/v1/customer/jobs/{deleted}"), None).await;
        assert_eq!(gone, 200);
        // As if the server had been killed before it could remove it.
        keep(of(&deleted)).await;

        secrets_of_jobs(db).await.unwrap();

        let left = secrets::derived(db, None, 10).await.unwrap();
        let ids: Vec<_> = left.into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, [SecretId::of_image("app", "a", "1"), of(&kept)]);
    }

    #[tokio::test]
    async fn draft_file_is_removed_after_its_days() {
        let server = crate::api::testing::TestServer::open().await;
        server.template("lines", "concat").await;
        let job = server.job(serde_json::json!({"templateId": "t"})).await;
        let (db, data) = (&server.app.db, &server.app.data);
        let key = BlobKey::Upload(job.parse().unwrap());
        let before = holdings::total(db, server.workspace).await.unwrap();
        data.quotas().reserve(server.workspace, &key, 5).await.unwrap();
        put(data, &key).await;
        let (now, days) = (clock::now() + TimeDelta::seconds(1), TimeDelta::days(30));

        uploads(db, data, now + days - TimeDelta::hours(1), days).await.unwrap();
        assert_eq!(data.size(&key).await.unwrap(), Some(5));
        uploads(db, data, now + days + TimeDelta::hours(1), days).await.unwrap();

        assert_eq!(data.size(&key).await.unwrap(), None);
        assert_eq!(holdings::total(db, server.workspace).await.unwrap(), before);
    }

    #[tokio::test]
    async fn file_of_a_scheduled_job_is_kept_until_its_schedule_goes() {
        let server = crate::api::testing::TestServer::open().await;
        server.template("lines", "concat").await;
        let job = server.job(serde_json::json!({"templateId": "t"})).await;
        let (db, data) = (&server.app.db, &server.app.data);
        let job: JobId = job.parse().unwrap();
        let key = BlobKey::Upload(job);
        data.quotas().reserve(server.workspace, &key, 5).await.unwrap();
        put(data, &key).await;
        let when = When::Every { secs: EVERY_SECS_MAX, from: clock::now() };
        let author = common::testing::author(server.workspace);
        let schedule = Schedule::set(job, author, Rules::new(when), None, clock::now());
        let lock = server.app.coordinator.lock_job(job).await.unwrap();
        server.app.coordinator.put_schedule(schedule.clone(), lock).await.unwrap();
        let later = clock::now() + TimeDelta::days(60);
        let purge = async || uploads(db, data, later, TimeDelta::days(30)).await.unwrap();

        purge().await;
        assert_eq!(data.size(&key).await.unwrap(), Some(5));
        let lock = server.app.coordinator.lock_job(job).await.unwrap();
        server.app.coordinator.put_schedule(schedule.removed(), lock).await.unwrap();
        purge().await;

        assert_eq!(data.size(&key).await.unwrap(), None);
    }
}
