//! Tests of apps: a job of one chunk, run and paid for like any other.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::JobId;
use common::money::credits::Credits;
use common::secret::DataEnd;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::bytenite::customer::results::ResultOut;
use crate::api::bytenite::customer::states;
use crate::api::bytenite::descriptor::source_out;
use crate::api::bytenite::wallet::Amount;
use crate::api::bytenite::work::{CONFIG, DATA, PARAMS, read_source};
use crate::api::bytenite::{config, params, words};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{self, one, text};
use crate::definitions::packages::{self, Family};
use crate::error::{Error, Result};
use crate::field::Field;
use crate::jobs::app_test;
use crate::jobs::app_test::{AppTest, LogView, NewTest};
use crate::jobs::monitoring::status::JobState;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TestOut {
    /// The test's, and its job's.
    #[schema(value_type = String)]
    id: JobId,
    /// As `name@major.minor`.
    app: String,
    #[schema(value_type = Option<Object>)]
    data_source: Option<Value>,
    #[schema(value_type = words::JobState)]
    state: &'static str,
    /// `null` until the test has ended.
    passed: Option<bool>,
    /// Why it failed: how the container ended, for one.
    error_message: String,
    #[schema(value_type = f64)]
    payment_amount: Amount,
    logs: Vec<LineOut>,
    results: Vec<ResultOut>,
}

#[derive(Serialize, ToSchema)]
struct LineOut {
    timestamp: DateTime<Utc>,
    log: String,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Developer_TestApp", "/tests", start)
            .summary("Runs an app on one chunk, active or not")
            .needs(Scope::JobsWrite)
            .creates()
            .body(TEST),
        get("Developer_GetAppTest", "/tests/{id}", read)
            .summary("Gets a test's state, logs and results")
            .needs(Scope::JobsRead),
    ]
}

const TEST: &[shape::Field] = &[
    text("id", "The app's id or tag").required().example("code-stats"),
    one("data", &DATA, "Else the first file in the package's test/source, or nothing"),
    one("params", &PARAMS, ""),
    one("config", &CONFIG, "The task timeout is 600 where nothing else is said"),
];

async fn start(mut call: Call) -> Result<TestOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let tag = body.required_text("id")?;
    let params = body.object("params")?.map(params::read).transpose()?.unwrap_or_default();
    let config = body.object("config")?.map(config::read).transpose()?.unwrap_or_default();
    let source = body.object("data")?.map(read_source).transpose()?;
    body.finish()?;
    let package = packages::find(call.app(), &caller, Family::App, &tag).await?;
    let id = JobId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    // Archives are read into memory: few at a time. And of two calls of one name the second finds
    // what the first has begun.
    let _turn = call.state().permits.pushes.take(caller.workspace).await?;
    let new = NewTest { package, source, params, config };
    let started = app_test::start_test(call.app(), &caller, id, new).await;
    Ok(started.map_err(in_data)?.into())
}

/// A refusal with this body's name of the source.
fn in_data(refused: Error) -> Error {
    let Error::At(Field::LocationSecret(DataEnd::Source), refusal) = refused else {
        return refused;
    };
    refusal.at("data.params.secret_id")
}

/// The test of this id, or the latest of the app that the id or tag names.
async fn read(id: Segment, call: Call) -> Result<TestOut> {
    let caller = call.caller().await?;
    let app = call.app();
    if let Ok(job) = id.0.parse()
        && let Some(test) = app_test::read(app, &caller, job).await?
    {
        return Ok(test.into());
    }
    let package = packages::find(app, &caller, Family::App, &id.0).await?;
    let latest = app_test::latest(app, &caller, &package).await?;
    Ok(latest.ok_or_else(|| Error::not_found("test", &id.0))?.into())
}

impl From<AppTest> for TestOut {
    fn from(test: AppTest) -> Self {
        let passed = test.passed();
        let AppTest { job, work, run, logs, results } = test;
        let line = |line: LogView| LineOut { timestamp: line.at, log: line.text };
        Self {
            id: job,
            state: states::of(JobState::of(run.as_ref())),
            passed,
            payment_amount: Amount::of(run.as_ref().map_or(Credits::ZERO, |run| run.price)),
            data_source: work.source().map(source_out),
            error_message: run
                .and_then(|run| run.cause)
                .map_or_else(String::new, |cause| cause.message),
            logs: logs.into_iter().map(line).collect(),
            results: results.into_iter().map(ResultOut::from).collect(),
            app: work.template.app,
        }
    }
}

#[cfg(test)]
mod tests;
