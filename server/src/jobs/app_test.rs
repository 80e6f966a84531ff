//! Tests of apps: a job of one chunk, run and paid for like any other.

use bytes::{Bytes, BytesMut};
use common::data::location::{Destination, DraftSource, FileToUpload, Identity, Source};
use common::ids::{JobId, RunId, WorkspaceId};
use common::package::archive::{self, Sample};
use common::package::config::JobConfig;
use common::package::template::{PhaseParams, Template};
use common::run::RunState;
use common::secret::{DataEnd, SecretId};
use futures::TryStreamExt as _;

use super::draft::Given;
use super::monitoring::status::{find_job, run_of};
use super::resolve::resolve;
use super::runs::results::{self, ResultFile};
use super::runs::start;
use super::{Job, RunView, draft};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::error::{Error, Result};
use crate::logs::reader::Logs;
use crate::people::caller::Caller;
use crate::store::catalogue::packages::Package;
use crate::store::jobs::{self, JobField, JobKind, JobWork, StartAs, TemplateWork, Upload};
pub use crate::store::logs::LogView;
use crate::store::logs::{Batch, Filter};
use crate::store::query::selection::{Comparison, Operand, Selection, Start, Test};

const PASSTHROUGH: &str = "passthrough";
/// A test that hangs ends by itself.
const TASK_SECS: u32 = 600;
/// Lines are given until their text has so many bytes.
const LOG_BYTES: u64 = 3 << 20;

/// What an app is tested with.
pub struct NewTest {
    pub package: Package,
    /// Else the package's own sample or, without one, an empty chunk.
    pub source: Option<Given<DraftSource>>,
    pub params: PhaseParams,
    pub config: JobConfig,
}

/// A test, what it wrote, and what came out.
#[derive(Debug)]
pub struct AppTest {
    pub job: JobId,
    pub work: TemplateWork,
    pub run: Option<RunView>,
    pub logs: Vec<LogView>,
    pub results: Vec<ResultFile>,
}

/// Starts a test under this id. One that has begun goes on, and one that was cut off before is
/// begun: of two calls of one id, the second must come after the first.
pub async fn start_test(app: &App, caller: &Caller, id: JobId, new: NewTest) -> Result<AppTest> {
    let made = jobs::find(&app.db, caller.workspace, id).await?;
    if let Some(begun) = made.filter(|job| job.run.is_some()) {
        return AppTest::of(app, caller, begun).await;
    }
    let NewTest { package, source, params, config } = new;
    let mut work = TemplateWork::new(template(&package, caller.workspace));
    let name = name_of(&work.template.app);
    work.params = params;
    work.destination = Some(Destination::Bucket);
    work.config = JobConfig { task_timeout_secs: Some(TASK_SECS), ..JobConfig::default() }
        .overlaid(config)
        .overlaid(JobConfig { is_test: Some(true), ..JobConfig::default() });
    let config = work.config;
    match source {
        Some(source) => {
            let own = SecretId::of_job(id, DataEnd::Source);
            work.source = Some(draft::keep(app, caller, DataEnd::Source, own, source).await?);
        }
        None => use_sample(app, (id, caller.workspace), &mut work, &package).await?,
    }
    let work = JobWork::Template(Box::new(work));
    let job = Job { name, ..Job::new(id, caller.workspace, work) };
    if let Err(refused) = begin(app, caller, &job, config).await {
        forget(app, &job).await?;
        return Err(refused);
    }
    AppTest::of(app, caller, find_job(app, caller, id).await?).await
}

/// The caller's test of this id.
pub async fn read(app: &App, caller: &Caller, id: JobId) -> Result<Option<AppTest>> {
    let found = jobs::find(&app.db, caller.workspace, id).await?;
    match found.filter(is_test) {
        Some(job) => AppTest::of(app, caller, job).await.map(Some),
        None => Ok(None),
    }
}

/// The caller's latest test of this app.
pub async fn latest(app: &App, caller: &Caller, package: &Package) -> Result<Option<AppTest>> {
    let name = name_of(&tag_of(package));
    let is_named = Test::Compare(Comparison::Equal, Operand::Text(name));
    let selection = Selection {
        tests: vec![(JobField::Name, is_named)],
        order: vec![(JobField::CreatedAt, true)],
        start: Start::Place(None),
        limit: 1,
    };
    let found =
        jobs::list(&app.db, caller.workspace, Some(JobKind::Template), None, &selection).await?;
    match found.rows.into_iter().next() {
        Some(job) => AppTest::of(app, caller, job).await.map(Some),
        None => Ok(None),
    }
}

/// The first lines of a run.
async fn first_lines(app: &App, run: RunId) -> Result<Vec<LogView>> {
    let logs = Logs { db: &app.db, data: &app.data };
    let (mut lines, mut bytes) = (Vec::new(), 0);
    let mut scan = logs.scan(run, Filter::default(), None);
    while bytes < LOG_BYTES
        && let Some(batches) = scan.next().await?
    {
        bytes += batches.iter().map(Batch::bytes).sum::<u64>();
        lines.extend(batches.into_iter().flat_map(Batch::into_views));
    }
    Ok(lines)
}

impl AppTest {
    async fn of(app: &App, caller: &Caller, job: Job) -> Result<Self> {
        let missing = || Error::not_found("test", &job.id.to_string());
        let work = job.work.template().cloned().ok_or_else(missing)?;
        let run = run_of(app, &job).await?;
        let (mut lines, mut files) = (Vec::new(), Vec::new());
        if let Some(run) = &run {
            lines = first_lines(app, run.id).await?;
            if run.state == RunState::Succeeded {
                files = results::delivered(app, caller, &job, run, None).await?.files;
            }
        }
        Ok(Self { job: job.id, work, run, logs: lines, results: files })
    }

    /// `None` until the test has ended.
    pub fn passed(&self) -> Option<bool> {
        let ended = self.run.as_ref().filter(|run| run.has_ended());
        ended.map(|run| run.state == RunState::Succeeded)
    }
}

/// The app alone; what is another's means its owner's.
fn template(package: &Package, user: WorkspaceId) -> Template {
    let passthrough = || PASSTHROUGH.to_owned();
    let mut template = Template::of(tag_of(package), passthrough(), passthrough());
    template.app_id = Some(package.id);
    if package.workspace == user { template } else { template.lent(package.workspace) }
}

fn tag_of(package: &Package) -> String {
    format!("{}@{}", package.manifest.name, package.manifest.version)
}

/// What a test of this app is called.
fn name_of(app: &str) -> String {
    format!("test of {app}")
}

/// Makes the package's own sample the job's source; without one the app gets an empty chunk.
async fn use_sample(
    app: &App,
    (id, owner): (JobId, WorkspaceId),
    work: &mut TemplateWork,
    package: &Package,
) -> Result<()> {
    let Some(sample) = find_sample(app, package).await? else {
        work.source = Some(Source::Bypass);
        return Ok(());
    };
    let name = sample.path.rsplit('/').next().map(ToOwned::to_owned);
    work.source = Some(Source::File(FileToUpload { name }));
    let key = BlobKey::Upload(id);
    let size = sample.bytes.len() as u64;
    app.data.quotas().reserve(owner, &key, size).await?;
    let bytes = futures::stream::iter([Ok(Bytes::from(sample.bytes))]);
    let stored = app.data.put(&key, Box::pin(bytes)).await?;
    let identity = Some(Identity::Digest(stored.digest));
    work.upload = Some(Upload { size: stored.size, identity });
    work.received = Some(stored.digest);
    Ok(())
}

async fn find_sample(app: &App, package: &Package) -> Result<Option<Sample>> {
    let key = BlobKey::Package(package.digest);
    let bytes = app.data.get(&key, 0..package.size).await?;
    let archive: BytesMut = bytes.try_collect().await.map_err(|e| Error::Internal(Box::new(e)))?;
    tokio::task::spawn_blocking(move || archive::sample(&archive))
        .await
        .map_err(|error| Error::Internal(Box::new(error)))?
        .map_err(|error| Error::Internal(Box::new(error)))
}

async fn begin(app: &App, caller: &Caller, job: &Job, config: JobConfig) -> Result<()> {
    let spec = resolve(app, caller, job, config).await?;
    jobs::insert(&app.db, job).await?;
    let read = start::read(app, caller, job.id).await?;
    app.coordinator.start_job(spec, read, StartAs::Only(config)).await?;
    Ok(())
}

fn is_test(job: &Job) -> bool {
    let config = job.work.template().map(TemplateWork::config);
    config.is_some_and(|config| config.is_test == Some(true))
}

/// Leaves nothing of a job that was refused. One that has been started all the same stays.
async fn forget(app: &App, job: &Job) -> Result<()> {
    let lock = app.coordinator.lock_job(job.id).await?;
    if jobs::forget_draft(&app.db, &lock, job.workspace).await? {
        app.data.purge_upload(job.id).await?;
    }
    Ok(())
}
