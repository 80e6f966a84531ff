//! Two writers share the tables, each with shards of its own.

use std::sync::Arc;

use chrono::TimeDelta;
use common::market::{Market, Policy};
use common::money::shard::Shard;
use common::run::task::StageNo;

use super::*;
use crate::clock;
use crate::store::market::commit::tests::{process, succeeded, sync, table};
use crate::store::money::booking_effects::Booked;
use crate::store::money::reconciliation::reconcile;
use crate::store::money::{releases, statement};
use crate::store::testing::{self, commit_next, databases, spec};
use crate::store::{load, nodes};

/// A workspace whose wallet is in another shard than those of the others.
fn elsewhere(others: &[WorkspaceId]) -> WorkspaceId {
    loop {
        let new = WorkspaceId::new(Uuid::now_v7());
        if others.iter().all(|other| Shard::of(*other) != Shard::of(new)) {
            return new;
        }
    }
}

#[tokio::test]
async fn balances_keep_transfers_from_writers_of_other_shards() {
    for fresh in databases().await {
        let db = &fresh.db;
        let customer = WorkspaceId::new(Uuid::now_v7());
        let operator = elsewhere(&[customer]);
        let token = nodes::issue_token(db, operator).await.unwrap();
        let node = nodes::join(db, "peer", &token).await.unwrap().unwrap();
        let mut market = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
        let gift = Credits::from_units(500_000_000).unwrap();
        market.grant(customer, gift, "gift", clock::now()).unwrap();
        market.grant(operator, gift, "gift", clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();
        let [mut paying, mut earning] = {
            let stored = [load(db).await.unwrap(), load(db).await.unwrap()];
            stored.map(|stored| Market::load(Policy::default(), stored, clock::now()))
        };

        // One writer has the customer's run and gives the operator what it has earned.
        let run = RunId::new(Uuid::now_v7());
        paying.start_run(run, Arc::new(spec(customer)), clock::now()).unwrap();
        paying.step_done(run, StageNo::new(1), Some(table(1)), clock::now());
        paying.sync(node, operator, sync(vec![]), clock::now());
        paying.dispatch(clock::now());
        let later = clock::now() + TimeDelta::seconds(10);
        paying.sync(node, operator, sync(vec![succeeded(process(run, 0))]), later);
        commit_next(db, &paying.drain(), &[]).await.unwrap();
        let earned = statement::balance(db, operator).await.unwrap().pending;
        assert!(!earned.is_zero(), "{}", fresh.name);
        let later = clock::now() + TimeDelta::hours(1);
        let due = releases::due(db, later).await.unwrap().unwrap();
        assert!(releases::is_open(db, &due).await.unwrap(), "{}", fresh.name);
        paying.release_earnings(&due.shares, later);
        let released = [Booked::Release(due.ranges.clone())];
        commit_next(db, &paying.drain(), &released).await.unwrap();
        assert!(!releases::is_open(db, &due).await.unwrap(), "{}", fresh.name);
        // The other has not heard of that, and spends of the same wallet.
        let own = RunId::new(Uuid::now_v7());
        earning.start_run(own, Arc::new(spec(operator)), clock::now()).unwrap();
        commit_next(db, &earning.drain(), &[]).await.unwrap();

        let found = reconcile(db).await.unwrap();
        let wrong: Vec<_> = found.checks.iter().filter(|(_, n)| *n != 0).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", fresh.name);
        let balance = statement::balance(db, operator).await.unwrap();
        assert!(!balance.held.is_zero(), "{}", fresh.name);
        assert_eq!(balance.total(), gift.checked_add(earned).unwrap(), "{}", fresh.name);
        assert_eq!(load(db).await.unwrap().ledger.check(), Ok(()), "{}", fresh.name);
    }
}

#[tokio::test]
async fn balance_reads_no_runs_whose_charges_have_lines() {
    let databases = databases().await;
    let db = &databases.first().unwrap().db;
    let steps = testing::steps(db, &balances(WorkspaceId::new(Uuid::now_v7()))).await;

    let of_runs: Vec<&str> = steps.lines().filter(|step| step.contains(" runs")).collect();
    assert!(matches!(of_runs[..], [step] if step.contains("runs_unbilled")), "{steps:?}");
}
