//! Changing drafts: the data, the params, the name, the config, and the uploaded file.

use common::data::location::{Identity, Location, Source};
use common::ids::JobId;
use common::input::json;
use common::package::config::JobConfig;
use common::package::loose::{Loose, check_line};
use common::secret::{DataEnd, SecretId};
use serde_json::Value;

use super::job_out::{self, JobAnswer};
use super::jobs::{NAME_CHARS_MAX, find};
use super::params;
use crate::api::bytenite::descriptor::{self, Checked};
use crate::api::bytenite::secret_use;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::work::{CONFIG, DATA, PARAMS};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::route::{Body, Route, patch, post};
use crate::api::http::shape::{Field, one};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::secrets;
use crate::store::jobs::{self, Change, Job, Upload};
use crate::store::secrets::Secret;

pub fn routes() -> Vec<Route> {
    vec![
        patch("Customer_SetJobDataSource", "/jobs/{jobId}/datasource", set_data)
            .summary("Sets a draft's source and destination")
            .body(PLACES),
        patch("Customer_SetJobParams", "/jobs/{jobId}/params", set_params)
            .summary("Sets a draft's params; phases that are left out keep theirs")
            .body(params_fields()),
        patch("Customer_SetJobName", "/jobs/{jobId}/jobname", set_name)
            .summary("Renames a job, also one that has started or ended")
            .takes(Body::Text("The new name")),
        patch("Customer_SetJobConfig", "/jobs/{jobId}/configs", set_config)
            .summary("Sets a draft's timeouts and retries; fields that are left out stay")
            .body([CONFIG.fields, &[one("config", &CONFIG, "Or all of them in this")]].concat()),
        patch("Customer_UploadCompleted", "/jobs/{jobId}/uploadcompleted", upload_completed)
            .summary("Says that the source file has been uploaded"),
        post("Customer_UploadCompleted2023", "/jobs/uploadcompleted/{jobId}", upload_completed)
            .summary("Says that the source file has been uploaded")
            .deprecated(),
        post("Customer_SetJobDataSource2023", "/jobs/datasource/{jobId}", set_data)
            .summary("Sets a draft's source and destination")
            .body(PLACES)
            .deprecated(),
        post("Customer_SetJobParams2023", "/jobs/params/{jobId}", set_params)
            .summary("Sets a draft's params")
            .body(params_fields())
            .deprecated(),
    ]
}

/// Params as they are, or wrapped: both are in use.
fn params_fields() -> Vec<Field> {
    [PARAMS.fields, &[one("params", &PARAMS, "Or all of them in this")]].concat()
}

const PLACES: &[Field] = &[one("dataSource", &DATA, ""), one("dataDestination", &DATA, "")];

async fn set_data(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let job = find(call.app(), &caller, &id).await?;
    refuse_started(&job)?;
    let changes = read_data(call.app(), &caller, job.id, Some(&job), &mut body).await?;
    if changes.is_empty() {
        return Err(Error::field("dataSource", "is missing, and so is dataDestination"));
    }
    change(call.app(), &caller, &job, changes).await
}

async fn set_params(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let body = unwrapped(call.json().await?, "params")?;
    let job = find(call.app(), &caller, &id).await?;
    let params = job.params.clone().changed_by(body)?;
    params::check_given(call.app(), job.workspace, &job.template, &params).await?;
    change(call.app(), &caller, &job, vec![Change::Params(params)]).await
}

/// Takes a bare JSON string. The statement's line of a run keeps the name that it began with.
async fn set_name(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let name = match json::read("", &bytes)? {
        Value::String(name) => name,
        wrapped @ Value::Object(_) => {
            let mut wrapped = Loose::new("", wrapped)?;
            let name = wrapped.required_text("name")?;
            wrapped.finish()?;
            name
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            return Err(Error::field("body", "must be a JSON string: the job's name"));
        }
    };
    check_line("name", &name, NAME_CHARS_MAX)?;
    let app = call.app();
    let mut job = find(app, &caller, &id).await?;
    secret_use::check_job(&caller, &job)?;
    if !jobs::rename(&app.db, job.workspace, job.id, &name).await? {
        return Err(Error::not_found("job", &id.0));
    }
    job.name = name;
    let run = job_out::run_of(app, &job).await?;
    job_out::answer(app, job, run).await
}

/// The fields of a body that may stand in an object of this name, in its place.
///
/// # Errors
/// Where some stand in it and some beside it.
pub fn unwrapped(mut body: Loose, key: &str) -> Result<Loose> {
    let Some(inner) = body.object(key)? else { return Ok(body) };
    if let Some(beside) = body.keys().next() {
        let problem = format!("stands beside {key}: put it into {key}");
        return Err(Error::field(body.name(beside), problem));
    }
    Ok(inner)
}

async fn set_config(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let over = JobConfig::read(unwrapped(call.json().await?, "config")?)?;
    let job = find(call.app(), &caller, &id).await?;
    let config = job.config.overlaid(over);
    change(call.app(), &caller, &job, vec![Change::Config(config)]).await
}

/// Notes that the file has been uploaded, once it is really there.
async fn upload_completed(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = find(app, &caller, &id).await?;
    if !matches!(job.source(), Some(Source::File(_))) {
        return Err(Error::NotNow(
            "dataSource.dataSourceDescriptor: this job's source is not a file".to_owned(),
        ));
    }
    let key = BlobKey::Upload(job.id);
    let Some(stat) = app.data.stat(&key).await? else {
        return Err(Error::NotNow(
            "nothing has been uploaded yet: PUT the file to dataSource.params.tempUrl first"
                .to_owned(),
        ));
    };
    // Where the bucket took it directly, it is counted only now.
    if let Err(full) = app.data.quotas().reserve(caller.workspace, &key, stat.size).await {
        app.data.purge_upload(job.id).await?;
        return Err(full.into());
    }
    // The bytes' own name outlives a move of the bucket; a bucket's names do not.
    let identity = job.received.map(Identity::Digest).or(stat.version.map(Identity::Etag));
    let upload = Upload { size: stat.size, identity };
    change(app, &caller, &job, vec![Change::Uploaded(upload)]).await?;
    Ok(done())
}

/// Changes a job, as it was read, where the caller may use the secrets that it names then.
pub async fn change(
    app: &App,
    caller: &Caller,
    job: &Job,
    changes: Vec<Change>,
) -> Result<JobAnswer> {
    let mut changed = job.clone();
    for change in &changes {
        changed.change(change.clone());
    }
    secret_use::check_job(caller, &changed)?;
    let lock = app.coordinator.lock_job(job.id).await?;
    if !jobs::change(&app.db, &lock, caller.workspace, changes).await? {
        return Err(started());
    }
    let job = jobs::find(&app.db, caller.workspace, job.id)
        .await?
        .ok_or_else(|| Error::not_found("job", &job.id.to_string()))?;
    job_out::answer(app, job, None).await
}

/// Refuses what would touch a job that runs: even its secrets stay as they are.
pub fn refuse_started(job: &Job) -> Result<()> {
    if job.run.is_some() { Err(started()) } else { Ok(()) }
}

fn started() -> Error {
    Error::NotNow(
        "this job has been started: it cannot be changed any more, create another one".to_owned(),
    )
}

/// The changes of source and destination. Keys that came inside them go where secrets are; the
/// location that `before` has already keeps its own.
pub async fn read_data(
    app: &App,
    caller: &Caller,
    id: JobId,
    before: Option<&Job>,
    body: &mut Loose,
) -> Result<Vec<Change>> {
    let source = body.object("dataSource")?.map(descriptor::read_source).transpose()?;
    let destination =
        body.object("dataDestination")?.map(descriptor::read_destination).transpose()?;
    let mut changes = Vec::new();
    if let Some(mut source) = source {
        if let Some(kept) = before.and_then(|job| job.source.as_ref()) {
            source.location = with_own_keys(source.location, kept);
        }
        let own = SecretId::of_job(id, DataEnd::Source);
        changes.push(Change::Source(keep(app, caller, "dataSource", own, source).await?));
    }
    if let Some(mut destination) = destination {
        if let Some(kept) = before.and_then(|job| job.destination.as_ref()) {
            destination.location = with_own_keys(destination.location, kept);
        }
        let own = SecretId::of_job(id, DataEnd::Destination);
        let kept = keep(app, caller, "dataDestination", own, destination).await?;
        changes.push(Change::Destination(kept));
    }
    Ok(changes)
}

/// A location as it is given, with the keys of the same location as it is kept: a client that
/// sends back what it was shown cannot send them.
fn with_own_keys<L: Location + Clone + PartialEq>(given: L, kept: &L) -> L {
    let own = own_secret(kept);
    if own.is_some() && given == kept.clone().with_secret(None) { kept.clone() } else { given }
}

/// The secret of the keys that were given in a location's descriptor.
fn own_secret(location: &impl Location) -> Option<&SecretId> {
    location.secret().filter(|id| !id.is_named())
}

/// The location as it is kept. Keys that came inside its descriptor become the secret `own`.
pub async fn keep<L: Location>(
    app: &App,
    caller: &Caller,
    field: &str,
    own: SecretId,
    checked: Checked<L>,
) -> Result<L> {
    let Checked { location, inline } = checked;
    secret_use::check_location(caller, field, &location)?;
    let (Some(inline), Some(purpose)) = (inline, location.purpose()) else {
        return Ok(location);
    };
    let secret = Secret {
        id: own.clone(),
        purpose,
        name: String::new(),
        access_key: inline.access_key,
        params: std::collections::BTreeMap::new(),
        expires_at: None,
    };
    app.secrets.keep(caller.workspace, &secret, &inline.secret_key).await?;
    Ok(location.with_secret(Some(own)))
}

/// The location of another job for a new job: its own keys are copied.
///
/// # Errors
/// `Forbidden` where the caller may not use secrets.
pub async fn copied<L: Location>(
    app: &App,
    caller: &Caller,
    field: &str,
    from: Option<L>,
    own: SecretId,
) -> Result<Option<L>> {
    let Some(location) = from else { return Ok(None) };
    let Some(kept) = own_secret(&location) else { return Ok(Some(location)) };
    secret_use::check(caller, &format!("{field}.params"))?;
    if !app.secrets.copy(caller.workspace, kept, own.clone()).await? {
        return Err(secrets::Error::NotFound(kept.clone()).into());
    }
    Ok(Some(location.with_secret(Some(own))))
}

#[cfg(test)]
mod tests;
