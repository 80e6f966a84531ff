//! Tests of apps: a job of one chunk, run and paid for like any other.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::JobId;
use common::money::credits::Credits;
use common::package::template::PhaseParams;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, one, text};
use crate::api::native::jobs::config::{self, CONFIG};
use crate::api::native::jobs::locations::{SOURCE, read_source};
use crate::api::native::jobs::params::{self, PARAMS};
use crate::api::native::runs::cause::RunCauseOut;
use crate::api::native::runs::results::RunFile;
use crate::api::native::words::StateOut;
use crate::definitions::packages::{self, Family};
use crate::error::{Error, Result};
use crate::jobs::app_test::{self, AppTest, LogView, NewTest};
use crate::jobs::draft::Given;
use crate::jobs::monitoring::status::JobState;

pub fn routes() -> Vec<Route> {
    vec![
        post("Fanfold_TestApp", "/app_tests", start)
            .creates()
            .summary("Runs an app on one chunk, active or not")
            .body(TEST)
            .needs(Scope::JobsWrite),
        get("Fanfold_GetAppTest", "/app_tests/{test}", read)
            .summary("Gets a test by its id, or the latest one of an app by the app's id or tag")
            .needs(Scope::JobsRead),
    ]
}

const TEST: &[Field] = &[
    text("app", "The app's id or tag").required().example("code-stats"),
    one("source", &SOURCE, "Else the first file in the package's test/source, or nothing"),
    one("params", &PARAMS, "As jobs take them"),
    one("config", &CONFIG, "The task timeout is 600 where nothing else is said"),
];

/// A test of an app, what it wrote, and what came out.
#[derive(Serialize, ToSchema)]
#[schema(as = AppTest)]
struct TestOut {
    /// The test's, and its job's.
    #[schema(value_type = String)]
    id: JobId,
    /// As `name@major.minor`.
    app: String,
    state: StateOut,
    /// Null until the test has ended.
    passed: Option<bool>,
    /// Why it failed.
    cause: Option<RunCauseOut>,
    /// What it cost, in credits.
    #[schema(value_type = String)]
    price: Credits,
    /// What its container and its node wrote.
    lines: Vec<TestLine>,
    /// In the order of their names.
    files: Vec<RunFile>,
}

/// A line of a test's log.
#[derive(Serialize, ToSchema)]
struct TestLine {
    /// When it was written.
    at: DateTime<Utc>,
    /// The line without its end.
    text: String,
}

async fn start(mut call: Call) -> Result<TestOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let tag = body.required_text("app")?;
    let source = body.object("source")?.map(read_source).transpose()?;
    let source = source.map(|location| Given { location, keys: None });
    let params = params::read(&mut body)?.unwrap_or_default();
    let params = PhaseParams::default().changed_by(params);
    let config = config::read(&mut body)?.unwrap_or_default();
    body.finish()?;
    let package = packages::find(call.app(), &caller, Family::App, &tag).await?;
    let id = JobId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    // Archives are read into memory: few at a time. And of two calls of one name the second finds
    // what the first has begun.
    let _turn = call.state().permits.pushes.take(caller.workspace).await?;
    let new = NewTest { package, source, params, config };
    Ok(app_test::start_test(call.app(), &caller, id, new).await?.into())
}

async fn read(test: Segment, call: Call) -> Result<TestOut> {
    let caller = call.caller().await?;
    let app = call.app();
    if let Ok(job) = test.0.parse()
        && let Some(found) = app_test::read(app, &caller, job).await?
    {
        return Ok(found.into());
    }
    let package = packages::find(app, &caller, Family::App, &test.0).await?;
    let latest = app_test::latest(app, &caller, &package).await?;
    Ok(latest.ok_or_else(|| Error::not_found("test", &test.0))?.into())
}

impl From<AppTest> for TestOut {
    fn from(test: AppTest) -> Self {
        let passed = test.passed();
        let AppTest { job, work, run, logs, results } = test;
        let run = run.as_ref();
        let line = |line: LogView| TestLine { at: line.at, text: line.text };
        Self {
            id: job,
            app: work.template.app,
            state: JobState::of(run).into(),
            passed,
            cause: run.and_then(|run| run.cause.as_ref()).map(RunCauseOut::from),
            price: run.map_or(Credits::ZERO, |run| run.price),
            lines: logs.into_iter().map(line).collect(),
            files: results.into_iter().map(RunFile::from).collect(),
        }
    }
}
