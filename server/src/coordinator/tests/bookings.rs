//! No order of requests, and no number of them at once, moves credits twice or out of nothing.

use chrono::TimeDelta;
use common::digest::Digest;
use common::ids::{RedemptionId, RequestId, UserId};
use common::money::currency::Terms;
use common::money::wallet_request::{PayoutState, TopUpState};

use super::super::testing::earn;
use super::*;
use crate::maintenance::earnings;
use crate::store::money::coupons;
use crate::store::money::coupons::Coupon;
use crate::store::money::wallet_requests;
use crate::store::money::wallet_requests::{Request, Whose};
use crate::store::money::{reconciliation, statement};

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

fn request<S>(room: &Room, amount: Credits, state: S) -> Request<S> {
    let terms = Terms {
        amount,
        currency: "USD".parse().unwrap(),
        money: "1".parse().unwrap(),
        rate: "1".parse().unwrap(),
    };
    let (id, asker) = (RequestId::new(Uuid::now_v7()), UserId::new(Uuid::now_v7()));
    Request::new(id, room.workspace, asker, terms, state, clock::now())
}

async fn available(room: &Room) -> Credits {
    statement::balance(&room.db, room.workspace).await.unwrap().available
}

/// Nothing in the tables contradicts anything else.
async fn books_are_right(room: &Room) {
    let found = reconciliation::reconcile(&room.db).await.unwrap();
    let wrong: Vec<_> = found.checks.iter().filter(|(_, n)| *n != 0).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(found.transfers > 0);
}

async fn coupon(room: &Room, uses_max: u32) -> Digest {
    let hash = coupons::hash("WELCOME-2026");
    let now = clock::now();
    let expires_at = Some(now + TimeDelta::hours(1));
    let coupon =
        Coupon { hash, amount: credits("10"), uses: 0, uses_max, expires_at, created_at: now };
    room.coordinator.book(Booking::Coupon(coupon)).await.unwrap();
    hash
}

fn redeem(coupon: Digest, by: WorkspaceId) -> Booking {
    let id = RedemptionId::new(Uuid::now_v7());
    Booking::Redeem { id, by, coupon, code: "WELCOME-2026".to_owned() }
}

#[tokio::test]
async fn simultaneous_redemptions_of_a_coupon_stay_within_its_limit() {
    let room = granted().await;
    let coupon = coupon(&room, 3).await;
    let asks = (0..8u128).flat_map(|n| {
        let by = if n == 0 { room.workspace } else { WorkspaceId::new(Uuid::from_u128(n)) };
        [room.coordinator.book(redeem(coupon, by)), room.coordinator.book(redeem(coupon, by))]
    });

    let answers = futures::future::join_all(asks).await;

    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let kept = coupons::find(&room.db, coupon).await.unwrap().unwrap();
    assert_eq!(kept.uses, 3);
    books_are_right(&room).await;
}

#[tokio::test]
async fn repeated_redemption_is_the_same_one() {
    let room = granted().await;
    let coupon = coupon(&room, 3).await;
    let booking = redeem(coupon, room.workspace);
    let before = available(&room).await;

    room.coordinator.book(booking.clone()).await.unwrap();
    room.coordinator.book(booking).await.unwrap();
    let other = room.coordinator.book(redeem(coupon, room.workspace)).await;

    assert_eq!(available(&room).await, before.checked_add(credits("10")).unwrap());
    assert!(matches!(other, Err(Error::Booking(BookingRefused::Redeemed))), "{other:?}");
}

#[tokio::test]
async fn repeated_and_simultaneous_confirmations_of_a_top_up_book_it_once() {
    let room = granted().await;
    let request = request(&room, credits("200"), TopUpState::New);
    room.coordinator.book(Booking::TopUp(request.clone())).await.unwrap();
    let before = available(&room).await;
    let to = |to| {
        let note = String::new();
        room.coordinator.book(Booking::TopUpStep { id: request.id, to, note })
    };

    let answers = futures::future::join_all((0..5).map(|_| to(TopUpState::Confirmed))).await;
    let canceled = to(TopUpState::Canceled).await;

    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(matches!(canceled, Err(Error::Booking(BookingRefused::Step { .. }))));
    assert_eq!(available(&room).await, before.checked_add(credits("200")).unwrap());
    books_are_right(&room).await;
}

#[tokio::test]
async fn simultaneous_top_up_requests_stay_within_the_limit_of_unpaid_ones() {
    let room = granted().await;
    let one = request(&room, credits("1"), TopUpState::New);
    room.coordinator.book(Booking::TopUp(one.clone())).await.unwrap();
    let asks = (0..25).map(|_| {
        let request = request(&room, credits("1"), TopUpState::New);
        room.coordinator.book(Booking::TopUp(request))
    });

    let answers = futures::future::join_all(asks).await;
    let again = room.coordinator.book(Booking::TopUp(one)).await;

    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 19, "{answers:?}");
    let refused = answers.into_iter().find_map(Result::err);
    assert!(matches!(refused, Some(Error::Booking(BookingRefused::TooManyTopUps(20)))));
    assert!(again.is_ok(), "one that is asked for again makes no other: {again:?}");
    let whose = Whose::Own(room.workspace);
    let all = wallet_requests::list::<TopUpState>(&room.db, whose, &[], 0, 1).await.unwrap();
    assert_eq!(all.1, 20);
}

#[tokio::test]
async fn simultaneous_creations_of_one_coupon_code_make_one_coupon() {
    let room = granted().await;
    let coupon = |amount| Coupon {
        hash: coupons::hash("WELCOME-2026"),
        amount: credits(amount),
        uses: 0,
        uses_max: 1,
        expires_at: None,
        created_at: clock::now(),
    };

    let (one, other) = tokio::join!(
        room.coordinator.book(Booking::Coupon(coupon("1"))),
        room.coordinator.book(Booking::Coupon(coupon("2"))),
    );

    assert!(one.is_ok(), "{one:?}");
    assert!(matches!(other, Err(Error::Booking(BookingRefused::CouponExists))), "{other:?}");
    let kept = coupons::find(&room.db, coupons::hash("WELCOME-2026")).await.unwrap();
    assert_eq!(kept.unwrap().amount, credits("1"));
}

#[tokio::test]
async fn granted_credits_cannot_be_paid_out() {
    let room = granted().await;

    let answer =
        room.coordinator.book(Booking::Payout(request(&room, credits("1"), PayoutState::New)));

    let answer = answer.await;
    assert!(matches!(answer, Err(Error::Booking(BookingRefused::Payout { .. }))), "{answer:?}");
}

#[tokio::test]
async fn earnings_are_paid_out_once_and_return_when_the_payout_bounces() {
    let room = granted().await;
    let (coordinator, db) = (&room.coordinator, &room.db);
    let customer = workspaces::create_workspace(db, "customer").await.unwrap();
    coordinator.grant(customer, credits("10"), "customer").await.unwrap();
    let before = available(&room).await;
    let earned = earn(coordinator, db, customer, room.workspace).await;

    earnings::pass(db, coordinator, TimeDelta::hours(1)).await.unwrap();
    assert_eq!(available(&room).await, before);
    for _ in 0..2 {
        earnings::pass(db, coordinator, TimeDelta::zero()).await.unwrap();
    }
    let with_earnings = before.checked_add(earned).unwrap();
    assert_eq!(available(&room).await, with_earnings);

    let asks: Vec<_> = (0..3).map(|_| request(&room, earned, PayoutState::New)).collect();
    let answers = asks.iter().map(|ask| coordinator.book(Booking::Payout(ask.clone())));
    let answers = futures::future::join_all(answers).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(available(&room).await, before);
    books_are_right(&room).await;

    let id = asks[answers.iter().position(Result::is_ok).unwrap()].id;
    let to = |to| coordinator.book(Booking::PayoutStep { id, to, note: String::new() });
    assert!(to(PayoutState::Confirmed).await.is_err());
    to(PayoutState::Sent).await.unwrap();
    for _ in 0..2 {
        to(PayoutState::Bounced).await.unwrap();
    }
    assert_eq!(available(&room).await, with_earnings);

    let again = request(&room, earned, PayoutState::New);
    for _ in 0..2 {
        coordinator.book(Booking::Payout(again.clone())).await.unwrap();
    }
    for state in [PayoutState::Sent, PayoutState::Confirmed, PayoutState::Confirmed] {
        let step = Booking::PayoutStep { id: again.id, to: state, note: String::new() };
        coordinator.book(step).await.unwrap();
    }
    assert_eq!(available(&room).await, before);
    assert_eq!(statement::balance(db, room.workspace).await.unwrap().outgoing, Credits::ZERO);
    books_are_right(&room).await;
}
