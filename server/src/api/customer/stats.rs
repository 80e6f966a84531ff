//! Figures that old clients ask for; `/v1/wallet/usage` and a job's progress tell more.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::job_out::{self, JobAnswer};
use super::jobs;
use crate::api::http::call::{Call, Segment};
use crate::api::http::error::Result;
use crate::api::http::route::{Route, get};
use crate::clock;
use crate::store::usage::{self, Month};

const MONTHS: u32 = 11;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJobTypes", "/stats/job_types", job_types)
            .summary("Counts a year's ended jobs by template")
            .deprecated(),
        get("Customer_GetStatsDetail", "/stats/detail/{jobId}", detail)
            .summary("Shows a job's figures")
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

async fn job_types(call: Call) -> Result<JobTypesOut> {
    let caller = call.caller().await?;
    let last = Month::of(clock::now());
    let rows = usage::by_month(&call.app().db, caller.workspace, last.minus(MONTHS), last).await?;
    let mut by_template = BTreeMap::<String, (u64, u64)>::new();
    for row in rows {
        let (jobs, tasks) = by_template.entry(row.template).or_default();
        *jobs += row.jobs.unsigned_abs();
        *tasks += row.tasks.unsigned_abs();
    }
    let one = |(template_id, (jobs, tasks))| JobTypeOut { template_id, jobs, tasks };
    Ok(JobTypesOut { job_types: by_template.into_iter().map(one).collect() })
}

async fn detail(id: Segment, call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    let run = job_out::run_of(app, &job).await?;
    job_out::answer(app, job, run).await
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
    }
}
