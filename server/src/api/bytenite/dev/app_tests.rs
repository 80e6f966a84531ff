//! Tests of apps: a job of one chunk, run and paid for like any other.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use common::access::Scope;
use common::data::location::{Destination, FileToUpload, Identity, Source};
use common::ids::{JobId, WorkspaceId};
use common::money::credits::Credits;
use common::package::archive::{self, Sample};
use common::package::config::JobConfig;
use common::package::template::{PhaseParams, Template};
use common::run::RunState;
use common::secret::{DataEnd, SecretId};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::bytenite::customer::job_out::run_of;
use crate::api::bytenite::customer::view::{ResultOut, results_of};
use crate::api::bytenite::customer::{draft, jobs, plan, run, states};
use crate::api::bytenite::descriptor;
use crate::api::bytenite::wallet::Amount;
use crate::api::bytenite::words;
use crate::api::bytenite::work::{CONFIG, DATA, PARAMS};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, one, text};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::definitions::packages::{self, Family, Package};
use crate::error::{Error, Result};
use crate::files::holder;
use crate::people::caller::Caller;
use crate::store;
use crate::store::jobs::{Job, JobField, Upload};
use crate::store::market::logs;
use crate::store::query::selection::{Comparison, Operand, Selection, Start, Test};

const PASSTHROUGH: &str = "passthrough";
/// A test that hangs ends by itself.
const TASK_SECS: u32 = 600;
/// Each has up to some 100 KiB.
const LOG_BATCHES_MAX: u64 = 32;

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
            .summary("Says how a test goes, what it wrote, and what came out")
            .needs(Scope::JobsRead),
    ]
}

const TEST: &[Field] = &[
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
    let params = body.object("params")?.map(PhaseParams::read).transpose()?;
    let config = body.object("config")?.map(JobConfig::read).transpose()?.unwrap_or_default();
    let data = body.object("data")?.map(descriptor::read_source).transpose()?;
    body.finish()?;
    let package = packages::find(call.app(), &caller, Family::App, &tag).await?;
    let app = call.app();
    let id = JobId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    // Archives are read into memory: few at a time. And of two calls of one name the second finds
    // what the first has begun.
    let _turn = call.doors().places.pushes.take(caller.workspace).await?;
    if let Some(made) = begun(app, &caller, id).await? {
        return answer(&call, &caller, made).await;
    }
    let mut job = Job::new(id, caller.workspace, template(&package, caller.workspace));
    job.name = name_of(&job.template.app);
    job.params = params.unwrap_or_default();
    job.destination = Some(Destination::Bucket);
    job.config = JobConfig { task_timeout_secs: Some(TASK_SECS), ..JobConfig::default() }
        .overlaid(config)
        .overlaid(JobConfig { is_test: Some(true), ..JobConfig::default() });
    match data {
        Some(data) => {
            let own = SecretId::of_job(id, DataEnd::Source);
            job.source = Some(draft::keep(app, &caller, "data", own, data).await?);
        }
        None => use_sample(&call, &mut job, &package).await?,
    }
    if let Err(refused) = begin(&call, &caller, &job).await {
        forget(app, &job).await?;
        return Err(refused);
    }
    let job = jobs::find(app, &caller, &Segment(id.to_string())).await?;
    answer(&call, &caller, job).await
}

/// The test of this id, if it has begun. One that was cut off before is begun by the call that
/// asks for it again.
async fn begun(app: &App, caller: &Caller, id: JobId) -> Result<Option<Job>> {
    let made = store::jobs::find(&app.db, caller.workspace, id).await?;
    Ok(made.filter(|job| job.run.is_some()))
}

/// The app alone; what is another's means its owner's.
fn template(package: &Package, user: WorkspaceId) -> Template {
    let app = format!("{}@{}", package.manifest.name, package.manifest.version);
    let mut template = Template::of(app, PASSTHROUGH.to_owned(), PASSTHROUGH.to_owned());
    template.app_id = Some(package.id);
    if package.workspace == user { template } else { template.lent(package.workspace) }
}

/// Makes the package's own sample the job's source; without one the app gets an empty chunk.
async fn use_sample(call: &Call, job: &mut Job, package: &Package) -> Result<()> {
    let app = call.app();
    let Some(sample) = find_sample(call, package).await? else {
        job.source = Some(Source::Bypass);
        return Ok(());
    };
    let name = sample.path.rsplit('/').next().map(ToOwned::to_owned);
    job.source = Some(Source::File(FileToUpload { name }));
    let key = BlobKey::Upload(job.id);
    let size = sample.bytes.len() as u64;
    app.data.quotas().reserve(job.workspace, &key, size).await?;
    let bytes = futures::stream::iter([Ok(Bytes::from(sample.bytes))]);
    let stored = app.data.put(&key, Box::pin(bytes)).await?;
    let identity = Some(Identity::Digest(stored.digest));
    job.upload = Some(Upload { size: stored.size, identity });
    job.received = Some(stored.digest);
    Ok(())
}

async fn find_sample(call: &Call, package: &Package) -> Result<Option<Sample>> {
    let key = BlobKey::Package(package.digest);
    let bytes = call.app().data.get(&key, 0..package.size).await?;
    let archive: BytesMut = bytes.try_collect().await.map_err(|e| Error::Internal(Box::new(e)))?;
    tokio::task::spawn_blocking(move || archive::sample(&archive))
        .await
        .map_err(|error| Error::Internal(Box::new(error)))?
        .map_err(|error| Error::Internal(Box::new(error)))
}

async fn begin(call: &Call, caller: &Caller, job: &Job) -> Result<()> {
    let app = call.app();
    let spec = plan::pin(app, caller, job, job.config).await?;
    store::jobs::insert(&app.db, job).await?;
    run::begin(app, job, job.config, spec).await
}

/// Leaves nothing of a job that was refused. One that has been started all the same stays.
async fn forget(app: &App, job: &Job) -> Result<()> {
    let lock = app.coordinator.lock_job(job.id).await?;
    if store::jobs::forget_draft(&app.db, &lock, job.workspace).await? {
        app.data.purge_upload(job.id).await?;
    }
    Ok(())
}

/// The test of this id, or the latest of the app that the id or tag names.
async fn read(id: Segment, call: Call) -> Result<TestOut> {
    let caller = call.caller().await?;
    let db = &call.app().db;
    let found = match id.0.parse() {
        Ok(job) => store::jobs::find(db, caller.workspace, job).await?,
        Err(_) => None,
    };
    let job = match found.filter(|job| job.config().is_test == Some(true)) {
        Some(job) => job,
        None => latest(&call, &packages::find(call.app(), &caller, Family::App, &id.0).await?)
            .await?
            .ok_or_else(|| Error::not_found("test", &id.0))?,
    };
    answer(&call, &caller, job).await
}

async fn latest(call: &Call, package: &Package) -> Result<Option<Job>> {
    let caller = call.caller().await?;
    let app = format!("{}@{}", package.manifest.name, package.manifest.version);
    let name = Test::Compare(Comparison::Equal, Operand::Text(name_of(&app)));
    let selection = Selection {
        tests: vec![(JobField::Name, name)],
        order: vec![(JobField::CreatedAt, true)],
        start: Start::Place(None),
        limit: 1,
    };
    let found = store::jobs::list(&call.app().db, caller.workspace, &selection).await?;
    Ok(found.rows.into_iter().next())
}

/// What a test of this app is called.
fn name_of(app: &str) -> String {
    format!("test of {app}")
}

async fn answer(call: &Call, caller: &Caller, job: Job) -> Result<TestOut> {
    let app = call.app();
    let run = run_of(app, &job).await?;
    let (mut lines, mut files) = (Vec::new(), Vec::new());
    if let Some(run) = &run {
        let found = logs::find(&app.db, run.id, LOG_BATCHES_MAX).await?;
        lines.extend(found.into_iter().map(|line| LineOut { timestamp: line.at, log: line.text }));
        if run.state == RunState::Succeeded {
            files = results_of(app, &job, run, holder(caller), None).await?.results;
        }
    }
    let ended = run.as_ref().filter(|run| run.has_ended());
    Ok(TestOut {
        id: job.id,
        state: states::of_job(run.as_ref()),
        passed: ended.map(|run| run.state == RunState::Succeeded),
        payment_amount: Amount::of(run.as_ref().map_or(Credits::ZERO, |run| run.price)),
        data_source: job.source().map(descriptor::source_out),
        error_message: run.and_then(|run| run.error).unwrap_or_default(),
        logs: lines,
        results: files,
        app: job.template.app,
    })
}

#[cfg(test)]
mod tests;
