//! Databases for tests: SQLite always, PostgreSQL too where `FANFOLD_TEST_POSTGRES` names a
//! server on which databases may be made.

use std::fmt::Debug;

use common::data::location::{Destination, Source};
use common::ids::{JobId, WorkspaceId};
use common::package::template::Template;
use common::plan::Pipeline;
use common::run::spec::RunSpec;
use sea_orm::{ConnectionTrait as _, Database, DbBackend, QueryTrait, Statement, Values};
use uuid::Uuid;

use super::jobs::{self, Job, JobWork};
use super::market::commit::BatchJobs;
use super::market::runs::{self, RunView};
use super::query::selection::{Field, Found, Rest, Selection, Start};
use super::{Db, open};

/// An empty database of its own, with what keeps it.
pub struct Fresh {
    pub name: &'static str,
    pub db: Db,
    _folder: Option<tempfile::TempDir>,
}

/// One fresh database of each kind there is.
pub async fn databases() -> Vec<Fresh> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.sqlite").display());
    let sqlite = Fresh { name: "sqlite", db: open(&url).await.unwrap(), _folder: Some(folder) };
    match std::env::var("FANFOLD_TEST_POSTGRES") {
        Ok(server) => vec![sqlite, postgres(&server).await],
        Err(_) => {
            println!("skipped on PostgreSQL: FANFOLD_TEST_POSTGRES is not set");
            vec![sqlite]
        }
    }
}

async fn postgres(server: &str) -> Fresh {
    let db = open(&empty_postgres(server).await).await.unwrap();
    Fresh { name: "postgres", db, _folder: None }
}

/// Makes a database without a table; gives its URL.
pub async fn empty_postgres(server: &str) -> String {
    let admin = Database::connect(server).await.unwrap();
    let name = format!("fanfold_{}", Uuid::now_v7().simple());
    let create = Statement::from_string(DbBackend::Postgres, format!("CREATE DATABASE {name}"));
    admin.execute_raw(create).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

/// Reads a list of `total` rows in each of its orders, at once by offset and in pages of one by
/// place: both must give the same.
pub async fn every_order_is_led_through<F, T>(
    total: u64,
    list: impl AsyncFn(Selection<F>) -> Found<T>,
) where
    F: Field + Debug,
    T: PartialEq + Debug,
{
    for (field, descending) in F::ALL.iter().flat_map(|field| [(*field, false), (*field, true)]) {
        let selection = Selection {
            tests: Vec::new(),
            order: vec![(field, descending)],
            start: Start::Offset(0),
            limit: total + 1,
        };
        let all = list(selection.clone()).await;
        assert_eq!(all.rest, Rest::Total(total));

        let (mut walked, mut start) = (Vec::new(), Start::Place(None));
        for page in 1..=total {
            let part = list(Selection { start, limit: 1, ..selection.clone() }).await;
            let Rest::After(next) = part.rest else { panic!("{field:?}: {:?}", part.rest) };
            assert_eq!(next.is_some(), page < total, "{field:?}");
            walked.extend(part.rows);
            start = Start::Place(next);
        }
        assert_eq!(walked, all.rows, "{field:?} {descending}");
    }
}

/// How SQLite would find a query's rows, with its values bound as they always are.
pub async fn steps(db: &Db, query: &impl QueryTrait) -> String {
    let query = query.build(DbBackend::Sqlite);
    let sql = format!("EXPLAIN QUERY PLAN {}", query.sql);
    let values = query.values.unwrap_or(Values(Vec::new()));
    let explain = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
    let rows = db.query_all_raw(explain).await.unwrap();
    let steps = rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap());
    steps.collect::<Vec<_>>().join("\n")
}

/// A run of a template. What the server's steps do is left to the caller.
pub fn spec(workspace: WorkspaceId) -> RunSpec {
    let spec = common::testing::order(workspace, &common::testing::pipeline());
    RunSpec { job: JobId::new(Uuid::now_v7()), template: "t".to_owned(), ..spec }
}

/// A draft that is stored, and a run of it that reads and delivers nothing.
pub async fn draft(db: &Db, workspace: WorkspaceId) -> RunSpec {
    let (source, destination) = (Source::Bypass, Destination::Bypass);
    let pipeline = Pipeline { source, destination, ..common::testing::pipeline() };
    let spec = RunSpec { plan: pipeline.plan(), ..spec(workspace) };
    let engine = || "passthrough".to_owned();
    let template = Template::of("app@1.0".to_owned(), engine(), engine());
    assert!(jobs::insert(db, &Job::new(spec.job, workspace, JobWork::of(template))).await.unwrap());
    spec
}

/// The runs of a job, the newest first.
pub async fn runs_of(db: &Db, workspace: WorkspaceId, job: JobId) -> Vec<RunView> {
    runs::of_job(db, workspace, job, None, 100).await.unwrap()
}

/// Stores the changes as the next batch.
pub async fn commit_next(
    db: &Db,
    changes: &common::market::Changes,
    booked: &[super::money::booking_effects::Booked],
) -> Result<(), super::Error> {
    let number = super::market::batch_number::last(db).await? + 1;
    super::market::commit::commit(db, number, changes, booked, &BatchJobs::default()).await
}

/// Counts a batch of which nothing is stored.
pub async fn count_batch(db: &Db) {
    let number = super::market::batch_number::last(db).await.unwrap() + 1;
    let advanced = super::market::batch_number::advance(number).exec(db).await.unwrap();
    assert_eq!(advanced.rows_affected, 1);
}
