//! Starting and ending jobs.

use common::package::config::JobConfig;
use common::package::engine;
use common::package::tag::Tag;
use common::run::scheduling::TEST_CHUNKS;
use common::run::spec::RunSpec;
use serde::Serialize;
use utoipa::ToSchema;

use super::draft::unwrapped;
use super::jobs;
use super::{job_out, plan, quote};
use crate::api::bytenite::secret_use;
use crate::api::bytenite::wire::{Done, done, done_with};
use crate::api::bytenite::work::CONFIG;
use crate::api::http::call::{Call, Segment};
use crate::api::http::query;
use crate::api::http::route::{Route, post};
use crate::api::http::shape::{Field, flag, one};
use crate::app::App;
use crate::error::{Error, Result};
use crate::store;
use crate::store::jobs::Job;
use crate::store::market::runs::RunView;

const ABORTED: &str = "aborted by user";

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_RunJob", "/jobs/{jobId}/run", run)
            .summary("Starts a job; with dryRun, only says what it would cost")
            .body(run_fields())
            .query(DRY),
        post("Customer_DeliverJob", "/jobs/{jobId}/deliver", deliver).summary(
            "Folds and delivers the results again of a job that failed after its last task",
        ),
        post("Customer_AbortJob", "/jobs/{jobId}/abort", abort)
            .summary("Ends a running job; deletes a draft"),
        post("Customer_RunJob2023", "/jobs/run/{jobId}", run)
            .summary("Starts a job")
            .body(run_fields())
            .query(DRY)
            .deprecated(),
    ]
}

/// The config, bare or wrapped: both are in use.
fn run_fields() -> Vec<Field> {
    [&[one("config", &CONFIG, "Or its fields in its place")], CONFIG.fields].concat()
}

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
    let over = JobConfig::read(unwrapped(call.json().await?, "config")?)?;
    let app = call.app();
    let dry = query::flag(&call.query()?, "dryRun")?.unwrap_or(false);
    let job = jobs::find(app, &caller, &id).await?;
    if job.run.is_some() {
        return Err(crate::coordinator::Error::AlreadyStarted.into());
    }
    let config = job.config.overlaid(over);
    let spec = plan::pin(app, &caller, &job, job.config().overlaid(over)).await?;
    let done = done_with(remarks(&job, &spec));
    if dry {
        let quote = quote::of(app, &caller, &job, &spec.plan, None).await?;
        return Ok(Started { done, quote: Some(quote) });
    }
    begin(app, &job, config, spec).await?;
    Ok(Started { done, quote: None })
}

/// What is right but may not be what the caller had in mind; empty where there is nothing.
fn remarks(job: &Job, spec: &RunSpec) -> String {
    let mut remarks = Vec::new();
    if spec.terms.is_test {
        remarks.push(format!(
            "this is a test job (isTestJob): it works on the first {TEST_CHUNKS} chunks only; \
             numChunksTotal tells how many there are"
        ));
    }
    let params = job.params();
    let partitioner = spec.plan.cut().and_then(|_| tag_name(&job.template.partitioner));
    let assembler = spec.plan.assembler().and_then(|_| tag_name(&job.template.assembler));
    let partitioner = partitioner.and_then(|name| engine::builtin_partitioner(&name));
    let assembler = assembler.and_then(|name| engine::builtin_assembler(&name));
    for (phase, builtin, params) in [
        ("partitioner", partitioner, &params.partitioner),
        ("assembler", assembler, &params.assembler),
    ] {
        for key in builtin.iter().flat_map(|name| engine::passed_over(name, params)) {
            remarks
                .push(format!("params.{phase}.{key} is ignored: this {phase} has no such param"));
        }
    }
    remarks.join("; ")
}

fn tag_name(tag: &str) -> Option<String> {
    tag.parse::<Tag>().ok().map(|tag| tag.name)
}

/// Starts the run of a job, with this config as the job's own.
pub async fn begin(app: &App, job: &Job, config: JobConfig, spec: RunSpec) -> Result<()> {
    let run = app.coordinator.start_job(spec, job.draft, config).await?;
    tracing::info!(job = %job.id, %run, "job started");
    Ok(())
}

/// Folds and delivers the results of a failed job again. No task runs, and nothing is charged.
async fn deliver(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    secret_use::check_job(&caller, &job)?;
    let Some(run) = job_out::run_of(app, &job).await? else {
        return Err(Error::NotNow("this job has not run: run it".to_owned()));
    };
    app.coordinator.deliver_again(job.id, run.id).await?;
    tracing::info!(job = %job.id, run = %run.id, "results are delivered again");
    Ok(done_with(
        "the job's results are delivered again; no task runs, and nothing is charged".to_owned(),
    ))
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
        Some(run) if run.has_ended() => Err(Error::NotNow("this job has ended already".to_owned())),
        Some(run) => {
            app.coordinator.cancel_run(run.id, ABORTED.to_owned()).await?;
            // The answer came after the commit.
            let ended = job_out::run_of(app, &job).await?.unwrap_or(run);
            Ok(done_with(done_and_paid(&ended)))
        }
        None => {
            let lock = app.coordinator.lock_job(job.id).await?;
            if !store::jobs::delete_draft(&app.db, &lock, caller.workspace).await? {
                return Err(Error::NotNow("this job is being started: try again".to_owned()));
            }
            Ok(done())
        }
    }
}

#[cfg(test)]
mod tests;
