//! Giving operators what their nodes have earned.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::ids::WorkspaceId;
use crate::market::Market;
use crate::money::credits::Credits;
use crate::money::ledger::{Account, Kind, Posting};
use crate::money::shard::Shard;
use crate::money::statement::{LineKind, Related};

/// What an operator's nodes have earned in a time from the workspaces of a shard, and are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub operator: WorkspaceId,
    pub shard: Shard,
    pub earned: Earned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earned {
    pub amount: Credits,
    pub tasks: u64,
    pub jobs: u64,
    /// When the first and the last of these tasks was paid.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Earned {
    /// Both together. No job is of two shards.
    fn plus(self, other: Self) -> Self {
        Self {
            amount: self.amount.saturating_add(other.amount),
            tasks: self.tasks + other.tasks,
            jobs: self.jobs + other.jobs,
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }

    fn what(&self) -> String {
        let Self { tasks, jobs, .. } = self;
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (from, to) = (time(self.from), time(self.to));
        format!("earned by your nodes from {from} to {to} (tasks: {tasks}, jobs: {jobs})")
    }
}

impl Market {
    /// Gives operators what they have earned to spend, as far as it has not been taken back: a
    /// reversal can take more than is left of its run, where a part was released before. Each
    /// operator has one line, whatever shards its earnings come from.
    pub fn release_earnings(&mut self, shares: &[Share], now: DateTime<Utc>) {
        let mut operators: BTreeMap<WorkspaceId, Earned> = BTreeMap::new();
        for Share { operator, shard, earned } in shares {
            let from = Account::Pending(*operator, *shard);
            let amount = earned.amount.min(self.ledger.balance(from));
            if amount.is_zero() {
                continue;
            }
            let earned = Earned { amount, ..*earned };
            let posting = Posting {
                from,
                to: Account::Available(*operator),
                amount,
                kind: Kind::Earning,
                run: None,
                lease: None,
                request: None,
            };
            self.post(posting, now).expect("it is no more than what is pending");
            let sum = operators.get(operator).map_or(earned, |sum| sum.plus(earned));
            operators.insert(*operator, sum);
        }
        for (operator, earned) in operators {
            let (kind, related) = (LineKind::Earning, Related::default());
            self.write_line(operator, kind, earned.amount, None, related, &earned.what(), now);
            self.wet(operator);
        }
    }
}
