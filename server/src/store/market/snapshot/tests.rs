//! One row that cannot be read costs its own run, and nothing else.

use common::market::{Market, Policy};
use common::run::RunState;
use sea_orm::Statement;
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::store::Db;
use crate::store::check;
use crate::store::market::commit::tests::half_done;
use crate::store::money::reconciliation::reconcile;
use crate::store::testing::{self, commit_next, databases};

/// A database with a run at work, and another of the same workspace that waits.
struct Two {
    workspace: WorkspaceId,
    broken: RunId,
    other: RunId,
}

async fn two_runs(db: &Db) -> Two {
    let workspace = WorkspaceId::new(Uuid::now_v7());
    let (broken, other) = (RunId::new(Uuid::now_v7()), RunId::new(Uuid::now_v7()));
    let (mut market, _) = half_done(db, workspace, broken).await;
    market.start_run(other, testing::spec(workspace).into(), clock::now()).unwrap();
    commit_next(db, &market.drain(), &[]).await.unwrap();
    Two { workspace, broken, other }
}

async fn run_sql(db: &Db, sql: &str) {
    let statement = Statement::from_string(db.get_database_backend(), sql.to_owned());
    db.execute_raw(statement).await.unwrap();
}

async fn sum_of_books(db: &Db, name: &str) {
    for (claim, wrong) in reconcile(db).await.unwrap().checks {
        assert_eq!(wrong, 0, "{name}: {claim}");
    }
}

/// Breaks the first run by a statement, starts again, and looks at what goes on.
async fn goes_on_without_it(sql: &str) {
    for fresh in databases().await {
        let (db, name) = (&fresh.db, format!("{} after {sql:.60}", fresh.name));
        let Two { workspace, broken, other } = two_runs(db).await;
        run_sql(db, sql).await;
        assert!(!check(db).await.unwrap().is_empty() || sql.contains("held"), "{name}");

        let stored = load(db).await.unwrap();
        let unreadable = stored.unreadable.clone();
        let mut market = Market::load(Policy::default(), stored, clock::now());
        market.check().unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();

        assert_eq!(unreadable.iter().map(|run| run.run).collect::<Vec<_>>(), [broken], "{name}");
        assert_eq!(market.runs().map(|run| run.id).collect::<Vec<_>>(), [other], "{name}");
        let view = runs::find(db, workspace, broken).await.unwrap().unwrap();
        assert_eq!(view.state, RunState::Failed, "{name}");
        assert!(view.error().unwrap().contains("run the job again"), "{name}");
        assert!(!view.price.is_zero(), "{name}: what was accepted stays paid");
        sum_of_books(db, &name).await;
        // It is over: the next start finds nothing to set aside.
        let again = load(db).await.unwrap();
        assert_eq!((again.unreadable.len(), again.runs.len()), (0, 1), "{name}");
    }
}

#[tokio::test]
async fn plan_or_stage_that_cannot_be_read_ends_its_run_alone() {
    goes_on_without_it("UPDATE runs SET plan = 'none' WHERE done > 0").await;
    goes_on_without_it("UPDATE runs SET terms = '{' WHERE done > 0").await;
    goes_on_without_it("UPDATE stages SET cursor = SUBSTR(cursor, 1, 1) WHERE no = 2").await;
}

#[tokio::test]
async fn state_or_count_that_is_invalid_ends_its_run_alone() {
    goes_on_without_it("UPDATE runs SET state = 'melting' WHERE done > 0").await;
    goes_on_without_it("UPDATE runs SET times = '{' WHERE done > 0").await;
    goes_on_without_it("UPDATE runs SET total = -1 WHERE done > 0").await;
}

#[tokio::test]
async fn hold_that_the_ledger_does_not_know_ends_its_run_alone() {
    goes_on_without_it("UPDATE runs SET held = held + 7 WHERE done > 0").await;
    goes_on_without_it("UPDATE runs SET held = -1 WHERE done > 0").await;
}

#[tokio::test]
async fn chunk_table_or_task_that_cannot_be_read_ends_its_run_alone() {
    goes_on_without_it("UPDATE chunk_tables SET chunks = SUBSTR(chunks, 1, 3)").await;
    goes_on_without_it("UPDATE tasks SET state = 77 WHERE ended_us IS NULL").await;
}

#[tokio::test]
async fn statement_end_that_cannot_be_read_is_found_by_its_lines() {
    for fresh in databases().await {
        let db = &fresh.db;
        let two = two_runs(db).await;
        let before = load(db).await.unwrap().statements;
        run_sql(db, "UPDATE statements SET hash = 'none'").await;

        let after = load(db).await.unwrap();

        assert_eq!(after.statements, before, "{}", fresh.name);
        assert!(before.contains_key(&two.workspace) && after.unreadable.is_empty());
        assert_eq!(check(db).await.unwrap()[0].table, "statements");
    }
}

#[tokio::test]
async fn snapshot_loads_more_runs_than_a_statement_takes_values() {
    for fresh in databases().await {
        let db = &fresh.db;
        let workspace = WorkspaceId::new(Uuid::now_v7());
        let mut market = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
        let gift = Credits::from_units(1_000_000_000_000).unwrap();
        market.grant(workspace, gift, "gift", clock::now()).unwrap();
        let spec = std::sync::Arc::new(testing::spec(workspace));
        for _ in 0..70_000 {
            let run = RunId::new(Uuid::now_v7());
            market.start_run(run, spec.clone(), clock::now()).unwrap();
        }
        commit_next(db, &market.drain(), &[]).await.unwrap();

        assert_eq!(load(db).await.unwrap().runs.len(), 70_000, "{}", fresh.name);
    }
}

#[tokio::test]
async fn start_reads_what_is_open_and_no_row_that_has_ended() {
    let databases = databases().await;
    let db = &databases.first().unwrap().db;

    let of_runs = testing::steps(db, &runs::record::open()).await;
    let of_tasks = testing::steps(db, &tasks::open()).await;

    for (steps, index) in [(of_runs, "runs_open"), (of_tasks, "tasks_open")] {
        assert!(!steps.contains("SCAN"), "{steps}");
        assert!(steps.contains(&format!("USING INDEX {index}")), "{steps}");
    }
}
