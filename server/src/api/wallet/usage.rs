//! What was used and paid, by month and template.

use std::collections::BTreeMap;

use common::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Amount;
use crate::api::http::call::Call;
use crate::api::http::error::{Error, Result};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{Field, text};
use crate::clock;
use crate::store::holdings;
use crate::store::usage::{self, Month, Row};

/// Ten years.
const MONTHS_MAX: u32 = 120;
const MONTHS_DEFAULT: u32 = 12;

const SPAN: &[Field] = &[
    text("from", "The first month, as 2026-01; eleven months before the last where left out"),
    text("to", "The last month; this one where left out"),
];

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_GetUsage", "/usage", list)
            .summary("Sums up ended runs by month and template, and what is stored now")
            .query(SPAN),
        get("Wallet_GetUsageCsv", "/usage/csv", csv)
            .summary("Gives the same as comma-separated values")
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

#[derive(Serialize, ToSchema)]
struct CsvOut {
    csv: String,
}

async fn list(call: Call) -> Result<UsageAnswer> {
    let data = find(&call).await?;
    let (app, owner) = (call.app(), call.caller().await?.workspace);
    let by_kind = holdings::by_kind(&app.db, owner).await?;
    let bytes = by_kind.values().sum();
    let storage = StorageOut { bytes, quota_bytes: app.data.quotas().most(), by_kind };
    Ok(UsageAnswer { data, storage })
}

async fn csv(call: Call) -> Result<CsvOut> {
    let mut csv = "month,templateId,jobs,tasks,cpuHours,memoryGibHours,amount\n".to_owned();
    for row in find(&call).await? {
        let (cpu, memory) = (row.cpu_hours.text(), row.memory_gib_hours.text());
        let UsageOut { month, template_id, jobs, tasks, .. } = &row;
        let (template, amount) = (super::transactions::cell(template_id), row.amount.text());
        csv.push_str(&format!("{month},{template},{jobs},{tasks},{cpu},{memory},{amount}\n"));
    }
    Ok(CsvOut { csv })
}

async fn find(call: &Call) -> Result<Vec<UsageOut>> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let month = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => {
            let month = Month::parse(text);
            month.map(Some).ok_or_else(|| Error::field(name, "must be a month, such as 2026-01"))
        }
    };
    let last = month("to")?.unwrap_or_else(|| Month::of(clock::now()));
    let first = month("from")?.unwrap_or_else(|| last.minus(MONTHS_DEFAULT - 1));
    if first > last || last.minus(MONTHS_MAX - 1) > first {
        let problem = format!("must be before to, by less than {MONTHS_MAX} months");
        return Err(Error::field("from", problem));
    }
    let rows = usage::by_month(&call.app().db, caller.workspace, first, last).await?;
    Ok(rows.into_iter().map(UsageOut::from).collect())
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
