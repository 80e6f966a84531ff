//! Bookings: movements of the wallet that somebody asked for, and what they are asked for by. Each
//! is decided by what the tables say and by the ledger in memory. One is made at a time, from when
//! its tables are read until it is on disk, so that no other changes them meanwhile.

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::{RedemptionId, RequestId, WorkspaceId};
use common::market::{Cause, Market, Movement, Share};
use common::money::credits::Credits;
use common::money::currency::Terms;
use common::money::ledger::{Account, Insufficient};
use common::money::wallet_request::{PayoutState, State, TopUpState};

use crate::store;
use crate::store::Db;
use crate::store::money::booking_effects::Booked;
use crate::store::money::coupons;
use crate::store::money::coupons::{Coupon, Redemption};
use crate::store::money::releases;
use crate::store::money::releases::Release;
use crate::store::money::wallet_requests;
use crate::store::money::wallet_requests::{Request, Step, Whose};
use crate::store::money::{credit_grants, statement};

/// Top-ups of one workspace that wait to be paid.
const TOP_UPS_OPEN_MAX: u64 = 20;

/// What is asked for. Asking for the same again is answered like the first time and moves
/// nothing.
#[derive(Debug, Clone)]
pub enum Booking {
    /// Promotional credits, once for each key.
    Grant {
        to: WorkspaceId,
        amount: Credits,
        key: String,
    },
    /// A coupon, of which only the hash is looked up; the code goes on the statement.
    Redeem {
        id: RedemptionId,
        by: WorkspaceId,
        coupon: Digest,
        code: String,
    },
    /// A new coupon, which moves nothing until it is redeemed.
    Coupon(Coupon),
    /// A new top-up, which moves nothing until it is confirmed.
    TopUp(Request<TopUpState>),
    /// A new payout.
    Payout(Request<PayoutState>),
    TopUpStep {
        id: RequestId,
        to: TopUpState,
        note: String,
    },
    PayoutStep {
        id: RequestId,
        to: PayoutState,
        note: String,
    },
    Release(Release),
    /// A day's storage, once for each key; the text says how much and when.
    Storage {
        of: WorkspaceId,
        price: Credits,
        what: String,
        key: String,
    },
}

/// Why a booking is turned down. Nothing has moved.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// One answer for all, so that nobody learns which codes there are.
    #[error("cannot be redeemed: there is no such coupon, or it has expired or is used up")]
    Coupon,
    #[error("this workspace has redeemed the coupon already")]
    Redeemed,
    #[error("there is a coupon of this code already")]
    CouponExists,
    #[error("{0} top-ups wait to be paid already: cancel one first")]
    TooManyTopUps(u64),
    #[error("{0}")]
    NoRequest(RequestId),
    #[error("the request is {from} and cannot become {to}")]
    Step { from: &'static str, to: &'static str },
    #[error(
        "{wanted} credits were asked for and {} can be paid out now, the lesser of what nodes have \
         earned ({earned}) and what is available ({available})",
        .earned.min(.available)
    )]
    Payout { earned: Credits, available: Credits, wanted: Credits },
    #[error(transparent)]
    Insufficient(#[from] Insufficient),
}

/// What a booking does that the tables allow.
pub(super) struct Posting {
    moves: Moves,
    /// What is stored with it.
    booked: Booked,
}

/// What moves in the ledger.
enum Moves {
    Nothing,
    One(Movement),
    /// No more than this is paid out of what was earned.
    Payout(Movement, Credits),
    /// What the wallet has, where that is less than the price.
    Storage {
        of: WorkspaceId,
        price: Credits,
        what: String,
    },
    Earnings(Vec<Share>),
}

impl Posting {
    /// Moves the credits in memory, and gives what is to be stored with them.
    pub(super) fn post(self, market: &mut Market, now: DateTime<Utc>) -> Result<Booked, Refused> {
        match self.moves {
            Moves::Nothing => {}
            Moves::One(movement) => market.book(movement, now)?,
            Moves::Payout(movement, earned) => {
                let available = market.balance(Account::Available(movement.owner));
                let wanted = movement.amount;
                if wanted > earned.min(available) {
                    return Err(Refused::Payout { earned, available, wanted });
                }
                market.book(movement, now)?;
            }
            Moves::Storage { of, price, what } => {
                market.charge_storage(of, price, what, now)?;
            }
            Moves::Earnings(shares) => market.release_earnings(&shares, now),
        }
        Ok(self.booked)
    }
}

/// Looks up in the tables what a booking does; `None` where it was made before. The outer error
/// is the database's.
pub(super) async fn look_up(db: &Db, booking: Booking, now: DateTime<Utc>) -> LookedUp {
    match booking {
        Booking::Grant { to, amount, key } => {
            let cause = Cause::Grant("promotional credits".to_owned());
            once(db, key, Moves::One(Movement { owner: to, amount, cause })).await
        }
        Booking::Storage { of, price, what, key } => {
            once(db, key, Moves::Storage { of, price, what }).await
        }
        Booking::Redeem { id, by, coupon, code } => {
            let redemption =
                Redemption { id, coupon, workspace: by, amount: Credits::ZERO, at: now };
            redeem(db, redemption, code).await
        }
        Booking::Coupon(coupon) => create_coupon(db, coupon).await,
        Booking::TopUp(request) => top_up(db, request).await,
        Booking::Payout(request) => payout(db, request).await,
        Booking::TopUpStep { id, to, note } => {
            let cause = |terms| of_top_up(id, to, terms);
            advance(db, (id, to, note), cause, Booked::TopUpStep, now).await
        }
        Booking::PayoutStep { id, to, note } => {
            let cause = |terms| of_payout(id, to, terms);
            advance(db, (id, to, note), cause, Booked::PayoutStep, now).await
        }
        Booking::Release(release) => {
            if !releases::is_open(db, &release).await? {
                return Ok(Ok(None));
            }
            let (moves, booked) =
                (Moves::Earnings(release.shares), Booked::Release(release.ranges));
            Ok(Ok(Some(Posting { moves, booked })))
        }
    }
}

type LookedUp = Result<Result<Option<Posting>, Refused>, store::Error>;

/// What is booked once for each key.
async fn once(db: &Db, key: String, moves: Moves) -> LookedUp {
    if credit_grants::exists(db, &key).await? {
        return Ok(Ok(None));
    }
    Ok(Ok(Some(Posting { moves, booked: Booked::Grant(key) })))
}

async fn redeem(db: &Db, new: Redemption, code: String) -> LookedUp {
    if let Some(before) = coupons::redeemed(db, new.workspace, new.coupon).await? {
        return Ok(if before.id == new.id { Ok(None) } else { Err(Refused::Redeemed) });
    }
    let coupon = coupons::find(db, new.coupon).await?.filter(|coupon| coupon.is_open(new.at));
    let Some(coupon) = coupon else { return Ok(Err(Refused::Coupon)) };
    let new = Redemption { amount: coupon.amount, ..new };
    let cause = Cause::Coupon(new.id, code);
    let movement = Movement { owner: new.workspace, amount: new.amount, cause };
    Ok(Ok(Some(Posting { moves: Moves::One(movement), booked: Booked::Redemption(new) })))
}

async fn create_coupon(db: &Db, coupon: Coupon) -> LookedUp {
    if coupons::find(db, coupon.hash).await?.is_some() {
        return Ok(Err(Refused::CouponExists));
    }
    Ok(Ok(Some(Posting { moves: Moves::Nothing, booked: Booked::Coupon(coupon) })))
}

async fn top_up(db: &Db, request: Request<TopUpState>) -> LookedUp {
    let owner = request.workspace;
    if wallet_requests::find_own::<TopUpState>(db, owner, request.id).await?.is_some() {
        return Ok(Ok(None));
    }
    let open = [TopUpState::New, TopUpState::Pending];
    let (_, waiting) = wallet_requests::list(db, Whose::Own(owner), &open, 0, 1).await?;
    if waiting >= TOP_UPS_OPEN_MAX {
        return Ok(Err(Refused::TooManyTopUps(waiting)));
    }
    Ok(Ok(Some(Posting { moves: Moves::Nothing, booked: Booked::TopUp(request) })))
}

/// Sets a payout's amount aside. Only what was earned can be paid out: what was given away can be
/// spent and no more.
async fn payout(db: &Db, request: Request<PayoutState>) -> LookedUp {
    let (owner, terms) = (request.workspace, request.terms);
    if wallet_requests::find_own::<PayoutState>(db, owner, request.id).await?.is_some() {
        return Ok(Ok(None));
    }
    let earned = statement::earned(db, owner).await?;
    let movement =
        Movement { owner, amount: terms.amount, cause: Cause::Payout(request.id, terms) };
    let booked = Booked::Payout(request);
    Ok(Ok(Some(Posting { moves: Moves::Payout(movement, earned), booked })))
}

/// Moves a request along; `cause` is what moves credits with it.
async fn advance<S: State>(
    db: &Db,
    (id, to, note): (RequestId, S, String),
    cause: impl FnOnce(Terms) -> Option<Cause>,
    booked: impl FnOnce(Step<S>) -> Booked,
    now: DateTime<Utc>,
) -> LookedUp {
    let request = wallet_requests::find::<S>(db, id).await?;
    let Some(request) = request else { return Ok(Err(Refused::NoRequest(id))) };
    let from = match step(request.state, to) {
        Ok(Some(from)) => from,
        Ok(None) => return Ok(Ok(None)),
        Err(refused) => return Ok(Err(refused)),
    };
    let (owner, terms) = (request.workspace, request.terms);
    let movement = |cause| Moves::One(Movement { owner, amount: terms.amount, cause });
    let moves = cause(terms).map_or(Moves::Nothing, movement);
    Ok(Ok(Some(Posting { moves, booked: booked(Step { id, from, to, note, at: now }) })))
}

fn of_top_up(id: RequestId, to: TopUpState, terms: Terms) -> Option<Cause> {
    (to == TopUpState::Confirmed).then_some(Cause::TopUp(id, terms))
}

fn of_payout(id: RequestId, to: PayoutState, terms: Terms) -> Option<Cause> {
    match to {
        PayoutState::Confirmed => Some(Cause::Paid(id)),
        PayoutState::Bounced | PayoutState::Failed => Some(Cause::Return(id, terms)),
        PayoutState::New
        | PayoutState::PendingVerification
        | PayoutState::InfoRequired
        | PayoutState::Sent => None,
    }
}

/// Where a step begins, or `None` where the request is there already.
fn step<S: State>(from: S, to: S) -> Result<Option<S>, Refused> {
    if from == to {
        return Ok(None);
    }
    if from.may_become(to) {
        return Ok(Some(from));
    }
    Err(Refused::Step { from: from.as_str(), to: to.as_str() })
}
