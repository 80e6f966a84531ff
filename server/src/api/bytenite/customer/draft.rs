//! Changing drafts: the data, the params, the name, the config, and the uploaded file.

use common::ids::JobId;
use common::input::json;
use common::package::loose::{Loose, check_line};
use serde_json::Value;

use super::job_out::JobAnswer;
use super::scheduling_fields;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::work::{CONFIG, DATA, PARAMS, read_destination, read_source};
use crate::api::bytenite::{config, params};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::route::{Body, Route, patch, post};
use crate::api::http::shape::{Field, one};
use crate::error::{Error, Result};
use crate::jobs::draft;
use crate::jobs::draft::{DESCRIPTION_CHARS_MAX, DraftChange, NAME_CHARS_MAX};

pub fn routes() -> Vec<Route> {
    vec![
        patch("Customer_SetJobDataSource", "/jobs/{jobId}/datasource", set_data)
            .summary("Sets a draft's source and destination")
            .body(PLACES),
        patch("Customer_SetJobParams", "/jobs/{jobId}/params", set_params)
            .summary("Sets a draft's params; omitted phases keep theirs")
            .body(params_fields()),
        patch("Customer_SetJobName", "/jobs/{jobId}/jobname", set_name)
            .summary("Renames a job in any state")
            .takes(Body::Text("The new name")),
        patch("Customer_SetJobConfig", "/jobs/{jobId}/configs", set_config)
            .summary("Sets a draft's timeouts and retries; omitted fields stay unchanged")
            .body([CONFIG.fields, &[one("config", &CONFIG, "Or all of them in this")]].concat()),
        patch("Customer_UploadCompleted", "/jobs/{jobId}/uploadcompleted", upload_completed)
            .summary("Marks the upload of the source file as complete"),
        post("Customer_UploadCompleted2023", "/jobs/uploadcompleted/{jobId}", upload_completed)
            .summary("Marks the upload of the source file as complete")
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
    let mut change = DraftChange::default();
    read_data(&mut body, &mut change)?;
    if change.source.is_none() && change.destination.is_none() {
        return Err(Error::field("dataSource", "is missing, and so is dataDestination"));
    }
    Ok(draft::change(call.app(), &caller, id.id::<JobId>("job")?, change).await?.into())
}

async fn set_params(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let params = params::read_change(unwrapped(call.json().await?, "params")?)?;
    let change = DraftChange { params: Some(params), ..DraftChange::default() };
    Ok(draft::change(call.app(), &caller, id.id::<JobId>("job")?, change).await?.into())
}

/// Takes a bare JSON string.
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
    Ok(draft::rename(call.app(), &caller, id.id::<JobId>("job")?, name).await?.into())
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
    let config = config::read(unwrapped(call.json().await?, "config")?)?;
    let change = DraftChange { config: Some(config), ..DraftChange::default() };
    Ok(draft::change(call.app(), &caller, id.id::<JobId>("job")?, change).await?.into())
}

async fn upload_completed(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    draft::complete_upload(call.app(), &caller, id.id::<JobId>("job")?).await?;
    Ok(done())
}

/// What a create call says of a job beside its template.
pub fn read_changes(body: &mut Loose) -> Result<DraftChange> {
    let mut change = DraftChange { name: read_name(body)?, ..DraftChange::default() };
    let field = body.name("description");
    change.description = body.text("description")?;
    if change.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_CHARS_MAX)
    {
        let problem = format!("must have at most {DESCRIPTION_CHARS_MAX} characters");
        return Err(Error::field(field, problem));
    }
    change.params = body.object("params")?.map(params::read_change).transpose()?;
    change.config = body.object("config")?.map(config::read).transpose()?;
    scheduling_fields::read(body, &mut change)?;
    read_data(body, &mut change)?;
    Ok(change)
}

/// The name that a body gives a job.
pub fn read_name(body: &mut Loose) -> Result<Option<String>> {
    Ok(body.line("name", NAME_CHARS_MAX)?)
}

/// Where data comes from and goes to.
fn read_data(body: &mut Loose, change: &mut DraftChange) -> Result<()> {
    change.source = body.object("dataSource")?.map(read_source).transpose()?;
    change.destination = body.object("dataDestination")?.map(read_destination).transpose()?;
    Ok(())
}

#[cfg(test)]
mod tests;
