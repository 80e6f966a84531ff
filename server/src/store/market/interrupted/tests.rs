use common::ids::{NodeId, WorkspaceId};
use common::market::{Market, Policy, TaskState};
use common::run::RunState;
use common::run::cause::{Cause, CauseKind};
use common::testing::PROCESS;
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::store::market::commit::tests::{half_done, sync};
use crate::store::money::reconciliation::reconcile;
use crate::store::testing::{commit_next, databases};
use crate::store::{Db, load};

async fn differences(db: &Db) -> u64 {
    reconcile(db).await.unwrap().checks.iter().map(|(_, wrong)| wrong).sum()
}

async fn dispatched(db: &Db, market: &mut Market, node: NodeId, owner: WorkspaceId) {
    market.sync(node, owner, sync(vec![]), clock::now());
    market.dispatch(clock::now());
    commit_next(db, &market.drain(), &[]).await.unwrap();
}

#[tokio::test]
async fn run_goes_on_where_it_ended_over_a_restart_and_the_books_add_up() {
    for fresh in databases().await {
        let (db, owner) = (&fresh.db, WorkspaceId::new(Uuid::now_v7()));
        let run = RunId::new(Uuid::now_v7());
        let (mut market, node) = half_done(db, owner, run).await;
        market.break_off(run, Cause::new(CauseKind::Timeout, "too late"), clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();
        let failed = runs::find(db, owner, run).await.unwrap().unwrap();
        assert_eq!(failed.state, RunState::Failed, "{}", fresh.name);

        let all = find(db, run).await.unwrap().unwrap();
        market.retry(all, clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();

        assert_eq!(differences(db).await, 0, "{}", fresh.name);
        let mut market = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
        assert_eq!(market.check(), Ok(()), "{}", fresh.name);
        assert_eq!(market.run(run).unwrap().progress().chunks_done, 1);
        dispatched(db, &mut market, node, owner).await;
        let stored = tasks::find(db, run, PROCESS, None, 10).await.unwrap();
        let now = |n: usize| (stored[n].state, stored[n].lease.attempt);
        assert_eq!(now(0), (TaskState::Done, 1), "{}", fresh.name);
        assert_eq!(now(1), (TaskState::Leased, 2), "{}", fresh.name);
        market.cancel(run, "enough".to_owned(), clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();
        assert_eq!(differences(db).await, 0, "{}", fresh.name);
        runs::purge::set_purged(db, run).await.unwrap();
        assert!(find(db, run).await.unwrap().is_none(), "its data is gone");
    }
}
