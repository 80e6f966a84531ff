//! Double entry: every posting takes from one account what it gives to another.
//!
//! The sum over all accounts is zero at every instant, and only the world owes: no other account
//! is ever below zero. Transfers are never changed; a mistake is reversed by another transfer.
//!
//! The ledger is divided into shards, so that several writers can share it. A transfer belongs to
//! the shard of the account that it takes from: only this shard's writer decides it and numbers
//! it. Any writer may give to any account, so what a writer knows of its own accounts is never
//! more than what they have, and balances are stored by adding to them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::ids::{RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::money::shard::Shard;
use crate::run::task::Lease;

/// What the world may owe in each shard, in 1e-8 credits. What it owes in all is what all other
/// accounts have, so that no balance can be more than an `i64` holds.
const DEBT_MAX: i64 = i64::MAX / 256;

/// Where credits can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Outside, as the wallets of a shard see it: what they are given comes from here and what is
    /// paid out goes there, so that the balances of all shards together are what it owes.
    World(Shard),
    /// What a workspace's new runs can be paid from.
    Available(WorkspaceId),
    /// What a workspace's unfinished runs have reserved.
    Held(WorkspaceId),
    /// What an operator's nodes have earned from the workspaces of a shard, and may not spend yet.
    /// It is of the shard that paid it, which can take it back.
    Pending(WorkspaceId, Shard),
    /// What a workspace has asked to be paid out and has not been paid yet.
    Outgoing(WorkspaceId),
}

impl Account {
    /// Whose writer alone takes from it.
    pub fn shard(self) -> Shard {
        match self {
            Self::World(shard) | Self::Pending(_, shard) => shard,
            Self::Available(owner) | Self::Held(owner) | Self::Outgoing(owner) => Shard::of(owner),
        }
    }

    pub const fn is_world(self) -> bool {
        matches!(self, Self::World(_))
    }
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
    pub const ALL: [Self; 12] = [
        Self::Grant,
        Self::Hold,
        Self::Capture,
        Self::Void,
        Self::Reversal,
        Self::Coupon,
        Self::TopUp,
        Self::Earning,
        Self::Payout,
        Self::Return,
        Self::Paid,
        Self::Storage,
    ];

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
    /// From 0, one more with each posting of its shard.
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

impl Transfer {
    /// Whose writer made it.
    pub fn shard(&self) -> Shard {
        self.from.shard()
    }
}

/// The account has less than was to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account holds {available} credits, {wanted} were to be taken")]
pub struct Insufficient {
    pub available: Credits,
    pub wanted: Credits,
}

/// The balances, and the numbers of the next transfers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In 1e-8 credits.
    balances: BTreeMap<Account, i64>,
    totals: Totals,
    next: BTreeMap<Shard, u64>,
}

/// What all accounts of a kind have together, in 1e-8 credits. The world owes the sum of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub available: i64,
    pub held: i64,
    pub pending: i64,
    pub outgoing: i64,
}

impl Totals {
    fn add(&mut self, account: Account, units: i64) {
        match account {
            Account::World(_) => {}
            Account::Available(_) => self.available += units,
            Account::Held(_) => self.held += units,
            Account::Pending(..) => self.pending += units,
            Account::Outgoing(_) => self.outgoing += units,
        }
    }

    fn of(balances: &BTreeMap<Account, i64>) -> Self {
        let mut totals = Self::default();
        for (account, units) in balances {
            totals.add(*account, *units);
        }
        totals
    }
}

impl Ledger {
    /// Goes on from stored balances; `next` is one more than the number of each shard's last
    /// transfer.
    pub fn load(balances: BTreeMap<Account, i64>, next: BTreeMap<Shard, u64>) -> Self {
        Self { totals: Totals::of(&balances), balances, next }
    }

    /// Moves credits and gives the transfer to store. Nothing moves where the account lacks them.
    pub fn post(&mut self, posting: Posting, at: DateTime<Utc>) -> Result<Transfer, Insufficient> {
        let Posting { from, to, amount, kind, run, lease, request } = posting;
        let before = self.units(from);
        let least = if from.is_world() { -DEBT_MAX } else { 0 };
        let Some(after) = before.checked_sub(amount.units()).filter(|units| *units >= least) else {
            let available = Credits::from_units(before).unwrap_or_default();
            return Err(Insufficient { available, wanted: amount });
        };
        self.balances.insert(from, after);
        *self.balances.entry(to).or_default() += amount.units();
        self.totals.add(from, -amount.units());
        self.totals.add(to, amount.units());
        let next = self.next.entry(from.shard()).or_default();
        let number = *next;
        *next += 1;
        Ok(Transfer { number, from, to, amount, kind, run, lease, request, at })
    }

    /// The balance in 1e-8 credits; below zero for the world alone.
    pub fn units(&self, account: Account) -> i64 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    pub fn balance(&self, account: Account) -> Credits {
        Credits::from_units(self.units(account)).unwrap_or_default()
    }

    /// What there is in all wallets.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// What an operator's nodes have earned in all shards and may not spend yet.
    pub fn pending(&self, operator: WorkspaceId) -> Credits {
        let pending = |shard| Account::Pending(operator, Shard::new(shard));
        let all = self.balances.range(pending(0)..=pending(u8::MAX));
        Credits::from_units(all.map(|(_, units)| units).sum()).unwrap_or_default()
    }

    /// What must be true at every instant.
    pub fn check(&self) -> Result<(), String> {
        let sum: i128 = self.balances.values().copied().map(i128::from).sum();
        if sum != 0 {
            return Err(format!("the accounts add up to {sum} units instead of zero"));
        }
        if self.totals != Totals::of(&self.balances) {
            return Err(format!("the accounts add up to other totals than {:?}", self.totals));
        }
        match self.balances.iter().find(|(account, units)| !account.is_world() && **units < 0) {
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

    /// Accounts of three workspaces, each in a shard of its own.
    fn any_account() -> impl Strategy<Value = Account> {
        (1..4_u128, 1..4_u8, 0..5).prop_map(|(owner, shard, kind)| {
            let (owner, shard) = (WorkspaceId::new(Uuid::from_u128(owner)), Shard::new(shard));
            match kind {
                0 => Account::World(shard),
                1 => Account::Available(owner),
                2 => Account::Held(owner),
                3 => Account::Pending(owner, shard),
                _ => Account::Outgoing(owner),
            }
        })
    }

    fn posting((from, to, units): (Account, Account, i64)) -> Posting {
        let amount = Credits::from_units(units).unwrap();
        Posting { from, to, amount, kind: Kind::Grant, run: None, lease: None, request: None }
    }

    proptest! {
        #[test]
        fn ledger_sums_to_zero_and_only_the_world_account_is_negative(
            moves in proptest::collection::vec((any_account(), any_account(), 0..1000i64), 0..100)
        ) {
            let mut ledger = Ledger::default();
            for moved in moves {
                let before = ledger.clone();
                if ledger.post(posting(moved), DateTime::UNIX_EPOCH).is_err() {
                    prop_assert_eq!(&ledger, &before);
                }
                prop_assert_eq!(ledger.check(), Ok(()));
            }
        }

        #[test]
        fn ledger_stays_valid_with_independent_writers(
            moves in proptest::collection::vec((any_account(), any_account(), 0..1000i64), 0..100)
        ) {
            let mut writers = [Ledger::default(), Ledger::default()];
            let mut stored = BTreeMap::new();
            let mut next = BTreeMap::new();
            for moved in moves {
                let writer = usize::from(moved.0.shard().number()) % writers.len();
                let posted = writers[writer].post(posting(moved), DateTime::UNIX_EPOCH);
                let Ok(transfer) = posted else { continue };
                let number = next.entry(transfer.shard()).or_default();
                prop_assert_eq!(transfer.number, *number);
                *number += 1;
                *stored.entry(transfer.from).or_default() -= transfer.amount.units();
                *stored.entry(transfer.to).or_default() += transfer.amount.units();
            }
            prop_assert_eq!(Ledger::load(stored, next).check(), Ok(()));
        }
    }

    #[test]
    fn world_account_of_all_shards_fits_into_a_balance() {
        let owner = WorkspaceId::new(Uuid::from_u128(1));
        let mut ledger = Ledger::default();
        for shard in 0..=u8::MAX {
            let world = Account::World(Shard::new(shard));
            let all = posting((world, Account::Available(owner), DEBT_MAX));
            ledger.post(all, DateTime::UNIX_EPOCH).unwrap();
            let more = posting((world, Account::Available(owner), 1));
            assert!(ledger.post(more, DateTime::UNIX_EPOCH).is_err());
        }
        assert_eq!(ledger.check(), Ok(()));
    }
}
