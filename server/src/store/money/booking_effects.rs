//! What a booking leaves in the tables beside its transfers.

use common::money::wallet_request::{PayoutState, TopUpState};
use sea_orm::{ConnectionTrait, DbErr};

use super::coupons::{self, Redemption};
use super::wallet_requests;
use super::wallet_requests::{Request, Step};
use super::{credit_grants, releases};

/// Written in the transaction of the transfer it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booked {
    /// Of a grant or a charge: its key, which no other has.
    Grant(String),
    Redemption(Redemption),
    TopUp(Step<TopUpState>),
    Payout(Request<PayoutState>),
    PayoutStep(Step<PayoutState>),
    /// Earnings were given after one transfer and up to another.
    Release {
        after: i64,
        through: i64,
    },
}

/// Writes it down; fails, with all of the transaction, where the tables have moved on since it
/// was decided.
pub(in crate::store) async fn put(db: &impl ConnectionTrait, booked: &Booked) -> Result<(), DbErr> {
    let written = match booked {
        Booked::Grant(key) => credit_grants::insert(db, key).await.map(|()| true),
        Booked::Redemption(redemption) => coupons::redeem(db, redemption).await,
        Booked::TopUp(step) => wallet_requests::advance(db, step).await,
        Booked::Payout(request) => wallet_requests::insert(db, request).await,
        Booked::PayoutStep(step) => wallet_requests::advance(db, step).await,
        Booked::Release { after, through } => releases::advance(db, *after, *through).await,
    }?;
    if written { Ok(()) } else { Err(DbErr::RecordNotUpdated) }
}
