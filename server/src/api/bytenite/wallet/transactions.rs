//! The lines of the wallet's statement.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::digest::Digest;
use common::ids::TransferId;
use common::money::statement::{Line, LineKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use crate::api::bytenite::lists::named::Named;
use crate::api::bytenite::lists::page::Paged;
use crate::api::bytenite::lists::selection;
use crate::api::bytenite::lists::selection::{FILTER, LIST};
use crate::api::bytenite::words;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, post};
use crate::app::App;
use crate::error::Result;
use crate::listing::Selection;
use crate::people::caller::Caller;
use crate::wallet::statement;
use crate::wallet::statement::{Entry, LineField};

/// The other side of a customer's payments and credits.
const MARKET_ACCOUNT: &str = "fanfold-main";
/// Newest first: ids rise.
const ORDER: [(LineField, bool); 1] = [(LineField::Id, true)];

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransactionOut {
    #[schema(value_type = String)]
    id: TransferId,
    /// Its place in the statement, from 1.
    number: u64,
    created_at: DateTime<Utc>,
    account_from: String,
    account_to: String,
    /// Negative where it was taken.
    amount: Amount,
    #[schema(value_type = words::TransactionType)]
    transaction_type: &'static str,
    related_entity: EntityOut,
    related_entity_data: EntityDataOut,
    notes: &'static str,
    /// Always empty: `relatedEntityData` has what there is.
    #[schema(value_type = Object)]
    transaction_data: BTreeMap<&'static str, &'static str>,
    /// SHA-256, in hex, of these texts joined by line feeds: the hash of the line before (64
    /// zeros for the first), the account's id, `number`, `createdAt`, `transactionType`,
    /// `amount` and `balance` with eight decimals, the related entity's id, `description`.
    #[schema(value_type = String)]
    hash: Digest,
    description: String,
    /// The sum of all lines up to this one. What runs that go on have been charged is taken by
    /// their lines, when they end.
    balance: Amount,
}

#[derive(Serialize, ToSchema)]
struct EntityOut {
    #[serde(rename = "type")]
    #[schema(value_type = words::RelatedType)]
    kind: &'static str,
    id: String,
    name: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EntityDataOut {
    #[serde(rename = "type")]
    #[schema(value_type = words::TransactionType)]
    kind: &'static str,
    id: String,
    name: String,
    description: String,
    job_id: Option<String>,
    job_name: Option<String>,
    job_template: Option<String>,
    coupon_code: Option<String>,
    currency: Option<String>,
    /// Money, as a text.
    currency_amount: Option<String>,
    exchange_rate: Option<Amount>,
}

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_GetTransactions", "/transactions", transactions)
            .summary("Lists transactions")
            .query(LIST),
        post("Wallet_FilterTransactions", "/transactions/filter", filter)
            .summary("Finds transactions")
            .body(FILTER)
            .needs(Scope::WalletRead),
    ]
}

async fn transactions(call: Call) -> Result<Paged<TransactionOut>> {
    let caller = call.caller().await?;
    let selection = selection::from_query(&call.query()?, &ORDER)?;
    let _permit = call.answer_permit(&caller).await;
    show(call.app(), &caller, &selection).await
}

async fn filter(mut call: Call) -> Result<Paged<TransactionOut>> {
    let caller = call.caller().await?;
    let selection = selection::from_body(call.json().await?, &ORDER)?;
    let _permit = call.answer_permit(&caller).await;
    show(call.app(), &caller, &selection).await
}

async fn show(
    app: &App,
    caller: &Caller,
    selection: &Selection<LineField>,
) -> Result<Paged<TransactionOut>> {
    let found = statement::list(app, caller, selection).await?;
    let pagination = selection::pagination(selection, &found);
    Ok(Paged { pagination, data: found.rows.into_iter().map(TransactionOut::from).collect() })
}

/// The names of kinds of lines, in the order of their numbers.
const KINDS: [&str; LineKind::ALL.len()] = {
    let mut names = [""; LineKind::ALL.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = LineKind::ALL[n].as_str();
        n += 1;
    }
    names
};

impl Named for LineField {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::CreatedAt => "createdAt",
            Self::Amount => "amount",
            Self::Kind => "transactionType",
            Self::JobId => "relatedEntityData.jobId",
            Self::Description => "description",
            Self::Balance => "balance",
        }
    }

    fn choices(self) -> &'static [&'static str] {
        if self == Self::Kind { &KINDS } else { &[] }
    }
}

impl From<Entry> for TransactionOut {
    fn from(Entry { id, line }: Entry) -> Self {
        let (from, to) = (line.owner.to_string(), MARKET_ACCOUNT.to_owned());
        let (account_from, account_to) = if line.kind.takes() { (from, to) } else { (to, from) };
        Self {
            id,
            number: line.number,
            created_at: line.at,
            account_from,
            account_to,
            amount: Amount::exact(line.signed_amount()),
            transaction_type: line.kind.as_str(),
            related_entity: EntityOut::of(&line),
            related_entity_data: EntityDataOut::of(&line),
            notes: "",
            transaction_data: BTreeMap::new(),
            hash: line.hash,
            balance: Amount::of(line.balance),
            description: line.description,
        }
    }
}

impl EntityOut {
    fn of(line: &Line) -> Self {
        let kind = match line.kind {
            LineKind::Payment => "job",
            LineKind::Coupon
            | LineKind::TopUp
            | LineKind::Earning
            | LineKind::Payout
            | LineKind::PayoutReturn
            | LineKind::Storage => line.kind.as_str(),
        };
        let id = line.related.id.map_or_else(String::new, |id| id.to_string());
        Self { kind, id, name: line.description.clone() }
    }
}

impl EntityDataOut {
    fn of(line: &Line) -> Self {
        let EntityOut { id, name, .. } = EntityOut::of(line);
        let job = line.kind == LineKind::Payment;
        let related = &line.related;
        let terms = related.terms;
        Self {
            kind: line.kind.as_str(),
            description: name.clone(),
            job_id: job.then(|| id.clone()),
            job_name: job.then(|| name.clone()),
            job_template: related.template.clone(),
            coupon_code: related.coupon_code.clone(),
            currency: terms.map(|terms| terms.currency.to_string()),
            currency_amount: terms.map(|terms| terms.money.to_string()),
            exchange_rate: terms.map(|terms| Amount::exact(terms.rate)),
            id,
            name,
        }
    }
}

#[cfg(test)]
mod recomputed;
#[cfg(test)]
mod tests;
