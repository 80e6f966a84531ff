//! Lists of jobs: pages, orders and filters.

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
use crate::error::Result;
use crate::jobs::JobKind;
use crate::jobs::list;
use crate::jobs::list::JobField;

/// Newest first.
const ORDER: [(JobField, bool); 1] = [(JobField::CreatedAt, true)];

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetAllJobs", "/jobs", all)
            .summary("Lists jobs")
            .query([LIST, OF_STATE].concat()),
        post("Customer_FilterJobs", "/jobs/filter", filter)
            .summary("Lists the jobs that match filters")
            .body(FILTER)
            .needs(Scope::JobsRead),
    ]
}

/// What a list of jobs can be asked beside: more conditions are for `filter`.
const OF_STATE: &[Field] = &[
    word("status", &STATUSES, "Those that are so far"),
    word("state", &STATES, "The same in the words of older clients"),
];

async fn all(call: Call) -> Result<Paged<JobOut>> {
    let caller = call.caller().await?;
    let equal = [("status", JobField::Status), ("state", JobField::State)];
    let selection = selection::from_query_with(&call.query()?, &ORDER, &equal)?;
    let _permit = call.answer_permit(&caller).await;
    let found = list::list(call.app(), &caller, Some(JobKind::Template), None, &selection).await?;
    let pagination = selection::pagination(&selection, &found);
    Ok(Paged { pagination, data: found.rows.into_iter().map(JobOut::from).collect() })
}

async fn filter(mut call: Call) -> Result<Paged<JobOut>> {
    let caller = call.caller().await?;
    let selection = selection::from_body(call.json().await?, &ORDER)?;
    let _permit = call.answer_permit(&caller).await;
    let found = list::list(call.app(), &caller, Some(JobKind::Template), None, &selection).await?;
    let pagination = selection::pagination(&selection, &found);
    Ok(Paged { pagination, data: found.rows.into_iter().map(JobOut::from).collect() })
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
