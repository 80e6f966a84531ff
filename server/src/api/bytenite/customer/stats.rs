//! Figures that old clients ask for; `/v1/wallet/usage` and a job's progress tell more.

use std::collections::BTreeMap;

use common::ids::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use super::job_out::{self, JobAnswer};
use super::jobs;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::clock;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::catalogue::templates;
use crate::store::money::usage;
use crate::store::money::usage::Month;

const MONTHS: u32 = 11;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJobTypes", "/stats/job_types", job_types)
            .summary("Counts a year's ended jobs by template")
            .deprecated(),
        get("Customer_GetStatsDetail", "/stats/detail/{id}", detail)
            .summary("Shows the figures of a job, by its id, or of a template, by its own")
            .deprecated(),
    ]
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct JobTypesOut {
    job_types: Vec<JobTypeOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct JobTypeOut {
    template_id: String,
    jobs: u64,
    tasks: u64,
}

/// A job's figures, or those of a template, which older clients call a job type.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Detail {
    Job(Box<JobAnswer>),
    JobType(JobTypeOut),
}

async fn job_types(call: Call) -> Result<JobTypesOut> {
    let caller = call.caller().await?;
    Ok(JobTypesOut { job_types: by_template(&call, &caller).await? })
}

/// A year's figures of each template.
async fn by_template(call: &Call, caller: &Caller) -> Result<Vec<JobTypeOut>> {
    let last = Month::of(clock::now());
    let rows = usage::by_month(&call.app().db, caller.workspace, last.minus(MONTHS), last).await?;
    let mut by_template = BTreeMap::<String, (u64, u64)>::new();
    for row in rows {
        let (jobs, tasks) = by_template.entry(row.template).or_default();
        *jobs += row.jobs.unsigned_abs();
        *tasks += row.tasks.unsigned_abs();
    }
    let one = |(template_id, (jobs, tasks))| JobTypeOut { template_id, jobs, tasks };
    Ok(by_template.into_iter().map(one).collect())
}

async fn detail(id: Segment, call: Call) -> Result<Detail> {
    let caller = call.caller().await?;
    let app = call.app();
    if id.0.parse::<JobId>().is_err() {
        let mut all = by_template(&call, &caller).await?.into_iter();
        let found = all.find(|one| one.template_id == id.0);
        return match found {
            Some(found) => Ok(Detail::JobType(found)),
            None if templates::find(&app.db, caller.workspace, &id.0).await?.is_some() => {
                Ok(Detail::JobType(JobTypeOut { template_id: id.0, jobs: 0, tasks: 0 }))
            }
            None => Err(Error::not_found("template", &id.0)),
        };
    }
    let job = jobs::find(app, &caller, &id).await?;
    let run = job_out::run_of(app, &job).await?;
    Ok(Detail::Job(Box::new(job_out::answer(app, job, run).await?)))
}

#[cfg(test)]
mod tests {
    use crate::api::testing::Door;

    #[tokio::test]
    async fn old_clients_get_their_figures() {
        let door = Door::open().await;
        let id = door.running_job().await;

        let (status, types) = door.get("/v1/customer/stats/job_types").await;
        let (_, detail) = door.get(&format!("/v1/customer/stats/detail/{id}")).await;

        assert_eq!((status, types["jobTypes"].is_array()), (200, true));
        assert_eq!(detail["job"]["id"], id);
        let (status, of_type) = door.get("/v1/customer/stats/detail/t").await;
        assert_eq!((status, &of_type["templateId"]), (200, &serde_json::json!("t")), "{of_type}");
        assert_eq!(door.get("/v1/customer/stats/detail/no-such").await.0, 404);
        let plans = door.get("/v1/wallet/plans").await;
        assert_eq!(plans, (200, serde_json::json!({"plans": []})));
    }
}
