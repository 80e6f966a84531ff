//! What a job will cost, said before it runs.

use common::credits::Credits;
use common::price::{estimate, price};
use common::resources::Usage;
use common::spec::{Partition, Partitioner, RunSpec, Source};
use common::task::Stage;
use serde::Serialize;
use utoipa::ToSchema;

use super::{jobs, plan};
use crate::api::App;
use crate::api::http::call::{Call, Segment};
use crate::api::http::error::Result;
use crate::api::http::route::{Route, get};
use crate::api::http::token::Caller;
use crate::data::LookedKind;
use crate::store::jobs::Job;
use crate::store::wallet;

const MS_PER_HOUR: u64 = 3_600_000;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_QuoteJob", "/jobs/{jobId}/quote", quote)
            .summary("Says what a job is estimated to cost"),
        get("Customer_EstimateJob2023", "/jobs/estimation/{jobId}", estimation)
            .summary("Says what a job is estimated to cost, in whole units")
            .deprecated(),
    ]
}

/// The price of a job's tasks, each using all that it may for as long as it may. What is charged
/// in the end is what was used: by tasks whose results were accepted, and by attempts that failed
/// through the job's own code, data or limits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    /// `None` where only the run will tell: a partitioner of the customer's own.
    chunks: Option<u64>,
    /// What one task's vCPUs and memory cost in an hour.
    #[schema(value_type = String)]
    task_hour_price: Credits,
    task_secs: u32,
    /// Whether the job's own task timeout was taken, and not the server's default.
    task_secs_is_limit: bool,
    #[schema(value_type = String)]
    task_price: Credits,
    /// For a partitioner and an assembler of the customer's own; built-in ones are free.
    #[schema(value_type = String)]
    single_price: Credits,
    /// For all chunks, the partitioner and the assembler; `None` where the chunks are not known.
    #[schema(value_type = Option<String>)]
    total: Option<Credits>,
    #[schema(value_type = String)]
    available: Credits,
    /// Whether the wallet covers the total, or one task where that is not known.
    affordable: bool,
}

#[derive(Serialize, ToSchema)]
struct EstimationOut {
    estimation: Estimation,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Estimation {
    /// Whole credits, as a text.
    total_estimation: String,
}

async fn quote(id: Segment, call: Call) -> Result<Quote> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    let spec = plan::pin(app, &caller, &job, job.config()).await?;
    of(app, &caller, &job, &spec).await
}

/// The quote in whole credits, rounded up; chunks that are not known count as one.
async fn estimation(id: Segment, call: Call) -> Result<EstimationOut> {
    let quote = quote(id, call).await?;
    let total_estimation = quote.total.unwrap_or(quote.task_price).rounded_up().to_string();
    Ok(EstimationOut { estimation: Estimation { total_estimation } })
}

/// The quote of a job that is ready to run.
pub async fn of(app: &App, caller: &Caller, job: &Job, spec: &RunSpec) -> Result<Quote> {
    let chunks = chunks(app, caller, job, spec).await?;
    let needs = spec.process.needs;
    let task_secs = spec.limits.task_timeout_secs;
    let task_price = estimate(needs, task_secs);
    let single_price = [Stage::Partition, Stage::Assemble]
        .into_iter()
        .filter_map(|stage| spec.container(stage))
        .map(|container| estimate(container.needs, task_secs))
        .fold(Credits::ZERO, Credits::saturating_add);
    let of_chunks = |chunks| task_price.saturating_mul(chunks).saturating_add(single_price);
    let total = chunks.map(of_chunks);
    let available = wallet::balance(&app.db, caller.workspace).await?.available;
    Ok(Quote {
        chunks,
        task_hour_price: price(Usage::full(needs, MS_PER_HOUR)),
        task_secs,
        task_secs_is_limit: job.config().task_timeout_secs.is_some_and(|secs| secs > 0),
        task_price,
        single_price,
        total,
        available,
        affordable: total.unwrap_or(of_chunks(1)) <= available,
    })
}

/// How many chunks the source will be cut in, as far as that can be told from its files' sizes.
async fn chunks(app: &App, caller: &Caller, job: &Job, spec: &RunSpec) -> Result<Option<u64>> {
    let Partition::Builtin(partitioner) = spec.partition else { return Ok(None) };
    let of_file = |size: u64| match partitioner {
        Partitioner::Passthrough | Partitioner::File => 1,
        Partitioner::Replicate { copies } => copies.into(),
        Partitioner::Lines { bytes } | Partitioner::Bytes { bytes } => size.div_ceil(bytes),
    };
    let by_size = matches!(partitioner, Partitioner::Lines { .. } | Partitioner::Bytes { .. });
    match &spec.source {
        Source::File { size, .. } => return Ok(Some(of_file(*size).max(1))),
        Source::Url { .. } | Source::Bypass if !by_size => return Ok(Some(of_file(0))),
        Source::Url { .. } | Source::Bypass | Source::Cloud { .. } => {}
    }
    let Some(descriptor) = job.source() else { return Ok(None) };
    let place = descriptor.place("dataSource")?;
    let looked = app.data.look(caller.workspace, &place, None).await?;
    if looked.size.is_none() || looked.kind == (LookedKind::Files { more: true }) {
        return Ok(None);
    }
    Ok(Some(looked.files.iter().map(|file| of_file(file.size)).sum::<u64>().max(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::testing::Door;
    use crate::data::testing::WebServer;

    #[tokio::test]
    async fn a_quote_is_the_price_of_all_chunks_at_their_limit() {
        let door = Door::open().await;
        door.template("bytes", "concat").await;
        let server = WebServer::with_ranges(vec![b'x'; 25]).await;
        let id = door
            .job(json!({"templateId": "t", "config": {"taskTimeout": 7200},
                        "params": {"partitioner": {"chunk_bytes": 10}},
                        "dataSource": {"dataSourceDescriptor": "url",
                                       "params": {"url": server.url}},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;

        let (status, quote) = door.get(&format!("/v1/customer/jobs/{id}/quote")).await;

        assert_eq!(status, 200, "{quote}");
        let credits = |field: &str| -> Credits { quote[field].as_str().unwrap().parse().unwrap() };
        assert_eq!((&quote["chunks"], &quote["taskSecsIsLimit"]), (&json!(3), &json!(true)));
        assert_eq!(credits("taskPrice"), credits("taskHourPrice").saturating_mul(2));
        assert_eq!(credits("total"), credits("taskPrice").saturating_mul(3));
        assert_eq!(quote["affordable"], false);
        let whole = credits("total").units().unsigned_abs().div_ceil(100_000_000);
        let (status, body) = door.get(&format!("/v1/customer/jobs/estimation/{id}")).await;
        assert_eq!(status, 200);
        assert_eq!(body, json!({"estimation": {"totalEstimation": whole.to_string()}}));
    }

    #[tokio::test]
    async fn a_job_shows_its_estimate_once_its_chunks_are_known() {
        let door = Door::open().await;
        let amount = Credits::from_units(100_000_000_000).unwrap();
        door.app.coordinator.grant(door.workspace, amount, "first").await.unwrap();
        door.template("replicate", "zip").await;
        let id = door
            .job(json!({"templateId": "t", "config": {"taskTimeout": 5400},
                        "params": {"partitioner": {"num_replicas": 3}},
                        "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        let path = format!("/v1/customer/jobs/{id}");
        assert_eq!(door.get(&path).await.1["job"]["numUnitsEstimation"], "0");
        let (_, estimation) = door.get(&format!("/v1/customer/jobs/estimation/{id}")).await;
        let total = &estimation["estimation"]["totalEstimation"];

        assert_eq!(door.post(&format!("{path}/run"), json!({})).await.0, 200);
        let (_, mut job) = door.get(&path).await;
        while job["job"]["state"] != "JOB_STATE_PARTITIONED" {
            let state = job["job"]["state"].as_str().unwrap();
            assert_ne!(state, "JOB_STATE_FAILED", "{job}");
            job = door.get(&format!("{path}?wait=20&state={state}")).await.1;
        }

        assert_eq!(job["job"]["numChunks"], 3, "{job}");
        assert_eq!(&job["job"]["numUnitsEstimation"], total);
        assert_ne!(total, "0");
    }

    #[tokio::test]
    async fn a_dry_run_says_what_would_happen_and_starts_nothing() {
        let door = Door::open().await;
        door.template("replicate", "zip").await;
        let id = door
            .job(json!({"templateId": "t", "params": {"partitioner": {"num_replicas": 5}},
                        "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        let run = format!("/v1/customer/jobs/{id}/run?dryRun=true");

        let (status, body) = door.post(&run, json!({"config": {"taskTimeout": 60}})).await;

        assert_eq!((status, &body["ok"]), (200, &json!(true)), "{body}");
        assert_eq!((&body["quote"]["chunks"], &body["quote"]["taskSecs"]), (&json!(5), &json!(60)));
        let (_, job) = door.get(&format!("/v1/customer/jobs/{id}")).await;
        assert_eq!(job["job"]["state"], "JOB_STATE_NEW");
        assert_eq!(job["job"]["config"]["taskTimeout"], 0);
        let broken = door.job(json!({"templateId": "t"})).await;
        let run = format!("/v1/customer/jobs/{broken}/run?dryRun=true");
        assert_eq!(door.post(&run, json!({})).await.0, 400);
    }
}
