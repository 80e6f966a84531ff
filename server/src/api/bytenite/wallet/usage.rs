//! What was used and paid, by month and template.

use std::collections::BTreeMap;

use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::Method;

use super::amount::Amount;
use super::sheet::{self, CsvOut};
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, raw};
use crate::api::http::shape::{Field, text};
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::wallet::usage;
use crate::wallet::usage::{BadSpan, Month, Row, Span, Storage};

const COLUMNS: [&str; 7] =
    ["month", "templateId", "jobs", "tasks", "cpuHours", "memoryGibHours", "amount"];

const SPAN: &[Field] = &[
    text("from", "The first month, as 2026-01; eleven months before the last where left out"),
    text("to", "The last month; this one where left out"),
];

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_GetUsage", "/usage", list)
            .summary("Sums ended runs by month and template, and gets what is stored now")
            .query(SPAN),
        raw(Method::GET, "Wallet_GetUsageCsv", "/usage/csv", sheet::MEDIA, csv)
            .summary("Gets the usage as comma-separated values")
            .gives::<CsvOut>()
            .also(sheet::MEDIA)
            .query(SPAN),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageAnswer {
    data: Vec<UsageOut>,
    storage: StorageOut,
}

/// What the workspace keeps in the bucket now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StorageOut {
    bytes: u64,
    /// The most that it may keep.
    quota_bytes: u64,
    /// Of caches, images, packages, runs and uploads.
    by_kind: BTreeMap<&'static str, u64>,
}

/// Ended runs of one template in one month, in UTC.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageOut {
    month: String,
    template_id: String,
    jobs: u64,
    tasks: u64,
    cpu_hours: Amount,
    memory_gib_hours: Amount,
    amount: Amount,
}

async fn list(call: Call) -> Result<UsageAnswer> {
    let caller = call.caller().await?;
    let data = find(&call, &caller).await?;
    let Storage { bytes, quota_bytes, by_kind } = usage::storage(call.app(), &caller).await?;
    Ok(UsageAnswer { data, storage: StorageOut { bytes, quota_bytes, by_kind } })
}

async fn csv(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let rows = find(&call, &caller).await?;
    let csv = sheet::written(|csv| {
        csv.write_record(COLUMNS)?;
        rows.iter().try_for_each(|row| csv.write_record(row.cells()))
    });
    sheet::answer(&call.headers, csv.map_err(|e| Error::Internal(Box::new(e)))?, "usage.csv")
}

async fn find(call: &Call, caller: &Caller) -> Result<Vec<UsageOut>> {
    let query = call.query()?;
    let month = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => {
            let month = Month::parse(text);
            month.map(Some).ok_or_else(|| Error::field(name, "must be a month, such as 2026-01"))
        }
    };
    let (last, first) = (month("to")?, month("from")?);
    let span =
        Span::new(first, last).map_err(|bad: BadSpan| Error::field("from", bad.to_string()))?;
    let rows = usage::by_month(call.app(), caller, span).await?;
    Ok(rows.into_iter().map(UsageOut::from).collect())
}

impl UsageOut {
    fn cells(&self) -> [String; COLUMNS.len()] {
        [
            self.month.clone(),
            sheet::marked(&self.template_id),
            self.jobs.to_string(),
            self.tasks.to_string(),
            self.cpu_hours.text().to_owned(),
            self.memory_gib_hours.text().to_owned(),
            self.amount.text().to_owned(),
        ]
    }
}

impl From<Row> for UsageOut {
    fn from(row: Row) -> Self {
        // Hours have eight decimals, as credits do: 3,600,000 ms are 100,000,000 of them.
        let hours = |ms: i64| {
            Amount::of(
                Credits::from_units(ms / 36 * 1000 + ms % 36 * 1000 / 36).unwrap_or_default(),
            )
        };
        Self {
            month: row.month,
            template_id: row.template,
            jobs: row.jobs.unsigned_abs(),
            tasks: row.tasks.unsigned_abs(),
            cpu_hours: hours(row.cpu_ms),
            memory_gib_hours: hours(row.memory_mib_ms / 1024),
            amount: Amount::of(row.amount),
        }
    }
}
