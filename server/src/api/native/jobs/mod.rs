//! Jobs: made as drafts, listed, read, changed, copied and deleted.

mod call;
mod callbacks;
pub(super) mod config;
pub(super) mod container_in;
pub(super) mod container_out;
pub(super) mod job_in;
pub(super) mod job_out;
pub(super) mod locations;
pub(super) mod params;
pub(super) mod quote;
pub(super) mod scheduling;
mod source_tests;
mod workflow;

use std::collections::BTreeMap;

use common::ids::JobId;
use common::order::container::ContainerOrder;
use serde::Serialize;
use utoipa::ToSchema;

use self::job_in::{
    ChangeIn, NewJobIn, changed_fields, new_fields, read_changed, read_name, read_new,
};
use self::job_out::JobOut;
use super::cursor;
use super::page::{self, PAGE};
use super::words::{KINDS, STATES};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, patch, post};
use crate::api::http::shape::{Field, text, word};
use crate::error::{Error, Result};
use crate::jobs::JobKind;
use crate::jobs::containers;
use crate::jobs::draft;
use crate::jobs::list::{self, JobField};
use crate::jobs::monitoring::status;
use crate::jobs::runs::cancel;
use crate::jobs::workflows;
use crate::listing::{Comparison, Operand, Selection, Start, Test};

pub fn routes() -> Vec<Route> {
    let own = vec![
        get("Fanfold_ListJobs", "/jobs", list_jobs)
            .summary("Lists jobs, the newest first")
            .query([&PAGE[..], &FILTERS[..]].concat()),
        post("Fanfold_CreateJob", "/jobs", create)
            .creates()
            .summary(
                "Creates a job: a draft from a template or from packages, one of an HTTP call, one \
                 of containers, or one of a job file",
            )
            .body(new_fields()),
        get("Fanfold_GetJob", "/jobs/{job}", read).summary("Gets a job"),
        patch("Fanfold_ChangeJob", "/jobs/{job}", change)
            .summary("Changes a draft, or a job of containers from its next run on")
            .body(changed_fields()),
        delete("Fanfold_DeleteJob", "/jobs/{job}", remove)
            .summary("Deletes a draft or a job that has ended; one of containers with its runs"),
        post("Fanfold_RenameJob", "/jobs/{job}/rename", rename)
            .summary("Renames a job in any state")
            .body(vec![text("name", "At most 256 characters").required()]),
        post("Fanfold_CopyJob", "/jobs/{job}/copy", copy)
            .creates()
            .summary("Creates a draft like an existing job")
            .body(vec![text("name", "Of the draft; the job's where it is left out")]),
        post("Fanfold_CompleteUpload", "/jobs/{job}/upload", complete_upload)
            .summary("Marks the file of a draft as uploaded to its upload link"),
    ];
    [own, quote::routes(), source_tests::routes()].into_iter().flatten().collect()
}

const FILTERS: [Field; 2] =
    [word("state", &STATES, "Those in this state"), word("kind", &KINDS, "Those of this kind")];

#[derive(Serialize, ToSchema)]
struct JobList {
    /// The newest first.
    jobs: Vec<JobOut>,
    next_cursor: Option<String>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedJob {
    #[schema(value_type = String)]
    id: JobId,
}

/// Newest first.
const ORDER: [(JobField, bool); 1] = [(JobField::CreatedAt, true)];

async fn list_jobs(call: Call) -> Result<JobList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let kind = read_kind(&query)?;
    let selection = Selection {
        tests: read_state(&query)?.into_iter().collect(),
        order: ORDER.to_vec(),
        start: Start::Place(cursor::read(&query, &ORDER)?),
        limit: page::limit(&query)?.into(),
    };
    let _permit = call.answer_permit(&caller).await;
    let found = list::list(call.app(), &caller, kind, None, &selection).await?;
    let next_cursor = cursor::next(&found);
    Ok(JobList { jobs: found.rows.into_iter().map(JobOut::from).collect(), next_cursor })
}

/// The kind that a list is of.
fn read_kind(query: &BTreeMap<String, String>) -> Result<Option<JobKind>> {
    let Some(name) = query.get("kind") else { return Ok(None) };
    let kind = KINDS.iter().zip(JobKind::ALL).find(|(kind, _)| *kind == name);
    kind.map(|(_, kind)| Some(kind))
        .ok_or_else(|| Error::field("kind", format!("must be one of {}", KINDS.join(", "))))
}

/// The state that a list is of.
fn read_state(query: &BTreeMap<String, String>) -> Result<Option<(JobField, Test)>> {
    let Some(name) = query.get("state") else { return Ok(None) };
    let number = (0..).zip(STATES).find(|(_, state)| state == name).map(|(number, _)| number);
    let number = number
        .ok_or_else(|| Error::field("state", format!("must be one of {}", STATES.join(", "))))?;
    Ok(Some((JobField::Status, Test::Compare(Comparison::Equal, Operand::Number(number)))))
}

async fn create(mut call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let new = read_new(call.object(&bytes)?)?;
    let (app, key) = (call.app(), idempotency::key(&call, &bytes)?);
    let made = match new {
        NewJobIn::Template(new) => draft::create(app, &caller, key.as_ref(), *new).await?,
        NewJobIn::Call(new) => draft::call::create(app, &caller, key.as_ref(), *new).await?,
        NewJobIn::Containers(new) => containers::create(app, &caller, key.as_ref(), *new).await?,
        NewJobIn::Workflow(new) => workflows::create(app, &caller, key.as_ref(), *new).await?,
    };
    Ok(made.into())
}

async fn read(job: Segment, call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    Ok(status::read(call.app(), &caller, job.id::<JobId>("job")?).await?.into())
}

async fn change(job: Segment, mut call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let (body, id) = (call.json().await?, job.id::<JobId>("job")?);
    let app = call.app();
    let is_of_containers = status::kind(app, &caller, id).await? == JobKind::Container;
    let changed = match read_changed(body, is_of_containers)? {
        ChangeIn::Draft(change) => draft::change(app, &caller, id, *change).await?,
        ChangeIn::Containers(work, terms) => {
            let work = |_: &ContainerOrder| Ok(work.map(|work| *work));
            containers::change(app, &caller, id, terms, work).await?
        }
    };
    Ok(changed.into())
}

async fn remove(job: Segment, call: Call) -> Result<DeletedJob> {
    let caller = call.caller().await?;
    let id = job.id::<JobId>("job")?;
    match status::kind(call.app(), &caller, id).await? {
        JobKind::Template | JobKind::Call => cancel::delete(call.app(), &caller, id).await?,
        JobKind::Container | JobKind::Plan => containers::remove(call.app(), &caller, id).await?,
    }
    Ok(DeletedJob { id })
}

async fn rename(job: Segment, mut call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let field = body.name("name");
    let name = read_name(&mut body)?.ok_or_else(|| Error::field(field, "is missing"))?;
    body.finish()?;
    Ok(draft::rename(call.app(), &caller, job.id::<JobId>("job")?, name).await?.into())
}

async fn copy(job: Segment, mut call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let name = read_name(&mut body)?;
    body.finish()?;
    let key = idempotency::key(&call, &bytes)?;
    Ok(draft::copy(call.app(), &caller, key.as_ref(), job.id::<JobId>("job")?, name).await?.into())
}

async fn complete_upload(job: Segment, call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    Ok(draft::complete_upload(call.app(), &caller, job.id::<JobId>("job")?).await?.into())
}
