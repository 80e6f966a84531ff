//! Spend caps: the most that the runs of a project may cost in a period.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::money::credits::Credits;
use common::money::spend_cap::CapPeriod;
use serde::Serialize;
use utoipa::ToSchema;

use super::exchange::amount;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{text, word};
use crate::error::{Error, Result};
use crate::jobs::containers::PROJECT_CHARS_MAX;
use crate::wallet::spend_caps::{self, CapView};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListSpendCaps", "/spend_caps", list)
            .summary("Lists the spend caps of projects, by the names of these")
            .needs(Scope::WalletRead),
        get("Fanfold_GetSpendCap", "/spend_caps/{project}", read)
            .summary("Gets the spend cap of a project, and what is spent of it")
            .needs(Scope::WalletRead),
        post("Fanfold_SetSpendCap", "/spend_caps", set)
            .summary("Sets the most that the runs of a project may hold and cost in a period")
            .body(vec![
                text("project", "The name that jobs give as their project").required().example("a"),
                text("credits", "The most that its runs may cost").required().example("100"),
                word("period", &PERIODS, "Of UTC, or in total; month where it is left out"),
            ])
            .needs(Scope::WalletWrite),
        delete("Fanfold_DeleteSpendCap", "/spend_caps/{project}", remove)
            .summary("Deletes the spend cap of a project")
            .needs(Scope::WalletWrite),
    ]
}

const PERIODS: [&str; 3] = ["day", "month", "total"];

#[derive(Serialize, ToSchema)]
struct SpendCapList {
    /// At most 200.
    spend_caps: Vec<SpendCapOut>,
}

/// The most that the runs of a project may cost in a period.
#[derive(Serialize, ToSchema)]
#[schema(as = SpendCap)]
struct SpendCapOut {
    /// The name that jobs give as their project.
    project: String,
    /// The most that its runs may cost.
    #[schema(value_type = String)]
    credits: Credits,
    /// For how long what was spent counts.
    period: PeriodOut,
    /// When the period began; null where it is all time.
    since: Option<DateTime<Utc>>,
    /// When the next period begins.
    renews_at: Option<DateTime<Utc>>,
    /// What its runs have cost in the period, and since the cap was set.
    #[schema(value_type = String)]
    spent: Credits,
    /// What its runs hold now.
    #[schema(value_type = String)]
    held: Credits,
}

/// For how long what was spent counts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SpendPeriod)]
enum PeriodOut {
    Day,
    Month,
    Total,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedSpendCap {
    project: String,
}

async fn list(call: Call) -> Result<SpendCapList> {
    let caller = call.caller().await?;
    let found = spend_caps::list(call.app(), &caller).await?;
    Ok(SpendCapList { spend_caps: found.into_iter().map(SpendCapOut::from).collect() })
}

async fn read(project: Segment, call: Call) -> Result<SpendCapOut> {
    let caller = call.caller().await?;
    Ok(spend_caps::read(call.app(), &caller, project.as_str()).await?.into())
}

async fn set(mut call: Call) -> Result<SpendCapOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let field = body.name("project");
    let project = body.line("project", PROJECT_CHARS_MAX)?;
    let project = project.ok_or_else(|| Error::field(field, "is missing"))?;
    let limit: Credits = amount("credits", &body.required_text("credits")?)?;
    let field = body.name("period");
    let period = match body.text("period")? {
        Some(name) => CapPeriod::from_name(&name)
            .ok_or_else(|| Error::field(field, format!("must be one of {}", PERIODS.join(", "))))?,
        None => CapPeriod::Month,
    };
    body.finish()?;
    Ok(spend_caps::set(call.app(), &caller, &project, limit, period).await?.into())
}

async fn remove(project: Segment, call: Call) -> Result<DeletedSpendCap> {
    let caller = call.caller().await?;
    spend_caps::remove(call.app(), &caller, project.as_str()).await?;
    Ok(DeletedSpendCap { project: project.as_str().to_owned() })
}

impl From<CapView> for SpendCapOut {
    fn from(CapView { project, cap, held }: CapView) -> Self {
        let renews_at = cap.ends();
        Self {
            project,
            credits: cap.limit,
            period: match cap.period {
                CapPeriod::Day => PeriodOut::Day,
                CapPeriod::Month => PeriodOut::Month,
                CapPeriod::Total => PeriodOut::Total,
            },
            since: renews_at.map(|_| cap.since),
            renews_at,
            spent: cap.spent,
            held,
        }
    }
}
