//! Double entry: every posting takes from one account what it gives to another.
//!
//! The sum over all accounts is zero at every instant, and only the world owes: no other account
//! is ever below zero. Transfers are never changed; a mistake is reversed by another transfer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::ids::{RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::run::task::Lease;

/// Where credits can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Outside: what wallets are given comes from here and what is paid out goes there, so its
    /// balance is what it owes.
    World,
    /// What a workspace's new runs can be paid from.
    Available(WorkspaceId),
    /// What a workspace's unfinished runs have reserved.
    Held(WorkspaceId),
    /// What an operator's nodes have earned and may not spend yet.
    Pending(WorkspaceId),
    /// What a workspace has asked to be paid out and has not been paid yet.
    Outgoing(WorkspaceId),
}

/// Why credits moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// World → available: promotional credits.
    Grant,
    /// Available → held, for a run.
    Hold,
    /// Held → pending, for an attempt that is paid for.
    Capture,
    /// Held → available: what a run did not use.
    Void,
    /// Pending → world: what an operator earned by a run with false results.
    Reversal,
    /// World → available: a coupon was redeemed.
    Coupon,
    /// World → available: a top-up was paid for.
    TopUp,
    /// Pending → available: what an operator has earned is its own to spend.
    Earning,
    /// Available → outgoing: a payout was asked for.
    Payout,
    /// Outgoing → available: a payout did not reach its owner.
    Return,
    /// Outgoing → world: a payout has reached its owner.
    Paid,
    /// Available → world: what a workspace keeps in the bucket, for a day.
    Storage,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Reversal => "reversal",
            Self::Coupon => "coupon",
            Self::TopUp => "top_up",
            Self::Earning => "earning",
            Self::Payout => "payout",
            Self::Return => "return",
            Self::Paid => "paid",
            Self::Storage => "storage",
        }
    }
}

/// One posting; immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Rises by one with each posting.
    pub number: u64,
    pub from: Account,
    pub to: Account,
    pub amount: Credits,
    pub kind: Kind,
    pub run: Option<RunId>,
    /// The attempt that a capture pays, once.
    pub lease: Option<Lease>,
    /// The request that it answers: no request is answered twice by transfers of one kind.
    pub request: Option<Uuid>,
    pub at: DateTime<Utc>,
}

/// The account has less than was to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account holds {available} credits, {wanted} were to be taken")]
pub struct Insufficient {
    pub available: Credits,
    pub wanted: Credits,
}

/// The balances, and the number of the next transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In 1e-8 credits.
    balances: BTreeMap<Account, i64>,
    next: u64,
}

impl Ledger {
    /// Goes on from stored balances; `next` is one more than the last transfer's number.
    pub fn load(balances: BTreeMap<Account, i64>, next: u64) -> Self {
        Self { balances, next }
    }

    /// Moves credits and gives the transfer to store. Nothing moves where the account lacks them.
    pub fn post(&mut self, posting: Posting, at: DateTime<Utc>) -> Result<Transfer, Insufficient> {
        let Posting { from, to, amount, kind, run, lease, request } = posting;
        let before = self.units(from);
        // What the world owes is what all others have: bounding the one bounds the others.
        let least = if from == Account::World { -i64::MAX } else { 0 };
        let Some(after) = before.checked_sub(amount.units()).filter(|units| *units >= least) else {
            let available = Credits::from_units(before).unwrap_or_default();
            return Err(Insufficient { available, wanted: amount });
        };
        self.balances.insert(from, after);
        *self.balances.entry(to).or_default() += amount.units();
        let number = self.next;
        self.next += 1;
        Ok(Transfer { number, from, to, amount, kind, run, lease, request, at })
    }

    /// The balance in 1e-8 credits; below zero for the world alone.
    pub fn units(&self, account: Account) -> i64 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    pub fn balance(&self, account: Account) -> Credits {
        Credits::from_units(self.units(account)).unwrap_or_default()
    }

    /// What must be true at every instant.
    pub fn check(&self) -> Result<(), String> {
        let sum: i128 = self.balances.values().copied().map(i128::from).sum();
        if sum != 0 {
            return Err(format!("the accounts add up to {sum} units instead of zero"));
        }
        match self
            .balances
            .iter()
            .find(|(account, units)| **account != Account::World && **units < 0)
        {
            Some((account, units)) => Err(format!("{account:?} stands at {units} units")),
            None => Ok(()),
        }
    }
}

/// A transfer to be made.
#[derive(Debug, Clone, Copy)]
pub struct Posting {
    pub from: Account,
    pub to: Account,
    pub amount: Credits,
    pub kind: Kind,
    pub run: Option<RunId>,
    pub lease: Option<Lease>,
    pub request: Option<Uuid>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_account() -> impl Strategy<Value = Account> {
        let workspace = WorkspaceId::new(Uuid::from_u128(1));
        prop_oneof![
            Just(Account::World),
            Just(Account::Available(workspace)),
            Just(Account::Held(workspace)),
            Just(Account::Pending(workspace)),
            Just(Account::Outgoing(workspace)),
        ]
    }

    proptest! {
        #[test]
        fn nobody_but_the_world_owes_and_all_adds_up_to_zero(
            moves in proptest::collection::vec((any_account(), any_account(), 0..1000i64), 0..100)
        ) {
            let mut ledger = Ledger::default();
            for (from, to, units) in moves {
                let amount = Credits::from_units(units).unwrap();
                let kind = Kind::Grant;
                let posting =
                    Posting { from, to, amount, kind, run: None, lease: None, request: None };
                let before = ledger.clone();
                if ledger.post(posting, DateTime::UNIX_EPOCH).is_err() {
                    prop_assert_eq!(&ledger, &before);
                }
                prop_assert_eq!(ledger.check(), Ok(()));
            }
        }
    }
}
