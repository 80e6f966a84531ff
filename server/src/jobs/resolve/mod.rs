//! From a draft to a run's spec: tags become packages at fixed bytes, an upload the file that is
//! there.

mod containers;
mod packages;
pub mod params;

use common::compute::container::Sharing;
use common::data::location::{Destination, FileToUpload, Identity, Location, Source, UploadedFile};
use common::ids::{JobId, WorkspaceId};
use common::money::credits::Credits;
use common::order::call::CallWork;
use common::order::ordered_plan::{OrderedPlan, Pins};
use common::package::config::JobConfig;
use common::plan::{Image, Pipeline, Plan};
use common::run::queue::InQueue;
use common::run::scheduling::Terms;
use common::run::spec::{Origin, RunSpec};
use common::secret::DataEnd;

pub use packages::app_of;

use super::{Job, queues, secret_use};
use crate::app::App;
use crate::data::Stat;
use crate::data::bucket::blob_key::BlobKey;
use crate::error::{Error, Result};
use crate::field::Field;
use crate::people::caller::Caller;
use crate::secrets;
use crate::store::jobs::{JobWork, TemplateWork, Upload};
use crate::store::people::sharing;

const UPLOAD_NAME: &str = "upload";
const SOURCE: Field = Field::Location(DataEnd::Source);

/// A job of a template.
#[derive(Clone, Copy)]
struct TemplateJob<'a> {
    id: JobId,
    workspace: WorkspaceId,
    work: &'a TemplateWork,
}

/// Everything that a run needs, pinned as it is now. `config` stands in for a template's.
///
/// # Errors
/// `Forbidden` also where it takes secrets and the caller may not use them.
pub(super) async fn resolve(
    app: &App,
    caller: &Caller,
    job: &Job,
    config: JobConfig,
) -> Result<RunSpec> {
    secret_use::check_job(caller, job)?;
    let Job { id, workspace, .. } = *job;
    let does = match &job.work {
        JobWork::Template(work) => {
            let template_job = TemplateJob { id, workspace, work };
            let pipeline = pipeline(app, caller, template_job, config).await?;
            Does {
                template: work.template.id.clone(),
                timeout_secs: pipeline.limits.job_timeout_secs,
                is_test: pipeline.is_test,
                plan: pipeline.plan(),
            }
        }
        JobWork::Call(work) => Does {
            template: String::new(),
            timeout_secs: None,
            is_test: false,
            plan: call(app, workspace, work).await?,
        },
        JobWork::Container(work) => Does {
            template: String::new(),
            timeout_secs: config.job_timeout_secs,
            is_test: false,
            plan: containers::plan(app, caller, workspace, work).await?,
        },
        JobWork::Plan(work) => Does {
            template: String::new(),
            timeout_secs: config.job_timeout_secs,
            is_test: false,
            plan: containers::ordered_plan(app, workspace, work).await?,
        },
    };
    let queue = queues::of_run(app, job).await?;
    let sharing = sharing::known(&app.db, workspace).await?;
    Ok(spec(app, job, does, queue, sharing))
}

fn spec(app: &App, job: &Job, does: Does, queue: Option<InQueue>, sharing: Sharing) -> RunSpec {
    RunSpec {
        job: job.id,
        workspace: job.workspace,
        name: job.shown_name().into_owned(),
        template: does.template,
        plan: does.plan,
        scope: job.work.plan().map(|work| work.scope.clone()).unwrap_or_default(),
        timeout_secs: does.timeout_secs,
        terms: Terms {
            start_at: job.start_at,
            priority: job.priority,
            regions: job.regions.clone(),
            is_test: does.is_test,
            queue,
            project: job.project.clone(),
            sharing,
        },
        origin: Origin::Manual,
        callbacks: job.callbacks.pinned(app.settings.wallet.call_price),
    }
}

/// The same of an ordered plan whose images mean nothing: of a run that fails at once.
pub(super) fn unpinned(app: &App, job: &Job, work: &OrderedPlan) -> Result<RunSpec> {
    let images: Vec<Image> =
        work.images.iter().map(|image| Image::Local { name: image.name.clone() }).collect();
    let pins = Pins { images: &images, queues: &[], timeout_secs: 1, call_price: Credits::ZERO };
    let plan = work.pinned(&pins);
    let plan = plan.map_err(|refused| Error::Invalid(refused.to_string()))?;
    let does = Does { template: String::new(), timeout_secs: None, is_test: false, plan };
    Ok(spec(app, job, does, None, Sharing::default()))
}

/// The same, where nothing is laid over what the job says.
pub(super) async fn resolve_as_it_is(app: &App, caller: &Caller, job: &Job) -> Result<RunSpec> {
    let config = job.work.template().map(TemplateWork::config).unwrap_or_default();
    resolve(app, caller, job, config).await
}

/// What a run does, and what its kind of work says of it.
struct Does {
    template: String,
    timeout_secs: Option<u32>,
    is_test: bool,
    plan: Plan,
}

/// What a job of a call does, at the price of today. Retries would not bring a secret that is not
/// there.
async fn call(app: &App, workspace: WorkspaceId, work: &CallWork) -> Result<Plan> {
    let secrets: Vec<_> = work.call.secrets().map(|id| id.as_str().to_owned()).collect();
    packages::check_secrets(app, workspace, &secrets, "the call").await?;
    let plan = work.plan(app.settings.wallet.call_price);
    plan.map_err(|invalid| Error::field(format!("call.{}", invalid.field()), invalid.to_string()))
}

/// What a job of a template does.
async fn pipeline(
    app: &App,
    caller: &Caller,
    job: TemplateJob<'_>,
    config: JobConfig,
) -> Result<Pipeline> {
    let params = job.work.params();
    let source = source(app, job).await?;
    let destination = destination(app, job).await?;
    let process = packages::process(app, caller, job, params.app).await?;
    let partition = packages::partition(app, caller, job, params.partitioner).await?;
    let assemble = packages::assemble(app, caller, job, params.assembler).await?;
    let is_test = config.is_test.unwrap_or(false);
    let limits = config.limits(app.coordinator.task_timeout_secs());
    Ok(Pipeline { source, destination, partition, process, assemble, limits, is_test })
}

async fn source(app: &App, job: TemplateJob<'_>) -> Result<Source> {
    let source = job.work.source().cloned();
    let source = source.ok_or_else(|| Error::field(SOURCE, "is missing: set it first"))?;
    check_secret(app, job, &source, DataEnd::Source).await?;
    Ok(match source {
        Source::Cloud { bucket, paths } => Source::Cloud { bucket, paths },
        Source::Url { url, username, secret } => Source::Url { url, username, secret },
        Source::File(file) => Source::File(uploaded(app, job, file).await?),
        Source::Bypass => Source::Bypass,
    })
}

/// The uploaded file, which must still be the one that its owner called complete.
async fn uploaded(app: &App, job: TemplateJob<'_>, file: FileToUpload) -> Result<UploadedFile> {
    let noted = job.work.upload.clone().ok_or_else(|| {
        let what = "the file has not been uploaded: PUT it to its upload link, then say that the \
                    upload is complete";
        Error::NotNow(what.to_owned()).at(SOURCE)
    })?;
    let key = BlobKey::Upload(job.id);
    let Upload { size, identity } = noted;
    let there = app.data.stat(&key).await?;
    let same = |stat: Stat| {
        let same = match &identity {
            Some(Identity::Digest(digest)) => job.work.received == Some(*digest),
            Some(Identity::Etag(etag)) => stat.version.as_ref() == Some(etag),
            None => true,
        };
        stat.size == size && same
    };
    if !there.is_some_and(same) {
        let what = "the file has changed since its upload was completed: say again that the upload \
                    is complete";
        return Err(Error::NotNow(what.to_owned()).at(SOURCE));
    }
    let name = file.name.unwrap_or_else(|| UPLOAD_NAME.to_owned());
    Ok(UploadedFile { key: key.path(), name, size, identity })
}

async fn destination(app: &App, job: TemplateJob<'_>) -> Result<Destination> {
    let destination = job.work.destination().cloned().unwrap_or(Destination::Bucket);
    check_secret(app, job, &destination, DataEnd::Destination).await?;
    Ok(destination)
}

/// A secret that is missing or for something else is better told now than when the data is looked
/// at.
async fn check_secret<L: Location>(
    app: &App,
    job: TemplateJob<'_>,
    location: &L,
    end: DataEnd,
) -> Result<()> {
    let (Some(id), Some(target)) = (location.secret(), location.target()) else { return Ok(()) };
    match app.secrets.open(job.workspace, id, &target).await {
        Ok(_) => Ok(()),
        Err(error @ (secrets::Error::NotFound(_) | secrets::Error::Misuse { .. })) => {
            Err(Error::field(Field::LocationSecret(end), error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}
