//! Jobs and their runs as they are shown.

use chrono::{DateTime, Utc};
use common::ids::{JobId, RunId};
use serde::Serialize;
use utoipa::ToSchema;

use super::words::State;
use crate::app::App;
use crate::error::Result;
use crate::jobs::RunView;
use crate::jobs::containers::{self, MainContainer};
use crate::jobs::monitoring::status::JobStatus;
use crate::jobs::queues;
use crate::people::caller::Caller;

/// A job.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroJob)]
pub struct JobOut {
    #[schema(value_type = String)]
    pub id: JobId,
    name: String,
    pub state: State,
    /// Why it ended without success.
    system_note: Option<String>,
    schedule_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: Option<DateTime<Utc>>,
}

/// One run of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroJobRun)]
pub struct RunOut {
    #[schema(value_type = String)]
    id: RunId,
    #[schema(value_type = String)]
    job_id: JobId,
    state: State,
    /// Why it ended without success.
    system_note: Option<String>,
    created_at: Option<DateTime<Utc>>,
    /// When its container began to run.
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    /// The exit code of its container.
    exit_code: Option<i64>,
}

impl JobOut {
    /// A job with its latest run.
    pub async fn of(app: &App, caller: &Caller, status: &JobStatus) -> Result<Self> {
        let (job, run) = (&status.job, status.run.as_ref());
        let main = match run {
            Some(run) => containers::main_containers(app, &[run]).await?.pop().unwrap_or_default(),
            None => MainContainer::default(),
        };
        let state = State::of(run, main, is_open(app, caller, status).await?);
        let changed = run.and_then(|run| run.times.states.values().max().copied());
        Ok(Self {
            id: job.id,
            name: job.name.clone(),
            state,
            system_note: note(run, state),
            schedule_at: job.start_at,
            created_at: job.created_at,
            updated_at: changed.or(Some(job.updated_at)),
        })
    }
}

/// Whether the queue of a job hands out.
async fn is_open(app: &App, caller: &Caller, status: &JobStatus) -> Result<bool> {
    let Some(id) = status.job.queue else { return Ok(true) };
    let queue = queues::find(app, caller, id).await?;
    Ok(queue.is_some_and(|queue| queue.rules.is_enabled && !queue.rules.is_paused))
}

impl RunOut {
    /// Runs of a job, in their order.
    pub async fn all(app: &App, caller: &Caller, statuses: &[JobStatus]) -> Result<Vec<Self>> {
        let runs: Vec<&RunView> =
            statuses.iter().filter_map(|status| status.run.as_ref()).collect();
        let mains = containers::main_containers(app, &runs).await?;
        let is_open = match statuses.first() {
            Some(first) => is_open(app, caller, first).await?,
            None => true,
        };
        let each = |(run, main): (&&RunView, MainContainer)| {
            let state = State::of(Some(run), main, is_open);
            Self {
                id: run.id,
                job_id: run.job,
                state,
                system_note: note(Some(run), state),
                created_at: run.started_at(),
                started_at: main.running_at,
                finished_at: run.times.ended(run.state).filter(|_| state.is_terminal()),
                exit_code: main.exit_code,
            }
        };
        Ok(runs.iter().zip(mains).map(each).collect())
    }
}

fn note(run: Option<&RunView>, state: State) -> Option<String> {
    let is_told = match state {
        State::Timeout | State::Failed | State::Error => true,
        State::Submitted
        | State::Pending
        | State::Runnable
        | State::Starting
        | State::Running
        | State::Cancelling
        | State::Cancelled
        | State::Completed => false,
    };
    run.filter(|_| is_told).and_then(RunView::error).map(str::to_owned)
}
