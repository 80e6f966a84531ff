//! Jobs as drafts: made from a template, changed until they run.

use common::ids::{JobId, NotAnId};
use common::package::loose::Loose;

use super::draft::{read_changes, read_name};
use super::job_out::JobAnswer;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::work::{CONFIG, DATA, PARAMS};
use crate::api::bytenite::{names, template};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, post};
use crate::api::http::shape::{Field, Shape, date, one, text, texts, word};
use crate::error::{Error, Result};
use crate::jobs::draft;
use crate::jobs::draft::{NewJob, TemplateChoice};
use crate::jobs::runs::cancel;

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_CreateJob", "/jobs", create)
            .creates()
            .summary("Creates a job, or updates the draft with the given id")
            .body(CREATE),
        post("Customer_CloneJob", "/jobs/{jobId}/clone", clone)
            .creates()
            .summary("Creates a draft from an existing job")
            .body(vec![text("name", "Of the draft")]),
        delete("Customer_DeleteJob", "/jobs/{jobId}", remove)
            .summary("Deletes a draft, or hides a job that has ended"),
    ]
}

const CREATE: &[Field] = &[
    text("templateId", "Or app, partitioner and assembler in its place"),
    text("app", "A tag; in place of a template").example("hello-world"),
    text("partitioner", "A tag; passthrough where it is left out"),
    text("assembler", "A tag; passthrough where it is left out"),
    text("jobId", "A UUID; made where it is left out"),
    text("name", "At most 256 characters").example("first job"),
    text("description", "At most 4000 characters"),
    one("dataSource", &DATA, "Where the data comes from; the template's where it is left out"),
    one(
        "dataDestination",
        &DATA,
        "Where the results go; the template's where it is left out, and else the temporary bucket, \
         from which links lead to them for 48 hours",
    ),
    one("params", &PARAMS, "Laid over the template's"),
    one("config", &CONFIG, "Laid over the template's"),
    word("priority", &names::PRIORITIES, "How soon the job gets nodes, against other jobs"),
    date("startAt", ""),
    one("regions", &REGIONS, ""),
    texts("tags", ""),
];

const REGIONS: Shape =
    Shape { name: "Regions", fields: &[texts("whitelist", ""), texts("blacklist", "")] };

/// Makes a job, or changes the draft of the given id.
async fn create(mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let template = read_template(&mut body)?;
    let id = read_id(&mut body)?;
    let new = NewJob { id, template, draft: read_changes(&mut body)? };
    let key = idempotency::key(&call, &bytes)?;
    Ok(draft::create(call.app(), &caller, key.as_ref(), new).await?.into())
}

fn read_id(body: &mut Loose) -> Result<Option<JobId>> {
    let read =
        |text: String| text.parse().map_err(|e: NotAnId| Error::field("jobId", e.to_string()));
    body.text("jobId")?.map(read).transpose()
}

/// The template that a create call names, or the packages that it names in its place.
fn read_template(body: &mut Loose) -> Result<TemplateChoice> {
    let id = body.text("templateId")?;
    match (id, template::unnamed(body)?) {
        (Some(id), None) => Ok(TemplateChoice::Stored(id)),
        (None, Some(template)) => Ok(TemplateChoice::Named(Box::new(template))),
        (Some(_), Some(_)) => {
            let problem = "names the packages already: leave out app, partitioner and assembler";
            Err(Error::field("templateId", problem))
        }
        (None, None) => Err(Error::field("templateId", "is missing, and so is app")),
    }
}

/// Makes a draft like an existing job, under a name of its own where one is given.
async fn clone(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let name = read_name(&mut body)?;
    body.finish()?;
    let key = idempotency::key(&call, &bytes)?;
    let from = id.id::<JobId>("job")?;
    Ok(draft::copy(call.app(), &caller, key.as_ref(), from, name).await?.into())
}

/// Deletes a draft, or hides a job whose run has ended.
async fn remove(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    cancel::delete(call.app(), &caller, id.id::<JobId>("job")?).await?;
    Ok(done())
}

#[cfg(test)]
mod tests;
