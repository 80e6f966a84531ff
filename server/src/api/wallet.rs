//! The wallet, as its owner reads it.

use chrono::{DateTime, Utc};
use common::credits::Credits;
use common::digest::Digest;
use common::ids::{TransferId, WorkspaceId};
use common::rights::Scope;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::call::Call;
use super::error::Result;
use super::page::{FILTER, PAGE};
use super::page::{Page, Paged};
use super::route::{Route, get, post};
use super::{App, selection};
use crate::store::selection::Selection;
use crate::store::wallet::{self, Line, LineField};

/// The other side of a customer's payments and credits.
const MARKET_ACCOUNT: &str = "fanfold-main";
const CSV_LINES_MAX: u64 = 10_000;
/// Newest first: ids rise.
const ORDER: [(LineField, bool); 1] = [(LineField::Id, true)];

/// An amount as a JSON number, written from its decimal text: no float ever holds it.
pub struct Amount {
    credits: Credits,
    taken: bool,
}

impl Amount {
    pub const fn given(credits: Credits) -> Self {
        Self { credits, taken: false }
    }

    pub const fn taken(credits: Credits) -> Self {
        Self { credits, taken: true }
    }

    fn text(&self) -> String {
        let sign = if self.taken && !self.credits.is_zero() { "-" } else { "" };
        format!("{sign}{}", self.credits)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.text()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BalanceOut {
    #[schema(value_type = String)]
    account_id: WorkspaceId,
    #[schema(value_type = f64)]
    total_balance: Amount,
    #[schema(value_type = f64)]
    available_balance: Amount,
    amount_due: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransactionOut {
    #[schema(value_type = String)]
    id: TransferId,
    created_at: DateTime<Utc>,
    account_from: String,
    account_to: String,
    /// Negative where it was taken.
    #[schema(value_type = f64)]
    amount: Amount,
    transaction_type: &'static str,
    #[schema(value_type = Object)]
    related_entity: Value,
    #[schema(value_type = Object)]
    related_entity_data: Value,
    notes: &'static str,
    transaction_data: &'static str,
    /// Of the line's own fields.
    #[schema(value_type = String)]
    hash: Digest,
    description: String,
    /// After this line.
    #[schema(value_type = f64)]
    balance: Amount,
}

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_GetBalance", "/balance", balance).summary("Shows the balance"),
        get("Wallet_GetTransactions", "/transactions", transactions)
            .summary("Lists transactions")
            .query(PAGE),
        post("Wallet_FilterTransactions", "/transactions/filter", filter)
            .summary("Finds transactions")
            .body(FILTER)
            .needs(Scope::WalletRead),
        get("Wallet_GetTransactionsCsv", "/transactions/csv", csv)
            .summary("Gives transactions as comma-separated values")
            .query(PAGE),
    ]
}

pub fn old_routes() -> Vec<Route> {
    vec![
        get("Customer_GetBalance2023", "/wallet/balance", old_balance)
            .summary("Shows the balance in whole credits")
            .needs(Scope::WalletRead)
            .deprecated(),
    ]
}

async fn old_balance(call: Call) -> Result<Value> {
    let caller = call.caller().await?;
    let balance = wallet::balance(&call.app().db, caller.workspace).await?;
    let whole = |credits: Credits| (credits.units() / 100_000_000).to_string();
    Ok(json!({
        "accountId": caller.workspace,
        "totalBalance": whole(balance.available.saturating_add(balance.held)),
        "availableBalance": whole(balance.available),
    }))
}

async fn balance(call: Call) -> Result<BalanceOut> {
    let caller = call.caller().await?;
    let balance = wallet::balance(&call.app().db, caller.workspace).await?;
    Ok(BalanceOut {
        account_id: caller.workspace,
        total_balance: Amount::given(balance.available.saturating_add(balance.held)),
        available_balance: Amount::given(balance.available),
        amount_due: 0,
    })
}

async fn transactions(call: Call) -> Result<Paged<TransactionOut>> {
    let caller = call.caller().await?;
    let (page, selection) = selection::from_query(&call.query()?, &ORDER)?;
    show(call.app(), caller.workspace, page, &selection).await
}

async fn filter(mut call: Call) -> Result<Paged<TransactionOut>> {
    let caller = call.caller().await?;
    let (page, selection) = selection::from_body(call.json().await?, &ORDER)?;
    show(call.app(), caller.workspace, page, &selection).await
}

/// The newest lines of the statement as a table.
async fn csv(call: Call) -> Result<Value> {
    let caller = call.caller().await?;
    let selection =
        Selection { tests: Vec::new(), order: ORDER.to_vec(), offset: 0, limit: CSV_LINES_MAX };
    let (lines, _) = wallet::list(&call.app().db, caller.workspace, &selection).await?;
    let mut table = "id,createdAt,transactionType,amount,balance,jobId,description\n".to_owned();
    for line in lines {
        let job = line.job.map_or_else(String::new, |job| job.to_string());
        let out = TransactionOut::new(caller.workspace, line);
        let (kind, amount, balance) = (out.transaction_type, out.amount.text(), out.balance.text());
        let (id, at, text) = (out.id, out.created_at.to_rfc3339(), cell(&out.description));
        table.push_str(&format!("{id},{at},{kind},{amount},{balance},{job},{text}\n"));
    }
    Ok(json!({ "csv": table }))
}

/// A text as a cell. One that a spreadsheet would take for a formula is marked as text.
fn cell(text: &str) -> String {
    let mark = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

async fn show(
    app: &App,
    owner: WorkspaceId,
    page: Page,
    selection: &Selection<LineField>,
) -> Result<Paged<TransactionOut>> {
    let (lines, total) = wallet::list(&app.db, owner, selection).await?;
    let data = lines.into_iter().map(|line| TransactionOut::new(owner, line)).collect();
    Ok(Paged { pagination: page.of(total), data })
}

impl TransactionOut {
    fn new(owner: WorkspaceId, line: Line) -> Self {
        let amount = match (line.credit, line.debit) {
            (Some(credit), _) => Amount::given(credit),
            (None, debit) => Amount::taken(debit.unwrap_or_default()),
        };
        let hash = Digest::of(
            format!("{owner}/{}/{}/{}/{}", line.id, line.at, amount.text(), line.balance)
                .as_bytes(),
        );
        let (from, to) = (owner.to_string(), MARKET_ACCOUNT.to_owned());
        let (from, to) = if amount.taken { (from, to) } else { (to, from) };
        let kind = wallet::KINDS[usize::from(amount.taken)];
        let related_entity = match line.job {
            Some(job) => json!({"type": "job", "id": job, "name": line.description}),
            None => json!({"type": kind, "id": "", "name": line.description}),
        };
        let related_entity_data = match line.job {
            Some(job) => json!({"type": kind, "jobId": job, "jobName": line.description}),
            None => json!({"type": kind, "description": line.description}),
        };
        Self {
            id: line.id,
            created_at: line.at,
            account_from: from,
            account_to: to,
            amount,
            transaction_type: kind,
            related_entity,
            related_entity_data,
            notes: "",
            transaction_data: "",
            hash,
            description: line.description,
            balance: Amount::given(line.balance),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::super::testing::Door;
    use super::*;

    #[test]
    fn amounts_are_exact_numbers_of_eight_decimals() {
        let most = Credits::from_units(i64::MAX).unwrap();
        let one = Credits::from_units(1).unwrap();

        let text = serde_json::to_string(&(Amount::given(most), Amount::taken(one))).unwrap();

        assert_eq!(text, "[92233720368.54775807,-0.00000001]");
    }

    #[tokio::test]
    async fn the_statement_is_filtered_and_sorted() {
        let door = Door::open().await;
        for (units, name) in [(200_000_000, "first"), (300_000_001, "second")] {
            let amount = Credits::from_units(units).unwrap();
            door.app.coordinator.grant(door.workspace, amount, name).await.unwrap();
        }
        let amounts = |body: &Value| -> Vec<String> {
            let lines = body["data"].as_array().unwrap_or_else(|| panic!("no list: {body}"));
            lines.iter().map(|line| line["amount"].to_string()).collect()
        };
        for (field, condition, value, found) in [
            ("amount", "EQ", json!("3.00000001"), vec!["3.00000001"]),
            ("amount", "GT", json!(-1), vec!["3.00000001", "2.0"]),
            ("transactionType", "EQ", json!("payment"), vec![]),
            ("transactionType", "IN", json!(["coupon"]), vec!["3.00000001", "2.0"]),
            ("balance", "GTE", json!(5), vec!["3.00000001"]),
            ("related_entity_data.job_id", "EQ", Value::Null, vec!["3.00000001", "2.0"]),
        ] {
            let body = json!({"filters": [{"field": field, "condition": condition,
                                           "value": value}]});

            let (status, lines) = door.post("/v1/wallet/transactions/filter", body).await;

            assert_eq!(
                (status, amounts(&lines)),
                (200, found.iter().map(ToString::to_string).collect()),
                "{field}"
            );
        }
        let (_, lines) = door.get("/v1/wallet/transactions?orderBy=amount&limit=1").await;
        assert_eq!(amounts(&lines), ["2.0"]);
        let (_, csv) = door.get("/v1/wallet/transactions/csv").await;
        let rows: Vec<_> = csv["csv"].as_str().unwrap().lines().skip(1).collect();
        assert!(
            rows[0].ends_with(",coupon,3.00000001,5.00000001,,\"promotional credits\""),
            "{rows:?}"
        );
        assert!(
            rows[1].ends_with(",coupon,2.00000000,2.00000000,,\"promotional credits\""),
            "{rows:?}"
        );
        assert_eq!(cell("=1+\"x\""), "\"'=1+\"\"x\"\"\"");
        let (_, old) = door.get("/v1/customer/wallet/balance").await;
        assert_eq!(
            old,
            json!({"accountId": door.workspace, "totalBalance": "5", "availableBalance": "5"})
        );
        let stranger = door.stranger().await;
        let path = "/v1/wallet/transactions/filter";
        let (_, lines) = door.call_as(&stranger, Method::POST, path, Some(json!({}))).await;
        assert_eq!(lines["pagination"]["total"], 0);
    }
}
