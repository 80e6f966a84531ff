//! Jobs: submitted, read, cancelled, submitted again, and their runs.

use common::expression::Template;
use common::ids::JobId;
use warp::http::{Method, StatusCode};

use super::API;
use super::envelope::{self, Envelope, Id, JSON, Page};
use super::job_out::{JobOut, RunOut};
use super::names::{self, PAGE};
use super::submit_in::{self, FIELDS, SubmitIn};
use super::words::State;
use crate::api::Answer;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::integer;
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::jobs::monitoring::status::{self, JobStatus};
use crate::jobs::queues::submit::{self, Submission};
use crate::jobs::queues::{self, Queue, pools};
use crate::jobs::runs;
use crate::jobs::runs::cancel;
use crate::people::caller::Caller;

const PATH: &str = "/v1/client/job";
/// What a container is told of its run.
const RUN_ID: &str = "{{ run.id }}";

pub fn routes() -> Vec<Route> {
    let job = format!("{PATH}/{{job}}");
    vec![
        raw(Method::POST, "Daestro_SubmitJob", PATH, JSON, submit_job)
            .gives::<Envelope<Id>>()
            .creates()
            .succeeds_with(202)
            .summary("Submits a job of a definition to a queue")
            .body(FIELDS.to_vec()),
        raw(Method::GET, "Daestro_GetJob", job.clone(), JSON, read)
            .gives::<Envelope<JobOut>>()
            .summary("Gets a job"),
        raw(Method::POST, "Daestro_CancelJob", format!("{job}/cancel"), JSON, cancel_job)
            .gives::<Envelope<Cancelled>>()
            .succeeds_with(202)
            .summary("Cancels a job that is queued or running")
            .fails(&[(409, "The job has ended")]),
        raw(Method::POST, "Daestro_ResubmitJob", format!("{job}/resubmit"), JSON, resubmit)
            .gives::<Envelope<Id>>()
            .succeeds_with(202)
            .summary("Runs a job once more that is neither queued nor running"),
        raw(Method::GET, "Daestro_ListJobRuns", format!("{job}/runs"), JSON, list_runs)
            .gives::<Envelope<Page<RunOut>>>()
            .summary("Lists the runs of a job, the newest first")
            .query(vec![integer("limit", PAGE[0].about)]),
    ]
}

/// A job that is being cancelled.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = DaestroCancelledJob)]
struct Cancelled {
    #[schema(value_type = String)]
    id: JobId,
    state: State,
}

async fn submit_job(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let key = idempotency::key(&call, &bytes)?;
    let given = submit_in::read(call.object(&bytes)?)?;
    let app = call.app();
    let submission = submission(app, &caller, given).await?;
    let made = submit::submit(app, &caller, key.as_ref(), submission, tell).await?;
    envelope::answer(StatusCode::ACCEPTED, Id { id: made.job.id.to_string() })
}

/// What a container is told of its job.
pub fn tell(job: JobId) -> Vec<(String, String)> {
    vec![("DAESTRO_JOB_ID".to_owned(), job.to_string())]
}

/// What is made of a submission.
pub async fn submission(app: &App, caller: &Caller, given: SubmitIn) -> Result<Submission> {
    let found = submit::find_definition(app, caller, &given.definition).await;
    let definition = found.map_err(|refused| refused.about("job_definition"))?;
    let (project, name) = &given.queue;
    let queue = queues::read_named(app, caller, project, name).await?;
    let queue = queue.ok_or_else(|| Error::field("job_queue", "there is no such queue"))?;
    if !queue.rules.is_enabled {
        return Err(Error::field("job_queue", "this queue is disabled: enable it"));
    }
    let told = told(app, caller, &queue).await?;
    let run_id = Template::new(RUN_ID).expect("it is an expression");
    Ok(Submission {
        definition,
        queue,
        name: given.name,
        command: given.command,
        parameters: given.parameters,
        variables: given.variables,
        start_at: given.start_at,
        rules: None,
        api: Some(API),
        told,
        told_late: vec![("DAESTRO_JOB_RUN_ID".to_owned(), run_id)],
    })
}

/// What a container is told of where it runs, as far as that is known before it does.
async fn told(app: &App, caller: &Caller, queue: &Queue) -> Result<Vec<(String, String)>> {
    let mut told = vec![
        ("DAESTRO_JOB_QUEUE_NAME".to_owned(), queue.name.to_string()),
        ("DAESTRO_CLOUD_PROVIDER".to_owned(), "self-hosted".to_owned()),
    ];
    // Of several, a node may be in more than one.
    if let [pool] = queue.pools.as_slice() {
        let pool = pools::read(app, caller, *pool).await?;
        told.push(("DAESTRO_COMPUTE_ENV_NAME".to_owned(), pool.name.to_string()));
    }
    Ok(told)
}

/// The caller's job of this id, where it was submitted here.
pub async fn find(app: &App, caller: &Caller, segment: &Segment) -> Result<JobStatus> {
    let status = status::read(app, caller, segment.id::<JobId>("job")?).await?;
    match &status.job.api {
        Some(api) if *api == API => Ok(status),
        Some(_) | None => Err(Error::not_found("job", segment.as_str())),
    }
}

async fn read(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let status = find(call.app(), &caller, &job).await?;
    envelope::found(JobOut::of(call.app(), &caller, &status).await?)
}

async fn cancel_job(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let app = call.app();
    let found = find(app, &caller, &job).await?;
    let shown = JobOut::of(app, &caller, &found).await?;
    let conflict = |state: &str| {
        let why = format!("job is already {state} and cannot be cancelled");
        envelope::refused(StatusCode::CONFLICT, &why)
    };
    let answer = || {
        let cancelled = Cancelled { id: shown.id, state: State::Cancelling };
        envelope::answer(StatusCode::ACCEPTED, cancelled)
    };
    if shown.state == State::Cancelling {
        return answer();
    }
    if shown.state.is_terminal() {
        return conflict(shown.state.as_str());
    }
    match cancel::abort(app, &caller, shown.id).await {
        Ok(_) => answer(),
        // It has ended meanwhile.
        Err(refused) if refused.kind() == Kind::FailedPrecondition => conflict("ending"),
        Err(refused) => Err(refused),
    }
}

async fn resubmit(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let found = find(call.app(), &caller, &job).await?;
    let again = submit::submit_again(call.app(), &caller, found.job.id).await?;
    envelope::answer(StatusCode::ACCEPTED, Id { id: again.job.id.to_string() })
}

async fn list_runs(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let limit = names::limit(&call.query()?)?;
    let (app, _permit) = (call.app(), call.answer_permit(&caller).await);
    let id = find(app, &caller, &job).await?.job.id;
    let found = runs::list(app, &caller, id, None, limit).await?;
    let items = RunOut::all(app, &caller, &found).await?;
    envelope::found(Page { items, next_cursor: None })
}
