//! Starting and ending jobs.

use common::ids::JobId;
use common::plan::Phase;
use common::run::scheduling::TEST_CHUNKS;
use serde::Serialize;
use utoipa::ToSchema;

use super::draft::unwrapped;
use super::quote::QuoteOut;
use crate::api::bytenite::config;
use crate::api::bytenite::wire::{Done, done, done_with};
use crate::api::bytenite::work::CONFIG;
use crate::api::http::call::{Call, Segment};
use crate::api::http::query;
use crate::api::http::route::{Route, post};
use crate::api::http::shape::{Field, flag, one};
use crate::error::Result;
use crate::jobs::runs::cancel;
use crate::jobs::runs::cancel::{Aborted, done_and_paid};
use crate::jobs::runs::start;
use crate::jobs::runs::start::Remark;

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_RunJob", "/jobs/{jobId}/run", run)
            .summary("Starts a job; with dryRun, only validates and estimates it")
            .body(run_fields())
            .query(DRY),
        post("Customer_DeliverJob", "/jobs/{jobId}/deliver", deliver).summary(
            "Assembles and delivers the results of a job that failed after its last task again",
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
    quote: Option<QuoteOut>,
}

/// Starts a job. The body is a config, one wrapped in `config`, or nothing; it is laid over the
/// job's own. With `dryRun=true` in the query everything is checked and priced, and nothing
/// starts.
async fn run(id: Segment, mut call: Call) -> Result<Started> {
    let caller = call.caller().await?;
    let over = config::read(unwrapped(call.json().await?, "config")?)?;
    let is_dry = query::flag(&call.query()?, "dryRun")?.unwrap_or(false);
    let app = call.app();
    let ready = start::prepare(app, &caller, id.id::<JobId>("job")?, over).await?;
    let remarks: Vec<_> = ready.remarks().iter().map(remark).collect();
    let done = done_with(remarks.join("; "));
    if is_dry {
        let quote = ready.quote(app, &caller).await?;
        return Ok(Started { done, quote: Some(quote.into()) });
    }
    ready.start(app).await?;
    Ok(Started { done, quote: None })
}

fn remark(remark: &Remark) -> String {
    match remark {
        Remark::TestJob => format!(
            "this is a test job (isTestJob): it works on the first {TEST_CHUNKS} chunks only; \
             numChunksTotal tells how many there are"
        ),
        Remark::IgnoredParam { phase, param } => {
            let phase = match phase {
                Phase::Assemble => "assembler",
                Phase::Fetch | Phase::Partition | Phase::Process | Phase::Deliver => "partitioner",
            };
            format!("params.{phase}.{param} is ignored: this {phase} has no such param")
        }
    }
}

/// Folds and delivers the results of a failed job again.
async fn deliver(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    cancel::deliver_again(call.app(), &caller, id.id::<JobId>("job")?).await?;
    Ok(done_with(
        "the job's results are delivered again; no task runs, and nothing is charged".to_owned(),
    ))
}

/// Ends a running job; deletes one that has not started.
async fn abort(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    Ok(match cancel::abort(call.app(), &caller, id.id::<JobId>("job")?).await? {
        Aborted::Run(run) => done_with(done_and_paid(&run)),
        Aborted::Draft => done(),
    })
}

#[cfg(test)]
mod tests;
