//! The lines of the wallet's statement.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::digest::Digest;
use common::ids::{RunId, TransferId};
use common::money::credits::Credits;
use common::money::statement::LineKind;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::api::http::shape::word;
use crate::api::native::cursor;
use crate::api::native::page::{self, PAGE};
use crate::error::{Error, Result};
use crate::listing::{Comparison, Operand, Selection, Start, Test};
use crate::wallet::statement::{self, Entry, LineField};

/// The kinds of lines, in the order of their numbers.
const KINDS: [&str; 7] =
    ["payment", "coupon", "top_up", "earning", "payout", "payout_return", "storage"];

/// Newest first: ids rise.
const ORDER: [(LineField, bool); 1] = [(LineField::Id, true)];

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListTransactions", "/transactions", list)
            .summary("Lists the lines of the wallet's statement, the newest first")
            .query([&PAGE[..], &[word("kind", &KINDS, "Those of this kind")]].concat())
            .needs(Scope::WalletRead),
    ]
}

#[derive(Serialize, ToSchema)]
struct TransactionList {
    /// The newest first.
    transactions: Vec<TransactionOut>,
    next_cursor: Option<String>,
}

/// A line of the wallet's statement.
#[derive(Serialize, ToSchema)]
#[schema(as = Transaction)]
struct TransactionOut {
    #[schema(value_type = String)]
    id: TransferId,
    /// Its place in the statement, from 1.
    number: u64,
    /// When the credits moved.
    at: DateTime<Utc>,
    kind: TransactionKind,
    /// Credits; negative where they were taken.
    #[schema(value_type = String)]
    amount: String,
    /// The sum of all lines up to this one.
    #[schema(value_type = String)]
    balance: Credits,
    /// Of a payment.
    #[schema(value_type = Option<String>)]
    run: Option<RunId>,
    /// The id of the job, the redemption, the top-up or the payout.
    #[schema(value_type = Option<String>)]
    related: Option<Uuid>,
    /// The template of the job.
    template: Option<String>,
    /// What the coupon was redeemed with.
    coupon_code: Option<String>,
    /// What was paid or is paid out.
    money: Option<Exchanged>,
    /// The name of the job, or what else it is about.
    description: String,
    /// SHA-256 over the hash of the line before and what this line says.
    #[schema(value_type = String)]
    hash: Digest,
}

/// Money for credits.
#[derive(Serialize, ToSchema)]
struct Exchanged {
    /// Three letters.
    currency: String,
    /// A decimal text.
    amount: String,
    /// The price of one credit.
    rate: String,
}

/// What moved the credits: a `payment` for a run, a `coupon` or a gift, a `top_up`, an `earning` of
/// nodes, a `payout`, a `payout_return` that did not arrive, and `storage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TransactionKind {
    Payment,
    Coupon,
    TopUp,
    Earning,
    Payout,
    PayoutReturn,
    Storage,
}

async fn list(call: Call) -> Result<TransactionList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let selection = Selection {
        tests: read_kind(&query)?.into_iter().collect(),
        order: ORDER.to_vec(),
        start: Start::Place(cursor::read(&query, &ORDER)?),
        limit: page::limit(&query)?.into(),
    };
    let _permit = call.answer_permit(&caller).await;
    let found = statement::list(call.app(), &caller, &selection).await?;
    let next_cursor = cursor::next(&found);
    let transactions = found.rows.into_iter().map(TransactionOut::from).collect();
    Ok(TransactionList { transactions, next_cursor })
}

fn read_kind(query: &BTreeMap<String, String>) -> Result<Option<(LineField, Test)>> {
    let Some(name) = query.get("kind") else { return Ok(None) };
    let number = (0..).zip(KINDS).find(|(_, kind)| kind == name).map(|(number, _)| number);
    let number = number
        .ok_or_else(|| Error::field("kind", format!("must be one of {}", KINDS.join(", "))))?;
    Ok(Some((LineField::Kind, Test::Compare(Comparison::Equal, Operand::Number(number)))))
}

impl From<Entry> for TransactionOut {
    fn from(Entry { id, line }: Entry) -> Self {
        let money = line.related.terms.map(|terms| Exchanged {
            currency: terms.currency.to_string(),
            amount: terms.money.to_string(),
            rate: terms.rate.to_string(),
        });
        Self {
            id,
            number: line.number,
            at: line.at,
            kind: line.kind.into(),
            amount: line.signed_amount(),
            balance: line.balance,
            run: line.run,
            related: line.related.id,
            template: line.related.template,
            coupon_code: line.related.coupon_code,
            money,
            description: line.description,
            hash: line.hash,
        }
    }
}

impl From<LineKind> for TransactionKind {
    fn from(kind: LineKind) -> Self {
        match kind {
            LineKind::Payment => Self::Payment,
            LineKind::Coupon => Self::Coupon,
            LineKind::TopUp => Self::TopUp,
            LineKind::Earning => Self::Earning,
            LineKind::Payout => Self::Payout,
            LineKind::PayoutReturn => Self::PayoutReturn,
            LineKind::Storage => Self::Storage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_kinds_are_listed_by_their_numbers() {
        for kind in LineKind::ALL {
            let word = serde_json::to_value(TransactionKind::from(kind)).unwrap();
            let place = usize::try_from(kind.number()).unwrap();

            assert_eq!(word, KINDS[place]);
        }
    }
}
