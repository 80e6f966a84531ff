//! What was used and paid, by month and template, and what is stored now.

use std::collections::BTreeMap;

use common::access::Scope;
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::api::http::shape::text;
use crate::error::{Error, Result};
use crate::wallet::usage::{self, BadSpan, Month, Row, Span, Storage};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_GetUsage", "/usage", read)
            .summary("Sums ended runs by month and template, and gets what is stored now")
            .query(vec![
                text("from", "The first month, as 2026-01; eleven before the last if left out"),
                text("to", "The last month; this one where it is left out"),
            ])
            .needs(Scope::WalletRead),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
struct UsageOut {
    /// By month, and in it by template.
    months: Vec<MonthlyUsage>,
    storage: StoredNow,
}

/// Ended runs of one template in one month, in UTC.
#[derive(Serialize, ToSchema)]
struct MonthlyUsage {
    /// As 2026-01.
    month: String,
    /// Empty where jobs named their packages themselves.
    template: String,
    /// Jobs that ended.
    jobs: u64,
    /// Tasks that were paid.
    tasks: u64,
    /// Milliseconds of vCPU time.
    cpu_ms: u64,
    /// MiB of memory times milliseconds.
    memory_mib_ms: u64,
    /// What they cost, in credits.
    #[schema(value_type = String)]
    price: Credits,
}

/// What the workspace keeps in the bucket now.
#[derive(Serialize, ToSchema)]
struct StoredNow {
    bytes: u64,
    /// The most that it may keep.
    quota_bytes: u64,
    /// Of caches, images, packages, runs and uploads.
    by_kind: BTreeMap<&'static str, u64>,
}

async fn read(call: Call) -> Result<UsageOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (first, last) = (month(&query, "from")?, month(&query, "to")?);
    let span =
        Span::new(first, last).map_err(|bad: BadSpan| Error::field("from", bad.to_string()))?;
    let rows = usage::by_month(call.app(), &caller, span).await?;
    let Storage { bytes, quota_bytes, by_kind } = usage::storage(call.app(), &caller).await?;
    Ok(UsageOut {
        months: rows.into_iter().map(MonthlyUsage::from).collect(),
        storage: StoredNow { bytes, quota_bytes, by_kind },
    })
}

fn month(query: &BTreeMap<String, String>, name: &str) -> Result<Option<Month>> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let month = Month::parse(text).map(Some);
    month.ok_or_else(|| Error::field(name, "must be a month, such as 2026-01"))
}

impl From<Row> for MonthlyUsage {
    fn from(row: Row) -> Self {
        Self {
            month: row.month,
            template: row.template,
            jobs: row.jobs.unsigned_abs(),
            tasks: row.tasks.unsigned_abs(),
            cpu_ms: row.cpu_ms.unsigned_abs(),
            memory_mib_ms: row.memory_mib_ms.unsigned_abs(),
            price: row.amount,
        }
    }
}
