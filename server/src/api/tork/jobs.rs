//! Jobs: submitted, listed, read, cancelled and restarted, and their tasks.

use std::time::Duration;

use common::order::workflow::AUTO_DELETE_SECS_MAX;
use common::run::RunState;
use tokio::time::Instant;
use warp::http::header::CONTENT_TYPE;
use warp::http::{Method, StatusCode};

use super::API;
use super::answers::{self, Done, JSON, PAGE, Page, WORDS, missing, not_now};
use super::compile::{self, Compiled, Queues};
use super::document::{Job, list as items, text};
use super::read::{self, Kind};
use super::search::Search;
use super::shown::blocks;
use super::shown::job_out::{Full, Summary};
use super::shown::redact::Redactor;
use super::shown::task_out::{TaskOut, TasksOf};
use super::shown::words::JobState;
use super::{figures, ids, validate};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::reply;
use crate::api::http::route::{Body, Route, get, put, raw};
use crate::app::App;
use crate::error::Result;
use crate::jobs::containers::Terms;
use crate::jobs::monitoring::status::JobState as State;
use crate::jobs::monitoring::wait;
use crate::jobs::ordered::Start;
use crate::jobs::plans::list::{self, Query};
use crate::jobs::plans::{self, NewPlan, PlanRun, executions};
use crate::jobs::queues;
use crate::people::caller::Caller;

/// The most bytes of a document.
const DOCUMENT_BYTES_MAX: u64 = 500 * 1024;
const SIZE: u64 = 10;
const SIZE_MAX: u64 = 20;
/// The longest wait for a job's end.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::POST, "Tork_CreateJob", "/jobs", JSON, create)
            .gives::<Summary>()
            .summary(
                "Submits a job, in YAML or JSON; with `wait` it answers when the job has ended",
            )
            .takes(Body::Bytes("A job's document"))
            .fails(&[(408, "The job goes on after the time of its `wait`")]),
        get("Tork_ListJobs", "/jobs", list_jobs)
            .summary("Lists jobs, the newest first")
            .query([&PAGE[..], &[WORDS]].concat())
            .any_query(),
        get("Tork_GetJob", "/jobs/{job}", read_job)
            .summary("Gets a job with its tasks and what became of them"),
        put("Tork_CancelJob", "/jobs/{job}/cancel", cancel).summary("Cancels a job that goes on"),
        put("Tork_RestartJob", "/jobs/{job}/restart", restart)
            .summary("Goes on with a job that failed or was cancelled, from that task"),
        get("Tork_GetTask", "/tasks/{task}", read_task).summary("Gets a task"),
    ]
}

/// A document, read and checked.
pub async fn document(call: &mut Call, kind: Kind) -> Result<Job> {
    let bytes = call.bytes(DOCUMENT_BYTES_MAX).await?;
    let content_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let job = read::read(kind, content_type, &bytes)?;
    validate::check(kind, &job)?;
    Ok(job)
}

/// What is made of a document. Queues that it names are made where they are not there.
pub async fn new_plan(app: &App, caller: &Caller, job: &Job) -> Result<NewPlan> {
    let id = plans::new_id();
    let mut queues = Queues::new();
    let default = queues::read_named(app, caller, "", compile::QUEUE).await?;
    queues.extend(default.map(|queue| (queue.name, queue.id)));
    for name in compile::compile(id, job, &queues)?.unknown_queues {
        let queue = queues::named_or_new(app, caller, name).await?;
        queues.insert(queue.name, queue.id);
    }
    let Compiled { work, secrets, priority, callbacks, .. } = compile::compile(id, job, &queues)?;
    let terms = Terms {
        priority: Some(priority),
        callbacks: Some(callbacks),
        name: job.name.clone(),
        description: job.description.clone(),
        tags: Some(items(job.tags.as_ref()).to_vec()),
        auto_delete_secs: auto_delete_secs(job),
        ..Terms::default()
    };
    Ok(NewPlan { id, api: API, work, secrets, terms })
}

/// How long after its end the job is deleted, in seconds; parts of one count as a whole one.
fn auto_delete_secs(job: &Job) -> Option<u32> {
    let after = figures::duration(text(job.auto_delete.as_ref()?.after.as_ref()))?;
    let secs = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    Some(u32::try_from(secs).unwrap_or(u32::MAX).clamp(1, AUTO_DELETE_SECS_MAX))
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let job = document(&mut call, Kind::Job).await?;
    let app = call.app();
    let new = new_plan(app, &caller, &job).await?;
    let id = new.id;
    plans::order(app, &caller, new, Start::Now).await?;
    let Some(timeout) = &job.wait else {
        let made = find(&call, &caller, &ids::write(id.uuid())).await?;
        return reply::json(&Summary::of(&made, 0, &redactor(&call, &made).await?));
    };
    let timeout = figures::duration(text(timeout.timeout.as_ref())).unwrap_or_default();
    let until = Instant::now() + timeout.min(WAIT_MAX);
    let _permit = call.state().permits.waits.try_take(caller.workspace)?;
    let enough = |state: State| state.has_ended() || is_cancelled(state);
    let ended = wait::wait(app, &caller, id, enough, until).await?;
    if !enough(ended.state()) {
        return answers::refused(StatusCode::REQUEST_TIMEOUT, "the job goes on: it takes longer");
    }
    let made = find(&call, &caller, &ids::write(id.uuid())).await?;
    reply::json(&full(&call, &made).await?)
}

fn is_cancelled(state: State) -> bool {
    state.run.is_some_and(|run| JobState::from(run) == JobState::Cancelled)
}

async fn list_jobs(call: Call) -> Result<Page<Summary>> {
    let caller = call.caller().await?;
    let part = answers::part(&call, SIZE, SIZE_MAX)?;
    let search = Search::read(&answers::query(&call, "q").unwrap_or_default());
    let _permit = call.answer_permit(&caller).await;
    let matches = |state: RunState, name: &str, description: &str| {
        search.matches(&[JobState::from(state).as_str(), name, description])
    };
    let query = Query {
        api: &API,
        tags: search.tags.clone(),
        matches: if search.has_words() { Some(&matches) } else { None },
        skipped: part.skipped(),
        limit: part.size,
    };
    let found = list::list(call.app(), &caller, query).await?;
    let hidden = plans::hidden_values_of(call.app(), &caller, &found.items).await?;
    let redactor = Redactor::new(hidden);
    let items = found.items.iter().map(|(run, ended)| Summary::of(run, *ended, &redactor));
    Ok(part.page(items.collect(), found.total))
}

/// The job of this id.
pub async fn find(call: &Call, caller: &Caller, id: &str) -> Result<PlanRun> {
    let missing = || missing("job");
    let id = ids::read(id).ok_or_else(missing)?;
    plans::find(call.app(), caller, &API, id).await?.ok_or_else(missing)
}

/// What hides the secrets of a job.
pub async fn redactor(call: &Call, of: &PlanRun) -> Result<Redactor> {
    Ok(Redactor::new(plans::hidden_values(call.app(), &of.job).await?))
}

async fn full(call: &Call, of: &PlanRun) -> Result<Full> {
    let executions = executions::read(call.app(), &of.run).await?;
    Ok(Full::of(of, &executions, &redactor(call, of).await?))
}

async fn read_job(job: Segment, call: Call) -> Result<Full> {
    let caller = call.caller().await?;
    let found = find(&call, &caller, job.as_str()).await?;
    let _permit = call.answer_permit(&caller).await;
    full(&call, &found).await
}

async fn cancel(job: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let found = find(&call, &caller, job.as_str()).await?;
    if plans::cancel(call.app(), &found).await? {
        Ok(Done::OK)
    } else {
        Err(not_now("job in not running"))
    }
}

async fn restart(job: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let found = find(&call, &caller, job.as_str()).await?;
    let state = JobState::from(found.run.state);
    if !matches!(state, JobState::Failed | JobState::Cancelled) {
        return Err(not_now(format!("job is {} and can not be restarted", state.as_str())));
    }
    if found.part.is_some() {
        return Err(not_now("sub-job can not be restarted: restart the job that it is a part of"));
    }
    if found.schedule.is_some() && found.has_unusable_plan() {
        let why =
            "its plan could not be followed: the next job of its schedule begins from the start";
        return Err(not_now(format!("job can not be restarted: {why}")));
    }
    plans::restart(call.app(), &caller, &found).await?;
    Ok(Done::OK)
}

async fn read_task(task: Segment, call: Call) -> Result<TaskOut> {
    let caller = call.caller().await?;
    let missing = || missing("task");
    let id = ids::read(task.as_str()).ok_or_else(missing)?;
    let run = plans::find_by_task(call.app(), &caller, &API, id).await?.ok_or_else(missing)?;
    let executions = executions::read(call.app(), &run.run).await?;
    let (document, redactor) = (blocks::document(&run), redactor(&call, &run).await?);
    let tasks = blocks::tasks(document);
    let shown = TasksOf { run: &run, executions: &executions, tasks: &tasks, redactor: &redactor };
    let found = executions.items.iter().find(|execution| execution.id == id);
    found.and_then(|execution| shown.task(execution)).ok_or_else(missing)
}
