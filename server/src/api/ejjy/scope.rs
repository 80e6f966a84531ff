//! What a path says before a job: the workspace, which is the caller's own, and the project.

use common::ids::{JobId, RunId, WorkspaceId};

use super::API;
use crate::api::http::call::Call;
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::Job;
use crate::jobs::containers::{self, PROJECT_CHARS_MAX};
use crate::jobs::monitoring::status::{self, JobStatus};
use crate::people::caller::Caller;

/// The beginning of every path.
pub const PATH: &str = "/workspaces/{workspace}/projects/{project}";

/// Who asks, and in which project.
pub struct Scope {
    pub caller: Caller,
    pub project: String,
}

impl Scope {
    /// Reads the first two segments of a call's path.
    ///
    /// # Errors
    /// `NotFound` for a workspace that is not the caller's.
    pub async fn of(call: &mut Call) -> Result<Self> {
        let caller = call.caller().await?;
        Self::within(caller, call)
    }

    /// The same, where who calls is known.
    pub fn within(caller: Caller, call: &mut Call) -> Result<Self> {
        let workspace = call.segment();
        let id: WorkspaceId = workspace.id("workspace")?;
        if id != caller.workspace {
            return Err(Error::not_found("workspace", &workspace.0));
        }
        let project = call.segment().0;
        if project.chars().count() > PROJECT_CHARS_MAX {
            return Err(Error::not_found("project", &project));
        }
        Ok(Self { caller, project })
    }

    /// The job that the next segment of the path names.
    pub async fn job(&self, call: &mut Call) -> Result<JobStatus> {
        let id: JobId = call.segment().id("job")?;
        self.read_job(call.app(), id).await
    }

    pub async fn read_job(&self, app: &App, id: JobId) -> Result<JobStatus> {
        let found = status::read(app, &self.caller, id).await?;
        if self.has(&found.job) {
            return Ok(found);
        }
        Err(Error::not_found("job", &id.to_string()))
    }

    /// The run that the next two segments of the path name: of a job, and itself.
    pub async fn run(&self, call: &mut Call) -> Result<JobStatus> {
        let job = self.job(call).await?.job.id;
        let id: RunId = call.segment().id("run")?;
        self.read_run(call.app(), job, id).await
    }

    pub async fn read_run(&self, app: &App, job: JobId, id: RunId) -> Result<JobStatus> {
        let found = status::read(app, &self.caller, id).await?;
        if found.job.id == job {
            return Ok(found);
        }
        Err(Error::not_found("run", &id.to_string()))
    }

    fn has(&self, job: &Job) -> bool {
        containers::is_of_project(job, &API, &self.project)
    }
}
