//! The statement: one line for each movement that a workspace's owner sees, each bound to the one
//! before by its hash.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::ids::{RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::money::currency::Terms;

/// Why a line is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// A run has ended; what its tasks cost was taken.
    Payment,
    /// A coupon was redeemed, or credits were given away.
    Coupon,
    TopUp,
    /// What nodes have earned came in.
    Earning,
    /// A payout was asked for; its amount was set aside.
    Payout,
    /// A payout did not arrive; its amount came back.
    PayoutReturn,
    /// What was stored on a day, beyond what is free.
    Storage,
}

impl LineKind {
    pub const ALL: [Self; 7] = [
        Self::Payment,
        Self::Coupon,
        Self::TopUp,
        Self::Earning,
        Self::Payout,
        Self::PayoutReturn,
        Self::Storage,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Coupon => "coupon",
            Self::TopUp => "topup",
            Self::Earning => "earning",
            Self::Payout => "payout",
            Self::PayoutReturn => "payout_return",
            Self::Storage => "storage",
        }
    }

    /// The number that stands for the kind in the database: its place in `ALL`.
    pub const fn number(self) -> i16 {
        match self {
            Self::Payment => 0,
            Self::Coupon => 1,
            Self::TopUp => 2,
            Self::Earning => 3,
            Self::Payout => 4,
            Self::PayoutReturn => 5,
            Self::Storage => 6,
        }
    }

    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether the line takes from the wallet; the others give.
    pub const fn takes(self) -> bool {
        matches!(self, Self::Payment | Self::Payout | Self::Storage)
    }
}

/// What a line is about, as far as it is about something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Related {
    /// Of the job, the redemption, the top-up or the payout.
    pub id: Option<Uuid>,
    /// The job's template.
    pub template: Option<String>,
    pub coupon_code: Option<String>,
    pub terms: Option<Terms>,
}

/// A line of a workspace's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub owner: WorkspaceId,
    /// 1 for the first line of the statement, then one more each.
    pub number: u64,
    pub at: DateTime<Utc>,
    pub kind: LineKind,
    pub amount: Credits,
    pub run: Option<RunId>,
    pub related: Related,
    pub description: String,
    /// The sum of all lines up to this one. It has what unfinished runs have been charged: that
    /// is taken by their lines, when they end.
    pub balance: Credits,
    pub hash: Digest,
}

/// How far a statement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub lines: u64,
    pub hash: Digest,
    /// The sum of all lines.
    pub balance: Credits,
}

impl Default for Head {
    /// Before the first line.
    fn default() -> Self {
        Self { lines: 0, hash: Digest::new([0; 32]), balance: Credits::ZERO }
    }
}

impl Head {
    /// The end of a statement whose last line this is.
    pub fn at(line: &Line) -> Self {
        Self { lines: line.number, hash: line.hash, balance: line.balance }
    }

    /// The balance after one more line.
    pub fn balance_after(&self, kind: LineKind, amount: Credits) -> Credits {
        if kind.takes() {
            self.balance.saturating_sub(amount)
        } else {
            self.balance.saturating_add(amount)
        }
    }
}

impl Line {
    /// Whether it is the next line after this end, and its balance the one before with its amount.
    pub fn continues(&self, before: &Head) -> bool {
        self.number == before.lines + 1
            && self.balance == before.balance_after(self.kind, self.amount)
    }

    /// The amount, if it was taken.
    pub fn debit(&self) -> Option<Credits> {
        self.kind.takes().then_some(self.amount)
    }

    /// The amount, if it came in.
    pub fn credit(&self) -> Option<Credits> {
        (!self.kind.takes()).then_some(self.amount)
    }

    /// The amount as the statement shows it: negative where it was taken.
    pub fn signed_amount(&self) -> String {
        let sign = if self.kind.takes() && !self.amount.is_zero() { "-" } else { "" };
        format!("{sign}{}", self.amount)
    }

    /// The SHA-256 that binds this line to the one before: of both as text, a field a line, in
    /// the very forms of the API. `previous` of the first line is 64 zeros.
    pub fn chained(&self, previous: Digest) -> Digest {
        let Self { owner, number, kind, balance, description, .. } = self;
        let at = self.at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let (kind, amount) = (kind.as_str(), self.signed_amount());
        let related = self.related.id.map(|id| id.to_string()).unwrap_or_default();
        Digest::of(
            format!(
                "{previous}\n{owner}\n{number}\n{at}\n{kind}\n{amount}\n{balance}\n{related}\n\
                 {description}"
            )
            .as_bytes(),
        )
    }
}
