//! Credits that move because somebody asked, and not for a run.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::ids::{RedemptionId, RequestId, WorkspaceId};
use crate::market::Market;
use crate::money::credits::Credits;
use crate::money::currency::Terms;
use crate::money::ledger::{Account, Insufficient, Kind, Posting};
use crate::money::shard::Shard;
use crate::money::statement::{LineKind, Related};

/// A movement between a workspace's wallet and the world around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    pub owner: WorkspaceId,
    pub amount: Credits,
    pub cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Credits are given away; the text says why.
    Grant(String),
    Coupon(RedemptionId, String),
    TopUp(RequestId, Terms),
    /// A payout is asked for: its amount is set aside.
    Payout(RequestId, Terms),
    /// A payout did not arrive: its amount comes back.
    Return(RequestId, Terms),
    /// A payout has arrived.
    Paid(RequestId),
    /// Something was stored for a day; the text says how much and when.
    Storage(String),
}

impl Cause {
    fn kind(&self) -> Kind {
        match self {
            Self::Grant(_) => Kind::Grant,
            Self::Coupon(..) => Kind::Coupon,
            Self::TopUp(..) => Kind::TopUp,
            Self::Payout(..) => Kind::Payout,
            Self::Return(..) => Kind::Return,
            Self::Paid(_) => Kind::Paid,
            Self::Storage(_) => Kind::Storage,
        }
    }

    fn ways(&self, owner: WorkspaceId) -> (Account, Account) {
        let (wallet, outgoing) = (Account::Available(owner), Account::Outgoing(owner));
        let world = Account::World(Shard::of(owner));
        match self {
            Self::Grant(_) | Self::Coupon(..) | Self::TopUp(..) => (world, wallet),
            Self::Payout(..) => (wallet, outgoing),
            Self::Return(..) => (outgoing, wallet),
            Self::Paid(_) => (outgoing, world),
            Self::Storage(_) => (wallet, world),
        }
    }

    fn request(&self) -> Option<Uuid> {
        match self {
            Self::Grant(_) | Self::Storage(_) => None,
            Self::Coupon(id, _) => Some(id.uuid()),
            Self::TopUp(id, _) => Some(id.uuid()),
            Self::Payout(id, _) | Self::Return(id, _) | Self::Paid(id) => Some(id.uuid()),
        }
    }

    /// What the owner's statement says, if anything.
    fn line(self) -> Option<(LineKind, String, Related)> {
        let id = self.request();
        let sum = |terms: Terms| format!("{} {}", terms.money, terms.currency);
        let of = |terms| Related { id, terms: Some(terms), ..Related::default() };
        Some(match self {
            Self::Grant(why) => (LineKind::Coupon, why, Related::default()),
            Self::Coupon(_, code) => {
                let related = Related { id, coupon_code: Some(code), ..Related::default() };
                (LineKind::Coupon, "coupon".to_owned(), related)
            }
            Self::TopUp(_, terms) => {
                (LineKind::TopUp, format!("top-up of {}", sum(terms)), of(terms))
            }
            Self::Payout(_, terms) => {
                (LineKind::Payout, format!("payout of {}", sum(terms)), of(terms))
            }
            Self::Return(_, terms) => {
                let text = format!("payout of {} came back", sum(terms));
                (LineKind::PayoutReturn, text, of(terms))
            }
            Self::Storage(what) => (LineKind::Storage, what, Related::default()),
            // The wallet was debited when the payout was asked for.
            Self::Paid(_) => return None,
        })
    }
}

impl Market {
    /// Makes a movement, with its line in the owner's statement.
    ///
    /// # Errors
    /// Nothing moves where the account lacks the amount, or the world owes too much.
    pub fn book(&mut self, movement: Movement, now: DateTime<Utc>) -> Result<(), Insufficient> {
        let Movement { owner, amount, cause } = movement;
        let (from, to) = cause.ways(owner);
        let (kind, request) = (cause.kind(), cause.request());
        self.post(Posting { from, to, amount, kind, run: None, lease: None, request }, now)?;
        if let Some((kind, description, related)) = cause.line() {
            self.write_line(owner, kind, amount, None, related, &description, now);
        }
        if to == Account::Available(owner) {
            self.wet(owner);
        }
        Ok(())
    }

    /// Gives a workspace promotional credits.
    pub fn grant(
        &mut self,
        to: WorkspaceId,
        amount: Credits,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Insufficient> {
        self.book(Movement { owner: to, amount, cause: Cause::Grant(why.to_owned()) }, now)
    }

    /// Takes the price of a day's storage from a wallet, or what the wallet has where that is
    /// less: the rest is not owed. Gives what was taken.
    pub fn charge_storage(
        &mut self,
        owner: WorkspaceId,
        price: Credits,
        what: String,
        now: DateTime<Utc>,
    ) -> Result<Credits, Insufficient> {
        let amount = price.min(self.ledger.balance(Account::Available(owner)));
        if !amount.is_zero() {
            self.book(Movement { owner, amount, cause: Cause::Storage(what) }, now)?;
        }
        Ok(amount)
    }
}
