//! Starting and ending jobs.

use common::ids::RunId;
use common::package::config::JobConfig;
use common::spec::RunSpec;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::jobs;
use super::{job_out, plan, quote};
use crate::api::App;
use crate::api::http::call::{Call, Segment};
use crate::api::http::error::{Error, Result};
use crate::api::http::reply::{Done, done, done_with};
use crate::api::http::route::{Route, post};
use crate::api::http::shape::{Field, flag, one};
use crate::api::work::CONFIG;
use crate::store;
use crate::store::jobs::Job;
use crate::store::runs::RunView;

const ABORTED: &str = "aborted by user";

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_RunJob", "/jobs/{jobId}/run", run)
            .summary("Starts a job; with dryRun, only says what it would cost")
            .body(RUN)
            .query(DRY),
        post("Customer_AbortJob", "/jobs/{jobId}/abort", abort)
            .summary("Ends a running job; deletes a draft"),
        post("Customer_RunJob2023", "/jobs/run/{jobId}", run)
            .summary("Starts a job")
            .body(RUN)
            .query(DRY)
            .deprecated(),
    ]
}

const RUN: &[Field] = &[one("config", &CONFIG, "Or its fields in its place")];
const DRY: &[Field] =
    &[flag("dryRun", "Checks everything and gives the quote, but starts nothing")];

#[derive(Serialize, ToSchema)]
struct Started {
    #[serde(flatten)]
    done: Done,
    /// Of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    quote: Option<quote::Quote>,
}

/// Starts a job. The body is a config, one wrapped in `config`, or nothing; it is laid over the
/// job's own. With `dryRun=true` in the query everything is checked and priced, and nothing
/// starts.
async fn run(id: Segment, mut call: Call) -> Result<Started> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let body = match body.object("config")? {
        Some(inner) => inner,
        None => body,
    };
    let over = JobConfig::read(body)?;
    let app = call.app();
    let dry = call.query()?.get("dryRun").is_some_and(|flag| flag == "true");
    let job = jobs::find(app, &caller, &id).await?;
    if job_out::run_of(app, &job).await?.is_some() {
        return Err(crate::coordinator::Error::AlreadyStarted.into());
    }
    let config = job.config.overlaid(over);
    let spec = plan::pin(app, &caller, &job, job.config().overlaid(over)).await?;
    if dry {
        let quote = quote::of(app, &caller, &job, &spec, None).await?;
        return Ok(Started { done: done(), quote: Some(quote) });
    }
    begin(app, &job, config, spec).await?;
    Ok(Started { done: done(), quote: None })
}

/// Claims a job for its run, with this config as its own, and starts the run.
pub async fn begin(app: &App, job: &Job, config: JobConfig, spec: RunSpec) -> Result<()> {
    let run = match job.run {
        // A start that was cut off between its claim and its run goes on under the same id, so
        // that two of them can never make two runs.
        Some(run) => run,
        None => {
            let run = RunId::new(Uuid::now_v7());
            if !store::jobs::claim(&app.db, job, run, config).await? {
                return Err(Error::NotNow(
                    "this job has just been changed, started or deleted: read it again".to_owned(),
                ));
            }
            run
        }
    };
    match app.coordinator.start_run(run, spec).await {
        Ok(()) => {
            tracing::info!(job = %job.id, %run, "job started");
            Ok(())
        }
        Err(refused @ crate::coordinator::Error::Wallet { .. }) => {
            store::jobs::unclaim(&app.db, job.id, run).await?;
            Err(refused.into())
        }
        // The run may be on disk all the same: the claim stays, and starting again tells.
        Err(error) => Err(error.into()),
    }
}

/// How far a run got, and for how much.
pub fn done_and_paid(run: &RunView) -> String {
    let (done, price) = (run.chunks_done, run.price);
    match run.chunks {
        Some(chunks) => format!("{done} of {chunks} chunks, {price} credits paid"),
        None => format!("before it was cut into chunks, {price} credits paid"),
    }
}

/// Ends a running job; deletes one that has not started.
async fn abort(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    match job_out::run_of(app, &job).await? {
        Some(run) if run.state.is_final() => {
            Err(Error::NotNow("this job has ended already".to_owned()))
        }
        Some(run) => {
            app.coordinator.abort_run(run.id, ABORTED.to_owned()).await?;
            // The answer came after the commit.
            let ended = job_out::run_of(app, &job).await?.unwrap_or(run);
            Ok(done_with(done_and_paid(&ended)))
        }
        None => {
            if !store::jobs::delete_draft(&app.db, caller.workspace, job.id).await? {
                return Err(Error::NotNow("this job is being started: try again".to_owned()));
            }
            Ok(done())
        }
    }
}

#[cfg(test)]
mod tests {
    use common::credits::Credits;
    use serde_json::{Value, json};

    use crate::api::testing::Door;

    async fn granted() -> Door {
        let door = Door::open().await;
        let amount = Credits::from_units(100_000_000_000).unwrap();
        door.app.coordinator.grant(door.workspace, amount, "first").await.unwrap();
        door
    }

    fn bypass() -> Value {
        json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "bypass"},
               "dataDestination": {"dataSourceDescriptor": "bucket"}})
    }

    #[tokio::test]
    async fn all_three_bodies_start_a_job_once() {
        let door = granted().await;
        door.template("passthrough", "passthrough").await;
        for body in [
            None,
            Some(json!({"taskTimeout": 60})),
            Some(json!({"config": {"taskTimeout": "60", "jobTimeout": 600}})),
        ] {
            let id = door.job(bypass()).await;
            let run = format!("/v1/customer/jobs/{id}/run");

            let (status, answer) = door.call(reqwest::Method::POST, &run, body.clone()).await;
            let (again, refused) = door.call(reqwest::Method::POST, &run, body).await;

            assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{answer}");
            assert_eq!((again, &refused["code"]), (400, &json!(9)), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_started_job_is_locked_has_no_results_yet_and_can_be_aborted() {
        let door = granted().await;
        door.template("passthrough", "passthrough").await;
        let id = door.job(bypass()).await;
        let job = format!("/v1/customer/jobs/{id}");
        assert_eq!(door.post(&format!("{job}/run"), json!({})).await.0, 200);

        for (part, body) in [
            ("params", json!({})),
            ("configs", json!({})),
            ("jobname", json!("x")),
            ("datasource", json!({"dataSource": {"dataSourceDescriptor": "bypass"}})),
        ] {
            let (status, body) = door.patch(&format!("{job}/{part}"), body).await;
            assert_eq!(status, 400);
            assert!(body["message"].as_str().unwrap().contains("started"), "{body}");
        }
        let (status, body) = door.get(&format!("{job}/results")).await;
        assert_eq!((status, &body["code"]), (400, &json!(9)));
        assert!(body["message"].as_str().unwrap().contains("job has not yet been completed"));
        assert_eq!(door.call(reqwest::Method::DELETE, &job, None).await.0, 400);
        assert_eq!(door.get(&format!("{job}/progress")).await.0, 200);

        let (status, aborted) = door.post(&format!("{job}/abort"), json!({})).await;
        assert_eq!(status, 200);
        assert!(aborted["message"].as_str().unwrap().ends_with("0.00000000 credits paid"));

        let (_, body) = door.get(&job).await;
        assert_eq!(body["job"]["state"], "JOB_STATE_FAILED");
        assert_eq!(body["job"]["status"], "aborted");
        assert_eq!(body["job"]["errorMessage"], "aborted by user");
        assert_eq!(door.post(&format!("{job}/abort"), json!({})).await.0, 400);
        let (_, balance) = door.get("/v1/wallet/balance").await;
        assert_eq!(balance["totalBalance"], balance["availableBalance"]);
        assert_eq!(door.call(reqwest::Method::DELETE, &job, None).await.0, 200);
    }

    #[tokio::test]
    async fn a_poor_wallet_refuses_and_the_job_stays_a_draft() {
        let door = Door::open().await;
        door.template("passthrough", "passthrough").await;
        let id = door.job(bypass()).await;
        let run = format!("/v1/customer/jobs/{id}/run");

        let (status, body) = door.post(&run, json!({})).await;
        assert_eq!((status, &body["code"]), (400, &json!(9)));
        assert!(body["message"].as_str().unwrap().contains("wallet"), "{body}");

        let (status, body) =
            door.patch(&format!("/v1/customer/jobs/{id}/jobname"), json!("x")).await;
        assert_eq!((status, &body["job"]["state"]), (200, &json!("JOB_STATE_NEW")));
        let amount = Credits::from_units(100_000_000_000).unwrap();
        door.app.coordinator.grant(door.workspace, amount, "late").await.unwrap();
        assert_eq!(door.post(&run, json!({})).await.0, 200);
    }

    #[tokio::test]
    async fn what_a_run_lacks_is_named() {
        let door = granted().await;
        door.template("lines", "own-engine").await;
        let refused = async |body: Value| {
            let id = door.job(body).await;
            let (status, body) = door.post(&format!("/v1/customer/jobs/{id}/run"), json!({})).await;
            assert_eq!(status, 400);
            body["message"].as_str().unwrap().to_owned()
        };
        let with = |source: Value| {
            let mut body = bypass();
            body["dataSource"] = source;
            body
        };

        assert!(refused(json!({"templateId": "t"})).await.starts_with("dataSource: is missing"));
        let file = with(json!({"dataSourceDescriptor": "file"}));
        assert!(refused(file).await.contains("has not been uploaded"));
        let secret = with(json!({"dataSourceDescriptor": "aws", "params": {"name": "n",
            "bucketName": "b", "secret_id": "nope"}}));
        assert!(refused(secret).await.starts_with("dataSource.params.secret_id"));
        assert!(refused(bypass()).await.contains("\"own-engine\" is unknown"));
        let mut params = bypass();
        params["params"] = json!({"partitioner": {"chunk_size": 1}});
        assert!(refused(params).await.starts_with("params.partitioner.chunk_size"));
    }

    #[tokio::test]
    async fn one_of_many_simultaneous_starts_wins() {
        let door = granted().await;
        door.template("passthrough", "passthrough").await;
        let id = door.job(bypass()).await;
        let run = format!("/v1/customer/jobs/{id}/run");

        let starts = (0..8).map(|_| door.post(&run, json!({})));
        let answers = futures::future::join_all(starts).await;

        let started = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(started, 1, "{answers:?}");
        let jobs = [id.parse().unwrap()];
        let runs = crate::store::runs::find_by_jobs(&door.app.db, door.workspace, &jobs);
        assert_eq!(runs.await.unwrap().len(), 1);
    }
}
