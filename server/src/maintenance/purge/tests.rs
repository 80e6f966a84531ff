use std::sync::Arc;

use bytes::Bytes;
use common::ids::WorkspaceId;
use common::market::{Changes, Market, Policy, Resolution, Stored, ValueRecord};
use common::money::credits::Credits;
use common::run::task::StageNo;
use common::schedule::when::EVERY_SECS_MAX;
use common::schedule::{Rules, Schedule, When};
use common::secret::{Purpose, SecretId};
use futures::stream;
use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Statement};
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

/// The data of a server in a folder, which goes with it.
async fn opened(db: &Db) -> (tempfile::TempDir, Data) {
    let folder = tempfile::tempdir().unwrap();
    let options = data::Options {
        bucket: data::Bucket::Folder(folder.path().to_owned()),
        guard: Guard::new(false),
        public_url: "http://localhost".to_owned(),
        link_key: [8; 32],
    };
    let secrets = Secrets::new(db.clone(), [7; 32]);
    let quotas = Quotas::new(db.clone(), 1 << 30);
    let data = Data::open(options, db.clone(), secrets, quotas).await.unwrap();
    (folder, data)
}

#[tokio::test]
async fn results_are_kept_for_48_hours() {
    for fresh in databases().await {
        let db = &fresh.db;
        let (_folder, data) = opened(db).await;
        let (_, old) = ended(db, &data, TimeDelta::hours(49)).await;
        let (_, young) = ended(db, &data, TimeDelta::hours(47)).await;

        results(db, &data, clock::now()).await.unwrap();

        assert_eq!(data.size(&old).await.unwrap(), None, "{}", fresh.name);
        assert_eq!(data.size(&young).await.unwrap(), Some(6), "{}", fresh.name);
        let left = runs::ended_before(db, clock::now(), 10).await.unwrap();
        assert_eq!(left.len(), 1, "{}", fresh.name);
    }
}

/// A run that ended so long ago, of which a value and a resolution are stored.
async fn knowing(db: &Db, data: &Data, ago: TimeDelta) -> RunId {
    let (run, _) = ended(db, data, ago).await;
    let value = ValueRecord {
        run,
        seq: 0,
        name: "v".parse().unwrap(),
        within: None,
        item: None,
        value: "x".into(),
    };
    let resolution = (run, StageNo::new(1), Arc::new(Resolution::default()));
    let changes =
        Changes { values: vec![value], resolutions: vec![resolution], ..Changes::default() };
    commit_next(db, &changes, &[]).await.unwrap();
    run
}

/// Whose rows are in this table.
async fn in_table(db: &Db, table: &str) -> Vec<RunId> {
    let query = format!("SELECT run FROM {table} ORDER BY run");
    let query = Statement::from_string(db.get_database_backend(), query);
    let rows = db.query_all_raw(query).await.unwrap();
    rows.iter().map(|row| RunId::new(row.try_get("", "run").unwrap())).collect()
}

#[tokio::test]
async fn values_and_resolutions_are_kept_as_long_as_logs_and_results() {
    for fresh in databases().await {
        let db = &fresh.db;
        let (_folder, data) = opened(db).await;
        knowing(db, &data, TimeDelta::days(9)).await;
        let young = knowing(db, &data, TimeDelta::days(5)).await;
        let with_results = knowing(db, &data, TimeDelta::hours(47)).await;
        let purge = async |age| logs::purge(db, &data, clock::now(), age).await.unwrap();
        let left = async || [in_table(db, "run_values").await, in_table(db, "resolutions").await];

        purge(TimeDelta::days(7)).await;
        let mut both = vec![young, with_results];
        both.sort();
        assert_eq!(left().await, [both.clone(), both], "{}", fresh.name);
        // A retry goes on from what its run knew.
        purge(TimeDelta::zero()).await;

        assert_eq!(left().await, [vec![with_results], vec![with_results]], "{}", fresh.name);
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
