//! Jobs: made from a template as drafts, listed, read and deleted.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use common::ids::JobId;
use common::package::config::JobConfig;
use common::package::loose::Loose;
use common::package::template::ParamsChange;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::renamed;
use super::job_out::JobOut;
use super::locations::{DESTINATION, SOURCE, read_destination, read_source};
use super::page::{self, PAGE};
use super::words::STATES;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Field, Shape, flag, integer, map, one, text, word};
use crate::error::{Error, Result};
use crate::jobs::cancel;
use crate::jobs::draft::{self, DraftChange, Given, NAME_CHARS_MAX, NewJob, TemplateChoice};
use crate::jobs::list::{self, JobField};
use crate::jobs::monitoring::status;
use crate::listing::{Comparison, Operand, Place, Rest, Selection, Start, Test};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListJobs", "/jobs", list_jobs)
            .summary("Lists jobs, the newest first")
            .query([&PAGE[..], &[word("state", &STATES, "Those in this state")]].concat()),
        post("Fanfold_CreateJob", "/jobs", create)
            .creates()
            .summary("Makes a draft of a job from a template")
            .body(NEW),
        get("Fanfold_GetJob", "/jobs/{job}", read).summary("Gets a job"),
        delete("Fanfold_DeleteJob", "/jobs/{job}", remove)
            .summary("Deletes a draft, or hides a job that has ended"),
        post("Fanfold_CompleteUpload", "/jobs/{job}/upload", complete_upload)
            .summary("Says that the file of a draft has been uploaded to its upload link"),
    ]
}

const NEW: &[Field] = &[
    text("template", "The template's id").required(),
    text("name", "At most 256 characters").example("first job"),
    one("source", &SOURCE, "The template's where it is left out"),
    one("destination", &DESTINATION, "The template's where it is left out, and else the bucket"),
    one("params", &PARAMS, "Laid over the template's"),
    one("config", &CONFIG, "Laid over the template's"),
];

const PARAMS: Shape = Shape {
    name: "NewParams",
    fields: &[
        map("partitioner", "As the partitioner needs them"),
        map("app", "What the app finds in APP_PARAMS, to the last digit"),
        map("assembler", "As the assembler needs them"),
    ],
};

/// What a job and its start say of when it stops trying.
pub const CONFIG: Shape = Shape {
    name: "NewConfig",
    fields: &[
        integer("task_timeout", "Seconds; 0 is the server's default"),
        integer("job_timeout", "Seconds; 0 means no limit"),
        flag("is_test_job", "Works on the first two chunks only"),
        integer("max_task_retries", "Further tries of a task that failed"),
        flag("require_results", "A task that gives no results has failed and is not paid"),
        flag("deterministic", "Whether the same input always gives the same results (the default)"),
    ],
};

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
const ORDER: (JobField, bool) = (JobField::CreatedAt, true);

/// Where a page of jobs ended: when its last job was made, and that job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCursor {
    created_us: i64,
    id: Uuid,
}

async fn list_jobs(call: Call) -> Result<JobList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let after = page::cursor::<JobCursor>(&query)?.map(JobCursor::place);
    let selection = Selection {
        tests: read_state(&query)?.into_iter().collect(),
        order: vec![ORDER],
        start: Start::Place(after),
        limit: page::limit(&query)?.into(),
    };
    let _place = call.answer_place(&caller).await;
    let found = list::list(call.app(), &caller, &selection).await?;
    let next_cursor = match &found.rest {
        Rest::After(Some(place)) => JobCursor::of(place).map(|cursor| cursor.to_string()),
        Rest::After(None) | Rest::Total(_) => None,
    };
    Ok(JobList { jobs: found.rows.into_iter().map(JobOut::from).collect(), next_cursor })
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
    let new = read_new(call.object(&bytes)?).map_err(renamed)?;
    let key = idempotency::key(&call, &bytes)?;
    let made = draft::create(call.app(), &caller, key.as_ref(), new).await;
    Ok(made.map_err(renamed)?.into())
}

fn read_new(mut body: Loose) -> Result<NewJob> {
    let template = TemplateChoice::Stored(body.required_text("template")?);
    let source = body.object("source")?.map(read_source).transpose()?;
    let destination = body.object("destination")?.map(read_destination).transpose()?;
    let draft = DraftChange {
        name: body.line("name", NAME_CHARS_MAX)?,
        source: source.map(|location| Given { location, keys: None }),
        destination: destination.map(|location| Given { location, keys: None }),
        params: body.object("params")?.map(ParamsChange::read).transpose()?,
        config: read_config(&mut body)?,
        ..DraftChange::default()
    };
    body.finish()?;
    Ok(NewJob { id: None, template, draft })
}

/// The config in a body.
pub fn read_config(body: &mut Loose) -> Result<Option<JobConfig>> {
    Ok(body.object("config")?.map(JobConfig::read).transpose()?)
}

async fn read(job: Segment, call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    Ok(status::read(call.app(), &caller, job.id("job")?).await?.into())
}

async fn remove(job: Segment, call: Call) -> Result<DeletedJob> {
    let caller = call.caller().await?;
    let id = job.id("job")?;
    cancel::delete(call.app(), &caller, id).await?;
    Ok(DeletedJob { id })
}

async fn complete_upload(job: Segment, call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let done = draft::complete_upload(call.app(), &caller, job.id("job")?).await;
    Ok(done.map_err(renamed)?.into())
}

impl JobCursor {
    fn place(self) -> Place {
        Place(vec![Some(Operand::Number(self.created_us)), Some(Operand::Uuid(self.id))])
    }

    fn of(place: &Place) -> Option<Self> {
        match place.0[..] {
            [Some(Operand::Number(created_us)), Some(Operand::Uuid(id))] => {
                Some(Self { created_us, id })
            }
            _ => None,
        }
    }
}

impl fmt::Display for JobCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.created_us, self.id)
    }
}

impl FromStr for JobCursor {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (created_us, id) = text.split_once('_').ok_or(())?;
        let created_us = created_us.parse().map_err(drop)?;
        Ok(Self { created_us, id: Uuid::try_parse(id).map_err(drop)? })
    }
}
