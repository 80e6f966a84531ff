//! From what use cases give to answers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::call::HeaderText;
use common::order::call::CallWork;
use common::run::RunState;
use common::schedule::{Schedule, ScheduleState, When};
use serde::Serialize;
use utoipa::ToSchema;

use super::ids;
use crate::error::{Error, Result};
use crate::jobs::RunView;
use crate::jobs::monitoring::call_attempts::{Answer, CallAttempt};
use crate::jobs::ordered::Ordered;

/// What stands for the value of a header that opens something.
pub const MASK: &str = "********";

/// A job can be active, paused, failed or completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = QuedUpJobStatus)]
pub enum JobStatus {
    Active,
    Paused,
    Failed,
    Completed,
}

impl JobStatus {
    pub const ALL: [(&'static str, Self); 4] = [
        ("active", Self::Active),
        ("paused", Self::Paused),
        ("failed", Self::Failed),
        ("completed", Self::Completed),
    ];

    fn of(job: &Ordered) -> Self {
        let schedule = job.schedule.as_ref().map(|schedule| schedule.state);
        match (schedule, job.run().map(|run| run.state)) {
            (Some(ScheduleState::Paused), _) => Self::Paused,
            (Some(ScheduleState::Active), _) => Self::Active,
            (_, None | Some(RunState::Succeeded)) => Self::Completed,
            (_, Some(RunState::Failed | RunState::Cancelled | RunState::Ending)) => Self::Failed,
            (_, Some(RunState::Scheduled | RunState::Accepted | RunState::Running)) => Self::Active,
        }
    }
}

/// A job.
#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpJob)]
pub struct JobOut {
    /// What is sent; empty where nothing is.
    body: String,
    /// Values that open something are masked.
    #[schema(value_type = Object)]
    headers: BTreeMap<String, String>,
    id: String,
    /// The HTTP method.
    method: &'static str,
    name: String,
    /// When it runs next; null where it is complete.
    next_run_at: Option<DateTime<Utc>>,
    /// The cron expression.
    schedule: Option<String>,
    pub status: JobStatus,
    url: String,
}

impl JobOut {
    pub fn of(job: &Ordered) -> Result<Self> {
        let CallWork { call, .. } = job.call().ok_or_else(|| missing(job))?;
        let status = JobStatus::of(job);
        Ok(Self {
            body: call.body.clone().unwrap_or_default(),
            headers: call.headers.iter().map(shown).collect(),
            id: ids::job(job.id()),
            method: call.method.as_str(),
            name: job.name().to_owned(),
            next_run_at: next_run_at(job, status),
            schedule: job.schedule.as_ref().and_then(cron),
            status,
            url: call.url.clone(),
        })
    }
}

impl JobOut {
    /// A job as it was created: active, however soon its call has been answered.
    pub fn created(job: &Ordered) -> Result<Self> {
        let status = JobStatus::Active;
        Ok(Self { status, next_run_at: next_run_at(job, status), ..Self::of(job)? })
    }
}

fn missing(job: &Ordered) -> Error {
    Error::not_found("job", &ids::job(job.id()))
}

/// The next time of its schedule; of a job that runs now, when it was to run.
fn next_run_at(job: &Ordered, status: JobStatus) -> Option<DateTime<Utc>> {
    if status != JobStatus::Active {
        return None;
    }
    let next = job.schedule.as_ref().and_then(|schedule| schedule.next);
    next.or_else(|| job.run().and_then(scheduled_for))
}

fn scheduled_for(run: &RunView) -> Option<DateTime<Utc>> {
    run.origin.nominal().or_else(|| run.started_at())
}

fn cron(schedule: &Schedule) -> Option<String> {
    match &schedule.rules.when {
        When::Cron(cron) => Some(cron.text().to_owned()),
        When::Once(_) | When::Every { .. } => None,
    }
}

fn shown((name, value): (&String, &HeaderText)) -> (String, String) {
    let text = match value {
        HeaderText::Text(text) if !is_masked(name) => text.clone(),
        HeaderText::Text(_) | HeaderText::Secret(_) => MASK.to_owned(),
    };
    (name.clone(), text)
}

/// Whether the value of this header opens something.
pub fn is_masked(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "authorization" | "cookie" | "x-api-key" | "x-auth-token")
}

/// One execution of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpRun)]
pub struct RunOut {
    id: String,
    /// The job that it is of.
    job_id: String,
    /// When it was due.
    scheduled_for: Option<DateTime<Utc>>,
    status: RunStatus,
    /// The first one first.
    attempts: Vec<AttemptOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = QuedUpRunStatus)]
enum RunStatus {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// One try of a run's request.
#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpAttempt)]
struct AttemptOut {
    /// From 1.
    number: u32,
    /// When its request was made.
    started_at: DateTime<Utc>,
    /// Null while it is under way.
    duration_ms: Option<u32>,
    /// Null where no answer came.
    response_status: Option<u16>,
    /// Those of the answer.
    #[schema(value_type = Object)]
    response_headers: BTreeMap<String, String>,
    /// The beginning of the answer's body.
    response_body: Option<String>,
    /// Whether the body goes on.
    response_body_truncated: bool,
    /// Why no answer came.
    error: Option<String>,
    /// When the next one is due.
    next_attempt_at: Option<DateTime<Utc>>,
}

impl RunOut {
    pub fn of(run: &RunView, attempts: Vec<CallAttempt>) -> Self {
        Self {
            id: ids::run(run.id),
            job_id: ids::job(run.job),
            scheduled_for: scheduled_for(run),
            status: match run.state {
                RunState::Scheduled | RunState::Accepted => RunStatus::Pending,
                RunState::Running | RunState::Ending => RunStatus::Running,
                RunState::Succeeded => RunStatus::Completed,
                RunState::Failed => RunStatus::Failed,
                RunState::Cancelled => RunStatus::Cancelled,
            },
            attempts: attempts.into_iter().map(AttemptOut::from).collect(),
        }
    }
}

impl From<CallAttempt> for AttemptOut {
    fn from(CallAttempt { lease, began_at, answer, next_at }: CallAttempt) -> Self {
        let is_over = answer.is_some();
        let Answer { status, headers, body, truncated, took_ms, error, .. } =
            answer.unwrap_or_default();
        Self {
            number: lease.attempt,
            started_at: began_at,
            duration_ms: is_over.then_some(took_ms),
            response_status: status,
            response_headers: headers.into_iter().collect(),
            response_body: status.map(|_| String::from_utf8_lossy(&body).into_owned()),
            response_body_truncated: truncated,
            error,
            next_attempt_at: next_at,
        }
    }
}
