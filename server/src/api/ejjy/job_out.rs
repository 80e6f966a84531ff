//! A job as it is shown.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::compute::container::Command;
use common::ids::{JobId, WorkspaceId};
use common::schedule::Schedule;
use serde::Serialize;
use utoipa::ToSchema;

use super::schedule::{ScheduleOut, Shown};
use crate::jobs::Job;

/// A job.
#[derive(Serialize, ToSchema)]
#[schema(as = EjjyJob)]
pub struct JobOut {
    #[schema(value_type = String)]
    id: JobId,
    /// The workspace's id.
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    /// The project of the path that it was made under.
    project_id: String,
    name: String,
    /// The container's image.
    image: String,
    /// The program with its arguments; null is the image's own.
    command: Option<Vec<String>>,
    /// Variables by their names.
    env: BTreeMap<String, String>,
    tags: Vec<String>,
    #[serde(flatten)]
    schedule: ScheduleOut,
    created_at: DateTime<Utc>,
    /// When it was last changed.
    updated_at: DateTime<Utc>,
}

impl JobOut {
    pub fn of(job: &Job, schedule: Option<&Schedule>) -> Self {
        let main = job.work.container().map(|work| &work.main);
        let command = main.and_then(|main| match &main.command {
            Command::Line(words) => Some(words.clone()),
            Command::Image | Command::PackageFile { .. } => None,
        });
        let env = main.iter().flat_map(|main| main.environment.pairs());
        Self {
            id: job.id,
            workspace_id: job.workspace,
            project_id: job.project.clone().unwrap_or_default(),
            name: job.shown_name().into_owned(),
            image: main.map(|main| main.image.name.clone()).unwrap_or_default(),
            command,
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            tags: job.tags.clone(),
            schedule: Shown(schedule).into(),
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }
}
