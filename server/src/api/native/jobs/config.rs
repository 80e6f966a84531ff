//! A job's config: when it stops trying.

use common::package::config::{JobConfig, RETRIES_MAX, TIMEOUT_SECS_MAX};
use common::package::loose::{Invalid, Loose};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::shape::{Shape, flag, integer};

/// What a job, its start and a template say of when it stops trying.
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

/// When a job stops trying; what is not set is null.
#[derive(Serialize, ToSchema)]
#[schema(as = Config)]
pub struct ConfigOut {
    /// Seconds; 0 is the server's default.
    task_timeout: Option<u32>,
    /// Seconds; 0 means no limit.
    job_timeout: Option<u32>,
    /// Works on the first two chunks only.
    is_test_job: Option<bool>,
    /// Further tries of a task that failed.
    max_task_retries: Option<u32>,
    /// A task that gives no results has failed and is not paid.
    require_results: Option<bool>,
    /// Whether the same input always gives the same results.
    deterministic: Option<bool>,
}

/// The config in a body.
pub fn read(body: &mut Loose) -> Result<Option<JobConfig>, Invalid> {
    let Some(mut fields) = body.object("config")? else { return Ok(None) };
    let config = JobConfig {
        task_timeout_secs: fields.small("task_timeout", TIMEOUT_SECS_MAX)?,
        job_timeout_secs: fields.small("job_timeout", TIMEOUT_SECS_MAX)?,
        is_test: fields.flag("is_test_job")?,
        task_retries: fields.small("max_task_retries", RETRIES_MAX)?,
        require_results: fields.flag("require_results")?,
        deterministic: fields.flag("deterministic")?,
    };
    fields.finish()?;
    Ok(Some(config))
}

impl From<JobConfig> for ConfigOut {
    fn from(config: JobConfig) -> Self {
        Self {
            task_timeout: config.task_timeout_secs,
            job_timeout: config.job_timeout_secs,
            is_test_job: config.is_test,
            max_task_retries: config.task_retries,
            require_results: config.require_results,
            deterministic: config.deterministic,
        }
    }
}
