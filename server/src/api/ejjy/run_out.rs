//! A run as it is shown.

use chrono::{DateTime, Utc};
use common::ids::{JobId, RunId};
use serde::Serialize;
use utoipa::ToSchema;

use super::words::{Status, Trigger};
use crate::app::App;
use crate::error::Result;
use crate::jobs::RunView;
use crate::jobs::containers::{self, MainContainer};

/// One execution of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = EjjyRun)]
pub struct RunOut {
    #[schema(value_type = String)]
    pub id: RunId,
    /// The job's id.
    #[schema(value_type = String)]
    job_id: JobId,
    /// What started it.
    trigger: Trigger,
    /// The time that the schedule names for it.
    scheduled_for: Option<DateTime<Utc>>,
    pub status: Status,
    tags: Vec<String>,
    created_at: Option<DateTime<Utc>>,
    /// When its container began to run.
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
    /// Milliseconds from its start to its end.
    duration_ms: Option<i64>,
    /// The exit code of its container.
    exit_code: Option<i64>,
    /// Why it failed.
    error: Option<String>,
}

impl RunOut {
    /// These runs of jobs with these tags, in their order.
    pub async fn all(app: &App, runs: &[&RunView], tags: &[String]) -> Result<Vec<Self>> {
        let mains = containers::main_containers(app, runs).await?;
        Ok(runs.iter().zip(mains).map(|(run, main)| Self::of(run, main, tags)).collect())
    }

    /// One run.
    pub async fn one(app: &App, run: &RunView, tags: &[String]) -> Result<Self> {
        let main = containers::main_containers(app, &[run]).await?;
        Ok(Self::of(run, main.into_iter().next().unwrap_or_default(), tags))
    }

    fn of(run: &RunView, main: MainContainer, tags: &[String]) -> Self {
        let status = Status::of(run, main);
        let finished_at = run.times.ended(run.state).filter(|_| status.is_terminal());
        let ran = main.running_at.zip(finished_at);
        let error = run.error().filter(|_| status == Status::Failed);
        Self {
            id: run.id,
            job_id: run.job,
            trigger: run.origin.into(),
            scheduled_for: run.origin.nominal(),
            status,
            tags: tags.to_vec(),
            created_at: run.started_at(),
            started_at: main.running_at,
            finished_at,
            duration_ms: ran.map(|(from, until)| (until - from).num_milliseconds().max(0)),
            exit_code: main.exit_code,
            error: error.map(str::to_owned),
        }
    }
}
