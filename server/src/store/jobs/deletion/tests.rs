use std::sync::Arc;

use chrono::TimeDelta;
use common::ids::RunId;
use common::market::{Market, Policy};
use common::money::credits::Credits;
use common::package::template::Template;
use common::run::spec::RunSpec;
use sea_orm::{ConnectionTrait as _, QueryTrait as _, Statement};

use super::*;
use crate::store::jobs::{self, Job, JobLocks, JobWork};
use crate::store::testing::{commit_next, databases, spec};
use crate::store::{Db, load};

const HOUR: u32 = 3_600;

/// A job with a run, that is deleted so many seconds after its end.
async fn job(db: &Db, market: &mut Market, secs: Option<u32>) -> (JobId, RunId) {
    let workspace = WorkspaceId::new(Uuid::now_v7());
    let (run, spec) = (RunId::new(Uuid::now_v7()), spec(workspace));
    let engine = || "passthrough".to_owned();
    let template = Template::of("app@1.0".to_owned(), engine(), engine());
    let job = Job {
        run: Some(run),
        auto_delete_secs: secs,
        ..Job::new(spec.job, workspace, JobWork::of(template))
    };
    assert!(jobs::insert(db, &job).await.unwrap());
    let now = clock::now();
    market.grant(workspace, Credits::from_units(500_000_000).unwrap(), "gift", now).unwrap();
    market.start_run(run, Arc::new(RunSpec { job: job.id, ..spec }), now).unwrap();
    commit_next(db, &market.drain(), &[]).await.unwrap();
    (job.id, run)
}

async fn end(db: &Db, market: &mut Market, run: RunId, at: DateTime<Utc>) {
    market.cancel(run, "enough".to_owned(), at).unwrap();
    commit_next(db, &market.drain(), &[]).await.unwrap();
}

async fn market(db: &Db) -> Market {
    Market::load(Policy::default(), load(db).await.unwrap(), clock::now())
}

async fn due(db: &Db, at: DateTime<Utc>) -> Vec<JobId> {
    let looked = look_for_deletion(db, at, 100).await.unwrap();
    assert!(!looked.is_full);
    looked.due.into_iter().map(|(_, job)| job).collect()
}

/// How many jobs a pass at this time would look at.
async fn looked_at(db: &Db, at: DateTime<Utc>) -> usize {
    to_look_at(micros(at), 100).all(db).await.unwrap().len()
}

#[tokio::test]
async fn deletion_looks_at_jobs_no_earlier_and_no_later_than_they_can_be_due() {
    for fresh in databases().await {
        let db = &fresh.db;
        let mut market = market(db).await;
        let (soon, first) = job(db, &mut market, Some(60)).await;
        let (later, second) = job(db, &mut market, Some(2 * HOUR)).await;
        let (running, third) = job(db, &mut market, Some(HOUR)).await;
        let (_, fourth) = job(db, &mut market, None).await;
        let start = clock::now();
        let at = |secs: i64| start + TimeDelta::seconds(secs);
        for run in [first, second, fourth] {
            end(db, &mut market, run, at(0)).await;
        }

        // All that have a time are looked at once, and then when it has come.
        assert_eq!((looked_at(db, at(1)).await, due(db, at(1)).await), (3, vec![]));
        assert_eq!(looked_at(db, at(59)).await, 0, "{}", fresh.name);
        assert_eq!(due(db, at(60)).await, [soon], "{}", fresh.name);
        end(db, &mut market, third, at(1800)).await;
        // One that was not deleted all the same is not in the way, and is looked at again.
        assert_eq!(looked_at(db, at(61)).await, 0, "{}", fresh.name);
        assert_eq!(due(db, at(1700)).await, [soon], "{}", fresh.name);
        let lock = JobLocks::new().lock(soon).await;
        delete_ended(db, &lock, owner_of(db, soon).await).await.unwrap();

        assert_eq!(due(db, at(1800 + 3599)).await, Vec::<JobId>::new(), "{}", fresh.name);
        assert_eq!(due(db, at(1800 + 3600)).await, [running], "{}", fresh.name);
        let lock = JobLocks::new().lock(running).await;
        delete_ended(db, &lock, owner_of(db, running).await).await.unwrap();
        assert_eq!(due(db, at(2 * 3600)).await, [later], "{}", fresh.name);
    }
}

async fn owner_of(db: &Db, id: JobId) -> WorkspaceId {
    let found = row::Entity::find_by_id(id.uuid()).one(db).await.unwrap().unwrap();
    WorkspaceId::new(found.workspace)
}

#[tokio::test]
async fn deletion_finds_what_it_looks_at_in_an_index() {
    for fresh in databases().await {
        let backend = fresh.db.get_database_backend();
        let query = to_look_at(micros(clock::now()), 100).build(backend).to_string();
        let tx = fresh.db.begin_with_options(Default::default()).await.unwrap();
        let explain = match fresh.name {
            "postgres" => {
                // A table without rows would be read as a whole.
                tx.execute_unprepared("SET LOCAL enable_seqscan = off").await.unwrap();
                "EXPLAIN"
            }
            _ => "EXPLAIN QUERY PLAN",
        };

        let explained = Statement::from_string(backend, format!("{explain} {query}"));
        let rows = tx.query_all_raw(explained).await.unwrap();

        let column = if fresh.name == "postgres" { "QUERY PLAN" } else { "detail" };
        let lines: Vec<String> = rows.iter().map(|row| row.try_get("", column).unwrap()).collect();
        let plan = lines.join("\n");
        assert!(plan.contains("jobs_looked_at"), "{}: {plan}", fresh.name);
        assert!(!plan.contains("SCAN") && !plan.to_lowercase().contains("sort"), "{plan}");
    }
}
