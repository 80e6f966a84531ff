//! Figures that old clients ask for; `/v1/wallet/usage` and a job's progress tell more.

use common::ids::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::customer::job_out::JobAnswer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::jobs::monitoring::status;
use crate::jobs::quote::template_figures;
use crate::jobs::quote::template_figures::TemplateFigures;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJobTypes", "/stats/job_types", job_types)
            .summary("Counts a year's ended jobs by template")
            .deprecated(),
        get("Customer_GetStatsDetail", "/stats/detail/{id}", detail)
            .summary("Gets the figures of a job or of a template by its id")
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
    let all = template_figures::all(call.app(), &caller).await?;
    Ok(JobTypesOut { job_types: all.into_iter().map(JobTypeOut::from).collect() })
}

async fn detail(id: Segment, call: Call) -> Result<Detail> {
    let caller = call.caller().await?;
    let app = call.app();
    match id.0.parse::<JobId>() {
        Ok(job) => Ok(Detail::Job(Box::new(status::read(app, &caller, job).await?.into()))),
        Err(_) => Ok(Detail::JobType(template_figures::of(app, &caller, &id.0).await?.into())),
    }
}

impl From<TemplateFigures> for JobTypeOut {
    fn from(figures: TemplateFigures) -> Self {
        Self { template_id: figures.template, jobs: figures.jobs, tasks: figures.tasks }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn stats_for_old_clients_have_their_fields() {
        let server = TestServer::open().await;
        let id = server.running_job().await;

        let (status, types) = server.get("/v1/customer/stats/job_types").await;
        let (_, detail) = server.get(&format!("/v1/customer/stats/detail/{id}")).await;

        assert_eq!((status, types["jobTypes"].is_array()), (200, true));
        assert_eq!(detail["job"]["id"], id);
        let (status, of_type) = server.get("/v1/customer/stats/detail/t").await;
        assert_eq!((status, &of_type["templateId"]), (200, &serde_json::json!("t")), "{of_type}");
        assert_eq!(server.get("/v1/customer/stats/detail/no-such").await.0, 404);
        let plans = server.get("/v1/wallet/plans").await;
        assert_eq!(plans, (200, serde_json::json!({"plans": []})));
    }
}
