//! Every way that money moves, on every database: the books are right, and what is changed behind
//! their back is found.

use common::credits::Credits;
use common::digest::Digest;
use common::exchange::Terms;
use common::ids::{RedemptionId, RequestId, RunId, UserId, WorkspaceId};
use common::market::{Cause, Market, Movement};
use common::wallet::{PayoutState, State, TopUpState};
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::store::booked::Booked;
use crate::store::commit::commit;
use crate::store::commit::tests::half_done;
use crate::store::coupons::{self, Coupon, Redemption};
use crate::store::requests::{self, Request, Step, Whose};
use crate::store::testing::databases;
use crate::store::usage::{self, Month};
use crate::store::{releases, wallet};

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
    commit(db, &market.drain(), &[booked]).await
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
async fn the_books_of_every_kind_of_movement_add_up() {
    for fresh in databases().await {
        let (db, owner) = (&fresh.db, WorkspaceId::new(Uuid::now_v7()));
        let run = RunId::new(Uuid::now_v7());
        let (mut market, _) = half_done(db, owner, run).await;
        let spent = market.run(run).unwrap().captured();
        market.abort(run, "enough".to_owned(), clock::now()).unwrap();
        commit(db, &market.drain(), &[]).await.unwrap();

        // A coupon and a top-up.
        let hash = coupons::hash("some-code");
        let (amount, created_at) = (credits("10"), clock::now());
        let coupon = Coupon { hash, amount, uses: 0, uses_max: 1, expires_at: None, created_at };
        assert!(coupons::create(db, &coupon).await.unwrap(), "{}", fresh.name);
        assert!(!coupons::create(db, &coupon).await.unwrap(), "{}", fresh.name);
        redeem(db, &mut market, owner, hash).await.unwrap();
        let top_up = request(owner, credits("200"), TopUpState::New);
        assert!(requests::insert(db, &top_up).await.unwrap());
        assert!(!requests::insert(db, &top_up).await.unwrap());
        let step = Step {
            id: top_up.id,
            from: TopUpState::New,
            to: TopUpState::Confirmed,
            note: String::new(),
            at: clock::now(),
        };
        let cause = Cause::TopUp(top_up.id, top_up.terms);
        book(db, &mut market, owner, credits("200"), cause, Booked::TopUp(step)).await.unwrap();

        // What was earned comes in once, and goes out.
        let due = releases::due(db, clock::now() + chrono::TimeDelta::hours(1)).await.unwrap();
        let due = due.unwrap();
        assert_eq!(due.shares, [(owner, spent)], "{}", fresh.name);
        assert_eq!(releases::due(db, due_before()).await.unwrap(), None);
        market.release_earnings(due.shares.clone(), clock::now()).unwrap();
        let booked = Booked::Release { after: due.after, through: due.through };
        commit(db, &market.drain(), &[booked]).await.unwrap();
        assert_eq!(wallet::earned(db, owner).await.unwrap(), spent);
        let payout = request(owner, spent, PayoutState::New);
        let (id, terms) = (payout.id, payout.terms);
        let cause = Cause::Payout(id, terms);
        book(db, &mut market, owner, spent, cause, Booked::Payout(payout.clone())).await.unwrap();
        assert_eq!(wallet::earned(db, owner).await.unwrap(), Credits::ZERO);
        let way = [PayoutState::New, PayoutState::Failed];
        step_payout(db, &mut market, &payout, way, Cause::Return(id, terms)).await.unwrap();

        let found = reconcile(db).await.unwrap();
        let wrong: Vec<_> = found.checks.iter().filter(|(_, n)| *n != 0).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", fresh.name);
        let (list, total) =
            requests::list::<PayoutState>(db, Whose::Own(owner), &[], 0, 10).await.unwrap();
        assert_eq!((total, list[0].state), (1, PayoutState::Failed));
        assert_eq!(list[0].terms, terms);
        used_as_much(db, owner, spent, fresh.name).await;

        // Somebody changes the tables by hand.
        for sql in [
            "UPDATE accounts SET units = units + 1 WHERE kind = 1",
            "UPDATE statement_lines SET credit = credit + 1 WHERE kind = 2",
            "UPDATE requests SET state = 'NEW' WHERE kind = 'top_up'",
            "UPDATE coupons SET uses = 0",
        ] {
            let before: u64 = reconcile(db).await.unwrap().checks.iter().map(|(_, n)| n).sum();
            db.execute_unprepared(sql).await.unwrap();
            let after: u64 = reconcile(db).await.unwrap().checks.iter().map(|(_, n)| n).sum();
            assert!(after > before, "{}: {sql}", fresh.name);
        }
    }
}

fn due_before() -> chrono::DateTime<chrono::Utc> {
    clock::now() - chrono::TimeDelta::hours(1)
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
async fn the_database_itself_answers_no_request_twice() {
    for fresh in databases().await {
        let (db, owner) = (&fresh.db, WorkspaceId::new(Uuid::now_v7()));
        let (mut market, _) = half_done(db, owner, RunId::new(Uuid::now_v7())).await;
        let top_up = request(owner, credits("200"), TopUpState::New);
        requests::insert(db, &top_up).await.unwrap();
        let confirm = |from| {
            let (to, at) = (TopUpState::Confirmed, clock::now());
            Booked::TopUp(Step { id: top_up.id, from, to, note: String::new(), at })
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
