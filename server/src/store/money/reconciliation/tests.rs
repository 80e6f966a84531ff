//! Every way that money moves, on every database: the books are right, and what is changed behind
//! their back is found.

use std::sync::Arc;

use chrono::TimeDelta;
use common::compute::resources::Usage;
use common::digest::Digest;
use common::ids::{NodeId, RedemptionId, RequestId, RunId, UserId, WorkspaceId};
use common::market::{Cause, Checks, Market, Movement, Policy};
use common::money::credits::Credits;
use common::money::currency::Terms;
use common::money::wallet_request::{PayoutState, State, TopUpState};
use common::protocol::{Orders, Outcome, Output};
use common::run::cause::{self, CauseKind};
use common::run::task::StageNo;
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::store::load;
use crate::store::market::commit::tests::{half_done, process, succeeded, sync, table};
use crate::store::market::runs;
use crate::store::money::booking_effects::Booked;
use crate::store::money::coupons;
use crate::store::money::coupons::{Coupon, Redemption};
use crate::store::money::usage;
use crate::store::money::usage::Month;
use crate::store::money::wallet_requests;
use crate::store::money::wallet_requests::{Request, Step, Whose};
use crate::store::money::{ledger, releases, statement};
use crate::store::nodes;
use crate::store::testing::{commit_next, databases, spec};

fn request<S: State>(owner: WorkspaceId, amount: Credits, state: S) -> Request<S> {
    let (currency, rate) = ("USD".parse().unwrap(), "0.03311".parse().unwrap());
    let terms = Terms { amount, currency, money: "1.50".parse().unwrap(), rate };
    let (id, asker) = (RequestId::new(Uuid::now_v7()), UserId::new(Uuid::now_v7()));
    Request::new(id, owner, asker, terms, state, clock::now())
}

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// Moves credits and stores them, as the coordinator does.
async fn book(
    db: &Db,
    market: &mut Market,
    owner: WorkspaceId,
    amount: Credits,
    cause: Cause,
    booked: Booked,
) -> Result<(), DbErr> {
    market.book(Movement { owner, amount, cause }, clock::now()).unwrap();
    commit_next(db, &market.drain(), &[booked]).await
}

async fn redeem(db: &Db, market: &mut Market, by: WorkspaceId, hash: Digest) -> Result<(), DbErr> {
    let id = RedemptionId::new(Uuid::now_v7());
    let (amount, at) = (credits("10"), clock::now());
    let redemption = Redemption { id, coupon: hash, workspace: by, amount, at };
    let cause = Cause::Coupon(id, "CODE".to_owned());
    book(db, market, by, amount, cause, Booked::Redemption(redemption)).await
}

async fn step_payout(
    db: &Db,
    market: &mut Market,
    request: &Request<PayoutState>,
    way: [PayoutState; 2],
    cause: Cause,
) -> Result<(), DbErr> {
    let [from, to] = way;
    let step = Step { id: request.id, from, to, note: "a\0b".to_owned(), at: clock::now() };
    let amount = request.terms.amount;
    book(db, market, request.workspace, amount, cause, Booked::PayoutStep(step)).await
}

#[tokio::test]
async fn books_add_up_while_results_are_delivered_again() {
    for fresh in databases().await {
        let (db, owner) = (&fresh.db, WorkspaceId::new(Uuid::now_v7()));
        let run = RunId::new(Uuid::now_v7());
        let (mut market, node) = half_done(db, owner, run).await;
        for index in [1, 2] {
            let receipts = vec![succeeded(process(run, index))];
            market.sync(node, owner, sync(receipts), clock::now());
            market.dispatch(clock::now());
        }
        let cause = cause::Cause::new(CauseKind::Destination, "refused");
        market.break_off(run, cause, clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();
        let lines = statement::lines_after(db, None, 100).await.unwrap().len();

        let failed = runs::ended(db, run).await.unwrap().unwrap();
        market.deliver_again(failed, clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();

        assert_eq!(differences(db).await, 0, "{}", fresh.name);
        assert_eq!(ledger::of_workspace(db, owner).await.unwrap().1, 0, "it has its line");
        // A restart goes on with it.
        let mut market = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
        market.step_done(run, StageNo::new(4), None, clock::now());
        commit_next(db, &market.drain(), &[]).await.unwrap();
        assert_eq!(differences(db).await, 0, "{}", fresh.name);
        let after = statement::lines_after(db, None, 100).await.unwrap().len();
        assert_eq!(after, lines, "{}", fresh.name);
        assert!(runs::ended(db, run).await.unwrap().is_some());
        runs::purge::set_purged(db, run).await.unwrap();
        assert!(runs::ended(db, run).await.unwrap().is_none(), "its data is gone");
    }
}

async fn differences(db: &Db) -> u64 {
    reconcile(db).await.unwrap().checks.iter().map(|(_, wrong)| wrong).sum()
}

#[tokio::test]
async fn books_of_every_kind_of_movement_add_up() {
    for fresh in databases().await {
        let (db, owner) = (&fresh.db, WorkspaceId::new(Uuid::now_v7()));
        let run = RunId::new(Uuid::now_v7());
        let (mut market, _) = half_done(db, owner, run).await;
        let spent = market.run(run).unwrap().captured();
        market.cancel(run, "enough".to_owned(), clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();

        // A coupon and a top-up.
        let hash = coupons::hash("some-code");
        let (amount, created_at) = (credits("10"), clock::now());
        let coupon = Coupon { hash, amount, uses: 0, uses_max: 1, expires_at: None, created_at };
        assert!(coupons::create(db, &coupon).await.unwrap(), "{}", fresh.name);
        assert!(!coupons::create(db, &coupon).await.unwrap(), "{}", fresh.name);
        redeem(db, &mut market, owner, hash).await.unwrap();
        let top_up = request(owner, credits("200"), TopUpState::New);
        assert!(wallet_requests::insert(db, &top_up).await.unwrap());
        assert!(!wallet_requests::insert(db, &top_up).await.unwrap());
        let step = Step {
            id: top_up.id,
            from: TopUpState::New,
            to: TopUpState::Confirmed,
            note: String::new(),
            at: clock::now(),
        };
        let cause = Cause::TopUp(top_up.id, top_up.terms);
        book(db, &mut market, owner, credits("200"), cause, Booked::TopUpStep(step)).await.unwrap();

        // What was earned comes in once, and goes out.
        let due = releases::due(db, clock::now() + TimeDelta::hours(1)).await.unwrap();
        let due = due.unwrap();
        let [share] = due.shares[..] else { panic!("{}: {:?}", fresh.name, due.shares) };
        assert_eq!((share.operator, share.earned.amount), (owner, spent), "{}", fresh.name);
        assert_eq!((share.earned.tasks, share.earned.jobs), (1, 1), "{}", fresh.name);
        assert_eq!(releases::due(db, due_before()).await.unwrap(), None);
        market.release_earnings(&due.shares, clock::now());
        commit_next(db, &market.drain(), &[Booked::Release(due.ranges)]).await.unwrap();
        assert_eq!(statement::earned(db, owner).await.unwrap(), spent);
        let payout = request(owner, spent, PayoutState::New);
        let (id, terms) = (payout.id, payout.terms);
        let cause = Cause::Payout(id, terms);
        book(db, &mut market, owner, spent, cause, Booked::Payout(payout.clone())).await.unwrap();
        assert_eq!(statement::earned(db, owner).await.unwrap(), Credits::ZERO);
        let way = [PayoutState::New, PayoutState::Failed];
        step_payout(db, &mut market, &payout, way, Cause::Return(id, terms)).await.unwrap();

        let found = reconcile(db).await.unwrap();
        let wrong: Vec<_> = found.checks.iter().filter(|(_, n)| *n != 0).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", fresh.name);
        let (list, total) =
            wallet_requests::list::<PayoutState>(db, Whose::Own(owner), &[], 0, 10).await.unwrap();
        assert_eq!((total, list[0].state), (1, PayoutState::Failed));
        assert_eq!(list[0].terms, terms);
        used_as_much(db, owner, spent, fresh.name).await;

        // Somebody changes the tables by hand.
        for sql in [
            "UPDATE accounts SET units = units + 1 WHERE kind = 1",
            "UPDATE statement_lines SET credit = credit + 1 WHERE kind = 2",
            "UPDATE requests SET state = 'NEW' WHERE kind = 'top_up'",
            "UPDATE coupons SET uses = 0",
            "UPDATE statement_lines SET description = 'another' WHERE number = 3",
            "UPDATE statement_lines SET balance = balance + 1 WHERE number = 2",
            "UPDATE statements SET balance = balance - 1",
            "DELETE FROM statement_lines WHERE number = 6",
            "UPDATE transfers SET number = number + 1000 WHERE kind = 'coupon'",
        ] {
            let before: u64 = reconcile(db).await.unwrap().checks.iter().map(|(_, n)| n).sum();
            db.execute_unprepared(sql).await.unwrap();
            let after: u64 = reconcile(db).await.unwrap().checks.iter().map(|(_, n)| n).sum();
            assert!(after > before, "{}: {sql}", fresh.name);
        }
    }
}

fn due_before() -> chrono::DateTime<chrono::Utc> {
    clock::now() - TimeDelta::hours(1)
}

/// The month's sums say what the run's one accepted task used and cost.
async fn used_as_much(db: &Db, owner: WorkspaceId, spent: Credits, name: &str) {
    let month = Month::of(clock::now());
    let rows = usage::by_month(db, owner, month.minus(1), month).await.unwrap();
    let stranger = WorkspaceId::new(Uuid::now_v7());

    let [row] = rows.as_slice() else { panic!("{name}: {rows:?}") };
    assert_eq!((row.template.as_str(), row.jobs, row.tasks), ("t", 1, 1), "{name}");
    assert_eq!((row.cpu_ms, row.memory_mib_ms, row.amount), (100, 100_000, spent), "{name}");
    assert_eq!(usage::by_month(db, stranger, month.minus(1), month).await.unwrap(), []);
}

#[tokio::test]
async fn database_refuses_a_second_step_of_one_request() {
    for fresh in databases().await {
        let (db, owner) = (&fresh.db, WorkspaceId::new(Uuid::now_v7()));
        let (mut market, _) = half_done(db, owner, RunId::new(Uuid::now_v7())).await;
        let top_up = request(owner, credits("200"), TopUpState::New);
        wallet_requests::insert(db, &top_up).await.unwrap();
        let confirm = |from| {
            let (to, at) = (TopUpState::Confirmed, clock::now());
            Booked::TopUpStep(Step { id: top_up.id, from, to, note: String::new(), at })
        };
        let cause = || Cause::TopUp(top_up.id, top_up.terms);
        let amount = credits("200");

        let first = book(db, &mut market, owner, amount, cause(), confirm(TopUpState::New));
        first.await.unwrap();
        let moved_on = book(db, &mut market, owner, amount, cause(), confirm(TopUpState::New));
        assert!(moved_on.await.is_err(), "{}", fresh.name);
        let same = book(db, &mut market, owner, amount, cause(), confirm(TopUpState::Confirmed));
        assert!(same.await.is_err(), "{}", fresh.name);
        let used_up = redeem(db, &mut market, owner, coupons::hash("no such coupon")).await;
        assert!(used_up.is_err(), "{}", fresh.name);
    }
}

async fn join(db: &Db, operator: WorkspaceId, peer: &str) -> NodeId {
    let token = nodes::issue_token(db, operator).await.unwrap();
    nodes::join(db, peer, &token).await.unwrap().unwrap()
}

/// The node does the task that it has, with this result.
fn does(market: &mut Market, node: NodeId, operator: WorkspaceId, result: &str, secs: i64) {
    let now = clock::now() + TimeDelta::seconds(secs);
    let Some(Orders::Work { assign, .. }) = market.orders(node, vec![]) else { panic!("no task") };
    let lease = assign[0].lease;
    let digest = Digest::of(result.as_bytes());
    let outputs = vec![Output { name: "out".to_owned(), size: 1, digest }];
    let usage = Usage { cpu_ms: 1000, memory_mib_ms: 1000, wall_ms: 1000, ..Usage::default() };
    let receipt =
        common::testing::receipt(lease, Outcome::Succeeded { outputs, value: None }, usage);
    market.sync(node, operator, sync(vec![receipt]), now);
    market.dispatch(now);
}

#[tokio::test]
async fn earnings_by_false_results_are_taken_back_and_never_given() {
    for fresh in databases().await {
        let db = &fresh.db;
        let [owner, liar] = [(); 2].map(|()| WorkspaceId::new(Uuid::now_v7()));
        let rogue = join(db, liar, "rogue").await;
        let honest = [join(db, owner, "one").await, join(db, owner, "two").await];
        let checks = Checks { percent: 100, key: [1; 32] };
        let policy = Policy { checks, ..Policy::default() };
        let mut market = Market::load(policy, load(db).await.unwrap(), clock::now());
        market.trust(owner);
        market.grant(owner, credits("10"), "gift", clock::now()).unwrap();
        let run = RunId::new(Uuid::now_v7());
        market.start_run(run, Arc::new(spec(owner)), clock::now()).unwrap();
        market.step_done(run, StageNo::new(1), Some(table(9)), clock::now());
        let nodes =
            [(rogue, liar, "lie"), (honest[0], owner, "truth"), (honest[1], owner, "truth")];
        for (node, operator, _) in nodes {
            market.sync(node, operator, sync(vec![]), clock::now());
            market.dispatch(clock::now());
        }
        does(&mut market, rogue, liar, "lie", 2);
        let gift = Booked::Grant("gift".to_owned());
        commit_next(db, &market.drain(), &[gift]).await.unwrap();
        let later = clock::now() + TimeDelta::hours(1);
        let due = releases::due(db, later).await.unwrap().unwrap();
        assert_eq!(due.shares.len(), 1, "{}", fresh.name);
        for secs in 3..20 {
            market.tick(clock::now() + TimeDelta::seconds(secs));
            for (node, operator, result) in nodes {
                if market.node(node).is_some_and(|node| node.leased() > 0) {
                    does(&mut market, node, operator, result, secs);
                }
            }
        }
        market.cancel(run, "enough".to_owned(), clock::now()).unwrap();
        commit_next(db, &market.drain(), &[]).await.unwrap();

        let due = releases::due(db, later).await.unwrap().unwrap();
        let paid: Vec<_> = due.shares.iter().map(|share| share.operator).collect();
        assert_eq!(paid, [owner], "{}", fresh.name);
        let found = reconcile(db).await.unwrap();
        let wrong: Vec<_> = found.checks.iter().filter(|(_, n)| *n != 0).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", fresh.name);
        let stored = load(db).await.unwrap();
        assert!(stored.records[&liar].barred_until.is_some(), "{}", fresh.name);
    }
}
