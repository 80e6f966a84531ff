use std::sync::Arc;

use common::ids::WorkspaceId;
use common::market::{Changes, Market, Policy};
use common::money::credits::Credits;
use common::run::spec::RunSpec;
use sea_orm::DbErr;
use uuid::Uuid;

use super::*;
use crate::store::Db;
use crate::store::jobs::{self, Change, JobLocks};
use crate::store::load;
use crate::store::market::commit::{self, BatchJobs};
use crate::store::market::{batch_number, runs};
use crate::store::money::booking_effects::Booked;
use crate::store::testing::{commit_next, databases, draft};

/// A start that the market has accepted, and that is not stored.
struct Start {
    spec: RunSpec,
    run: RunId,
    changes: Changes,
    started: StartedJob,
}

async fn accepted(db: &Db) -> Start {
    let workspace = WorkspaceId::new(Uuid::now_v7());
    let mut market = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
    market
        .grant(workspace, Credits::from_units(500_000_000).unwrap(), "gift", clock::now())
        .unwrap();
    let gift = [Booked::Grant(workspace.to_string())];
    commit_next(db, &market.drain(), &gift).await.unwrap();
    let spec = draft(db, workspace).await;
    let job = jobs::find(db, workspace, spec.job).await.unwrap().unwrap();
    let how = StartAs::Only(JobConfig::default());
    let run = how.run(job.id);
    market.start_run(run, Arc::new(spec.clone()), clock::now()).unwrap();
    let started = job.started(how).unwrap();
    Start { spec, run, changes: market.drain(), started }
}

impl Start {
    async fn commit(&self, db: &Db, number: i64) -> Result<(), DbErr> {
        let started = vec![self.started.clone()];
        let jobs = BatchJobs { started, ..BatchJobs::default() };
        commit::commit(db, number, &self.changes, &[], &jobs).await
    }

    async fn job(&self, db: &Db) -> Option<Job> {
        jobs::find(db, self.spec.workspace, self.spec.job).await.unwrap()
    }

    async fn has_run(&self, db: &Db) -> bool {
        let found = runs::find(db, self.spec.workspace, self.run).await.unwrap();
        let stored = load(db).await.unwrap();
        assert_eq!(stored.runs.iter().any(|run| run.id == self.run), found.is_some());
        let market = Market::load(Policy::default(), stored, clock::now());
        assert_eq!(market.check(), Ok(()));
        found.is_some()
    }
}

#[tokio::test]
async fn start_is_stored_completely_or_not_at_all_wherever_it_is_cut_off() {
    let fresh = databases().await.swap_remove(0);
    let db = &fresh.db;
    let start = accepted(db).await;
    let next = batch_number::last(db).await.unwrap() + 1;
    let before = start.job(db).await;
    for table in ["jobs", "plans", "runs", "stages", "transfers", "accounts"] {
        // A name of its own: a pooled connection refuses one that another has dropped.
        let cut = format!(
            "CREATE TRIGGER cut_{table} BEFORE INSERT ON {table} \
             BEGIN SELECT RAISE(ABORT, 'cut'); END"
        );
        db.execute_unprepared(&cut).await.unwrap();

        let refused = start.commit(db, next).await;

        assert!(refused.is_err(), "{table}");
        assert_eq!((start.job(db).await, start.has_run(db).await), (before.clone(), false));
        db.execute_unprepared(&format!("DROP TRIGGER cut_{table}")).await.unwrap();
    }
    start.commit(db, next).await.unwrap();
    assert_eq!(start.job(db).await.unwrap().run, Some(start.run));
    assert!(start.has_run(db).await);
}

#[tokio::test]
async fn start_that_is_stored_again_changes_nothing() {
    for fresh in databases().await {
        let db = &fresh.db;
        let start = accepted(db).await;
        let next = batch_number::last(db).await.unwrap() + 1;
        start.commit(db, next).await.unwrap();
        let stored = start.job(db).await;

        // The answer to the first was lost.
        let again = start.commit(db, next).await;

        assert_eq!(again, Err(DbErr::RecordNotUpdated), "{}", fresh.name);
        assert_eq!(start.job(db).await, stored);
        assert!(start.has_run(db).await);
        assert_eq!(load(db).await.unwrap().runs.len(), 1);
    }
}

#[tokio::test]
async fn start_uses_what_it_has_read_where_a_change_was_never_acknowledged() {
    for fresh in databases().await {
        let db = &fresh.db;
        for late in ["change", "deletion", "removal"] {
            let start = accepted(db).await;
            let (before, owner) = (start.job(db).await.unwrap(), start.spec.workspace);
            let lock = JobLocks::new().lock(start.spec.job).await;
            let done = match late {
                "change" => {
                    let changes = vec![Change::Description("late".to_owned())];
                    jobs::change(db, &lock, owner, changes).await
                }
                "deletion" => jobs::delete_draft(db, &lock, owner).await,
                _ => jobs::forget_draft(db, &lock, owner).await,
            };
            assert_eq!(done, Ok(true), "{late}");

            let next = batch_number::last(db).await.unwrap() + 1;
            start.commit(db, next).await.unwrap();

            let job = start.job(db).await.unwrap();
            let (submitted_at, updated_at) = (job.submitted_at, job.updated_at);
            let expected = Job { run: Some(start.run), submitted_at, updated_at, ..before };
            assert_eq!(job, expected, "{late}");
            assert!(start.has_run(db).await, "{late}");
        }
    }
}

#[tokio::test]
async fn job_whose_run_cannot_be_read_is_no_draft() {
    let fresh = databases().await.swap_remove(0);
    let db = &fresh.db;
    let start = accepted(db).await;
    let next = batch_number::last(db).await.unwrap() + 1;
    start.commit(db, next).await.unwrap();
    let (owner, job) = (start.spec.workspace, start.spec.job);
    // Once with a text that is made, and once with the kept one.
    for _ in 0..2 {
        let (_, run) = jobs::find_with_run(db, owner, job).await.unwrap().unwrap();
        assert_eq!(run.map(|run| run.id), Some(start.run));
    }

    db.execute_unprepared("UPDATE runs SET state = 70000").await.unwrap();

    assert!(jobs::find_with_run(db, owner, job).await.is_err());
    assert!(jobs::find_with_run(db, WorkspaceId::new(job.uuid()), job).await.unwrap().is_none());
}
