//! What a job is expected to cost, and on what that is based.

use common::ids::JobId;
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use super::hold::{HoldOut, PricesOut};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::jobs::quote::{self, Basis, Quote};

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_QuoteJob", "/jobs/{jobId}/quote", quote)
            .summary("Estimates a job's cost, with the basis of the estimate"),
        get("Customer_EstimateJob2023", "/jobs/estimation/{jobId}", estimation)
            .summary("Estimates a job's cost in whole units")
            .deprecated(),
    ]
}

/// What a job is expected to cost. What is charged in the end is what was used: by tasks whose
/// results were accepted, and by attempts that failed through the job's own code, data or limits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Quote)]
pub struct QuoteOut {
    /// `None` where only the run will tell: a partitioner of the customer's own.
    chunks: Option<u64>,
    #[serde(flatten)]
    forecast: ForecastOut,
    /// For all chunks, the partitioner and the assembler; `None` where the chunks are not known.
    #[schema(value_type = Option<String>)]
    total: Option<Credits>,
    /// The same if every task used all that it may until its timeout.
    #[schema(value_type = Option<String>)]
    total_at_most: Option<Credits>,
    /// The timeout of a task.
    task_secs: u32,
    /// Whether the job's own task timeout was taken, and not the server's default.
    task_secs_is_limit: bool,
    /// What all of one task's vCPUs and memory cost in an hour.
    #[schema(value_type = String)]
    task_hour_price: Credits,
    prices: PricesOut,
    /// What is held now or, before the run, when it starts.
    hold: HoldOut,
    #[schema(value_type = String)]
    available: Credits,
    /// Whether the wallet covers what must be held to start and, where the basis is no
    /// assumption, the rest of the total.
    affordable: bool,
}

/// What a task is expected to cost, and why.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Forecast)]
struct ForecastOut {
    basis: BasisOut,
    /// Earlier runs that it is based on.
    basis_runs: u64,
    /// Paid tasks that it is based on.
    basis_tasks: u64,
    #[schema(value_type = String)]
    task_price: Credits,
    /// For a partitioner and an assembler of the customer's own, where their cost is not in that
    /// of the tasks; built-in ones are free.
    #[schema(value_type = String)]
    single_price: Credits,
}

/// What the price of a task is taken from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Basis)]
enum BasisOut {
    /// What the latest runs of the same template have cost.
    History,
    /// What the tasks of this run that are done have cost.
    Sample,
    /// That each task uses all that it may for the time that it is reserved for.
    Assumption,
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

/// A started job's quote is that of its run.
async fn quote(id: Segment, call: Call) -> Result<QuoteOut> {
    let caller = call.caller().await?;
    Ok(quote::quote(call.app(), &caller, id.id::<JobId>("job")?).await?.into())
}

/// The quote in whole credits, rounded up; chunks that are not known count as one.
async fn estimation(id: Segment, call: Call) -> Result<EstimationOut> {
    let caller = call.caller().await?;
    let quote = quote::quote(call.app(), &caller, id.id::<JobId>("job")?).await?;
    let total = quote.total.unwrap_or(quote.forecast.total(1));
    let total_estimation = total.rounded_up().to_string();
    Ok(EstimationOut { estimation: Estimation { total_estimation } })
}

impl From<Quote> for QuoteOut {
    fn from(quote: Quote) -> Self {
        let forecast = quote.forecast;
        Self {
            chunks: quote.chunks,
            forecast: ForecastOut {
                basis: match forecast.basis {
                    Basis::History => BasisOut::History,
                    Basis::Sample => BasisOut::Sample,
                    Basis::Assumption => BasisOut::Assumption,
                },
                basis_runs: forecast.basis_runs,
                basis_tasks: forecast.basis_tasks,
                task_price: forecast.task_price,
                single_price: forecast.single_price,
            },
            total: quote.total,
            total_at_most: quote.total_at_most,
            task_secs: quote.task_secs,
            task_secs_is_limit: quote.task_secs_is_limit,
            task_hour_price: quote.task_hour_price,
            prices: PricesOut::default(),
            hold: quote.hold.into(),
            available: quote.available,
            affordable: quote.affordable,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::money::credits::Credits;
    use common::money::price::Sample;
    use serde_json::json;

    use crate::api::testing::TestServer;
    use crate::coordinator::testing::Worker;
    use crate::data::testing::WebServer;

    #[tokio::test]
    async fn quote_without_earlier_runs_assumes_the_reservation_and_says_so() {
        let server = TestServer::open().await;
        server.template("bytes", "concat").await;
        let remote = WebServer::with_ranges(vec![b'x'; 25]).await;
        let id = server
            .job(json!({"templateId": "t", "config": {"taskTimeout": 7200},
                        "params": {"partitioner": {"chunk_bytes": 10}},
                        "dataSource": {"dataSourceDescriptor": "url",
                                       "params": {"url": remote.url}},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;

        let (status, quote) = server.get(&format!("/v1/customer/jobs/{id}/quote")).await;

        assert_eq!(status, 200, "{quote}");
        let credits = |field: &str| -> Credits { quote[field].as_str().unwrap().parse().unwrap() };
        assert_eq!((&quote["chunks"], &quote["taskSecsIsLimit"]), (&json!(3), &json!(true)));
        assert_eq!((&quote["basis"], &quote["basisRuns"]), (&json!("assumption"), &json!(0)));
        let minute = credits("taskHourPrice").units() / 60;
        assert!((credits("taskPrice").units() - minute).abs() <= 1, "{quote}");
        assert_eq!(credits("total"), credits("taskPrice").saturating_mul(3));
        assert_eq!(credits("totalAtMost"), credits("taskHourPrice").saturating_mul(6));
        assert_eq!(
            quote["prices"],
            json!({"cpuHour": "0.90110316", "memoryGibHour": "0.09889684"})
        );
        assert_eq!(quote["hold"]["amount"], quote["taskPrice"]);
        assert_eq!(quote["affordable"], false);
        let whole = credits("total").units().unsigned_abs().div_ceil(100_000_000);
        let (status, body) = server.get(&format!("/v1/customer/jobs/estimation/{id}")).await;
        assert_eq!(status, 200);
        assert_eq!(body, json!({"estimation": {"totalEstimation": whole.to_string()}}));
    }

    #[tokio::test]
    async fn quote_is_based_on_the_cost_of_earlier_runs_of_the_template() {
        let server = TestServer::open().await;
        let app = &server.app;
        app.coordinator.grant(server.workspace, "0.5".parse().unwrap(), "first").await.unwrap();
        server.template("replicate", "zip").await;
        let draft = async |replicas: u32| {
            server
                .job(json!({"templateId": "t",
                            "params": {"partitioner": {"num_replicas": replicas}},
                            "dataSource": {"dataSourceDescriptor": "bypass"},
                            "dataDestination": {"dataSourceDescriptor": "bucket"}}))
                .await
        };
        let ran = draft(3).await;
        let path = format!("/v1/customer/jobs/{ran}");
        assert_eq!(server.post(&format!("{path}/run"), json!({})).await.0, 200);
        let (_, job) = server.get(&path).await;
        assert_eq!(job["job"]["hold"]["taskSecs"], 60, "{job}");
        assert_eq!(job["job"]["hold"]["amount"], job["job"]["hold"]["perTask"], "{job}");
        let mut worker = Worker::join(&app.db, server.workspace).await;
        let paid: Credits = loop {
            worker.turn(&app.coordinator).await;
            let (_, job) = server.get(&path).await;
            if job["job"]["status"] == "succeeded" {
                assert_eq!(job["job"]["hold"], json!(null));
                break job["job"]["paymentAmount"].as_f64().unwrap().to_string().parse().unwrap();
            }
        };

        let (_, sample) = server.get(&format!("{path}/quote")).await;
        let (_, quote) =
            server.get(&format!("/v1/customer/jobs/{}/quote", draft(1_000).await)).await;

        assert_eq!((&sample["basis"], &sample["basisTasks"]), (&json!("sample"), &json!(3)));
        assert_eq!(sample["total"], json!(paid));
        assert_eq!((&quote["basis"], &quote["basisRuns"]), (&json!("history"), &json!(1)));
        let total: Credits = quote["total"].as_str().unwrap().parse().unwrap();
        assert_eq!(total, Sample::new(paid, 3).unwrap().of(1_000));
        // A minute of each chunk would be 16 credits.
        let available: Credits = quote["available"].as_str().unwrap().parse().unwrap();
        assert_eq!(quote["affordable"], total <= available, "{quote}");
    }

    #[tokio::test]
    async fn job_shows_its_estimate_once_its_chunks_are_known() {
        let server = TestServer::open().await;
        let amount = Credits::from_units(100_000_000_000).unwrap();
        server.app.coordinator.grant(server.workspace, amount, "first").await.unwrap();
        server.template("replicate", "zip").await;
        let id = server
            .job(json!({"templateId": "t", "config": {"taskTimeout": 5400},
                        "params": {"partitioner": {"num_replicas": 3}},
                        "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        let path = format!("/v1/customer/jobs/{id}");
        assert_eq!(server.get(&path).await.1["job"]["numUnitsEstimation"], "0");
        let (_, estimation) = server.get(&format!("/v1/customer/jobs/estimation/{id}")).await;
        let total = &estimation["estimation"]["totalEstimation"];

        assert_eq!(server.post(&format!("{path}/run"), json!({})).await.0, 200);
        let (_, mut job) = server.get(&path).await;
        while job["job"]["state"] != "JOB_STATE_PARTITIONED" {
            let state = job["job"]["state"].as_str().unwrap();
            assert_ne!(state, "JOB_STATE_FAILED", "{job}");
            job = server.get(&format!("{path}?wait=20&state={state}")).await.1;
        }

        assert_eq!(job["job"]["numChunks"], 3, "{job}");
        assert_eq!(&job["job"]["numUnitsEstimation"], total);
        assert_ne!(total, "0");
    }

    #[tokio::test]
    async fn dry_run_predicts_the_outcome_and_starts_nothing() {
        let server = TestServer::open().await;
        server.template("replicate", "zip").await;
        let id = server
            .job(json!({"templateId": "t", "params": {"partitioner": {"num_replicas": 5}},
                        "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        let run = format!("/v1/customer/jobs/{id}/run?dryRun=true");

        let (status, body) = server.post(&run, json!({"config": {"taskTimeout": 60}})).await;

        assert_eq!((status, &body["ok"]), (200, &json!(true)), "{body}");
        assert_eq!((&body["quote"]["chunks"], &body["quote"]["taskSecs"]), (&json!(5), &json!(60)));
        let (_, job) = server.get(&format!("/v1/customer/jobs/{id}")).await;
        assert_eq!(job["job"]["state"], "JOB_STATE_NEW");
        assert_eq!(job["job"]["config"]["taskTimeout"], 0);
        let broken = server.job(json!({"templateId": "t"})).await;
        let run = format!("/v1/customer/jobs/{broken}/run?dryRun=true");
        assert_eq!(server.post(&run, json!({})).await.0, 400);
    }
}
