//! What a booking leaves in the tables beside its transfers.

use common::money::wallet_request::{PayoutState, TopUpState};
use sea_orm::{ConnectionTrait, DbErr};

use super::coupons::{self, Coupon, Redemption};
use super::credit_grants;
use super::releases::{self, Range};
use super::wallet_requests::{self, Request, Step};

/// Written in the transaction of the transfer it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booked {
    /// Of a grant or a charge: its key, which no other has.
    Grant(String),
    Coupon(Coupon),
    Redemption(Redemption),
    TopUp(Request<TopUpState>),
    TopUpStep(Step<TopUpState>),
    Payout(Request<PayoutState>),
    PayoutStep(Step<PayoutState>),
    /// Earnings of these transfers were given.
    Release(Vec<Range>),
}

/// Writes it down; fails, with all of the transaction, where the tables have moved on since it
/// was decided.
pub(in crate::store) async fn put(db: &impl ConnectionTrait, booked: &Booked) -> Result<(), DbErr> {
    let written = match booked {
        Booked::Grant(key) => credit_grants::insert(db, key).await.map(|()| true),
        Booked::Redemption(redemption) => coupons::redeem(db, redemption).await,
        Booked::Coupon(coupon) => coupons::create(db, coupon).await,
        Booked::TopUp(request) => wallet_requests::insert(db, request).await,
        Booked::TopUpStep(step) => wallet_requests::advance(db, step).await,
        Booked::Payout(request) => wallet_requests::insert(db, request).await,
        Booked::PayoutStep(step) => wallet_requests::advance(db, step).await,
        Booked::Release(ranges) => releases::advance(db, ranges).await,
    }?;
    if written { Ok(()) } else { Err(DbErr::RecordNotUpdated) }
}
