//! Lists of jobs: pages, orders and filters.

use std::collections::HashMap;

use common::access::Scope;

use super::job_out::JobOut;
use super::states::{STATES, STATUSES};
use crate::api::bytenite::lists::named::Named;
use crate::api::bytenite::lists::page::Paged;
use crate::api::bytenite::lists::selection;
use crate::api::bytenite::lists::selection::{FILTER, LIST};
use crate::api::bytenite::names::PRIORITIES;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, word};
use crate::app::App;
use crate::error::Result;
use crate::people::caller::Caller;
use crate::store::jobs::{self, Job, JobField};
use crate::store::market::runs;
use crate::store::query::selection::Selection;

/// Newest first.
const ORDER: [(JobField, bool); 1] = [(JobField::CreatedAt, true)];

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetAllJobs", "/jobs", list)
            .summary("Lists jobs")
            .query([LIST, OF_STATE].concat()),
        post("Customer_FilterJobs", "/jobs/filter", filter)
            .summary("Finds jobs")
            .body(FILTER)
            .needs(Scope::JobsRead),
    ]
}

/// What a list of jobs can be asked beside: more conditions are for `filter`.
const OF_STATE: &[Field] = &[
    word("status", &STATUSES, "Those that are so far"),
    word("state", &STATES, "The same in the words of older clients"),
];

async fn list(call: Call) -> Result<Paged<JobOut>> {
    let caller = call.caller().await?;
    let equal = [("status", JobField::Status), ("state", JobField::State)];
    let selection = selection::from_query_with(&call.query()?, &ORDER, &equal)?;
    let _place = call.answer_place(&caller).await;
    show(call.app(), &caller, &selection).await
}

async fn filter(mut call: Call) -> Result<Paged<JobOut>> {
    let caller = call.caller().await?;
    let selection = selection::from_body(call.json().await?, &ORDER)?;
    let _place = call.answer_place(&caller).await;
    show(call.app(), &caller, &selection).await
}

async fn show(
    app: &App,
    caller: &Caller,
    selection: &Selection<JobField>,
) -> Result<Paged<JobOut>> {
    let found = jobs::list(&app.db, caller.workspace, selection).await?;
    let pagination = selection::pagination(selection, &found);
    let started: Vec<_> =
        found.rows.iter().filter(|job| job.run.is_some()).map(|job| job.id).collect();
    let mut by_job: HashMap<_, _> = runs::find_by_jobs(&app.db, caller.workspace, &started)
        .await?
        .into_iter()
        .map(|run| (run.job, run))
        .collect();
    let shown = |job: Job| {
        let run = by_job.remove(&job.id);
        JobOut::new(app, job, run, None)
    };
    Ok(Paged { pagination, data: found.rows.into_iter().map(shown).collect() })
}

impl Named for JobField {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::TemplateId => "templateId",
            Self::Name => "name",
            Self::Description => "description",
            Self::State => "state",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::CreatedAt => "createdAt",
            Self::SubmittedAt => "submittedAt",
            Self::StartedAt => "startedAt",
            Self::EndedAt => "endedAt",
            Self::StartAt => "startAt",
            Self::PaymentAmount => "paymentAmount",
            Self::NumChunks => "numChunks",
            Self::ErrorMessage => "errorMessage",
            Self::Tags => "tags",
            Self::Whitelist => "regions.whitelist",
            Self::Blacklist => "regions.blacklist",
        }
    }

    fn choices(self) -> &'static [&'static str] {
        match self {
            Self::State => &STATES,
            Self::Status => &STATUSES,
            Self::Priority => &PRIORITIES,
            Self::Id
            | Self::TemplateId
            | Self::Name
            | Self::Description
            | Self::CreatedAt
            | Self::SubmittedAt
            | Self::StartedAt
            | Self::EndedAt
            | Self::StartAt
            | Self::PaymentAmount
            | Self::NumChunks
            | Self::ErrorMessage
            | Self::Tags
            | Self::Whitelist
            | Self::Blacklist => &[],
        }
    }
}

#[cfg(test)]
mod tests;
