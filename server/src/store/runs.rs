//! Runs and their tasks, as the doors read them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::credits::Credits;
use common::digest::Digest;
use common::ids::{JobId, NodeId, RunId, WorkspaceId};
use common::run::RunState;
use common::task::{Lease, Stage};
use sea_orm::{ConnectionTrait, DbErr};

/// A run, without its spec.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    pub id: RunId,
    pub job: JobId,
    pub workspace: WorkspaceId,
    pub state: RunState,
    /// When each state was entered.
    pub times: BTreeMap<RunState, DateTime<Utc>>,
    /// `None` until the chunks are known.
    pub chunks: Option<u32>,
    pub chunks_done: u32,
    /// The exact sum of the prices of its accepted tasks.
    pub price: Credits,
    pub error: Option<String>,
}

/// A task that has been handed out at least once.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    pub lease: Lease,
    /// `leased`, `waiting`, `done` or `failed`.
    pub state: &'static str,
    pub node: Option<NodeId>,
    pub leased_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub price: Credits,
    pub error: Option<String>,
}

/// One file of a run's final output.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultView {
    pub name: String,
    pub size: u64,
    /// Its key in Fanfold's bucket; `None` where it was delivered elsewhere.
    pub key: Option<String>,
}

/// A line that a container or the server wrote about a task.
#[derive(Debug, Clone, PartialEq)]
pub struct LogView {
    pub stage: Stage,
    pub index: u32,
    pub attempt: u32,
    pub at: DateTime<Utc>,
    pub text: String,
}

/// An accepted result file of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputView {
    pub lease: Lease,
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

/// The run of a job of this workspace.
pub async fn find_by_job(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    job: JobId,
) -> Result<Option<RunView>, DbErr> {
    todo!()
}

/// The runs of these jobs, in no order.
pub async fn find_by_jobs(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    jobs: &[JobId],
) -> Result<Vec<RunView>, DbErr> {
    todo!()
}

/// A run's output files by name, or all where no limit is given.
pub async fn results(
    db: &impl ConnectionTrait,
    run: RunId,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<ResultView>, DbErr> {
    todo!()
}

/// A run's log lines in the order of stage, task and line; an empty `tasks` or `stages` means all.
pub async fn logs(
    db: &impl ConnectionTrait,
    run: RunId,
    stages: &[Stage],
    tasks: &[u32],
    limit: u64,
) -> Result<Vec<LogView>, DbErr> {
    todo!()
}

/// A stage's tasks that were handed out, by index.
pub async fn tasks(
    db: &impl ConnectionTrait,
    run: RunId,
    stage: Stage,
    after: Option<u32>,
    limit: u64,
) -> Result<Vec<TaskView>, DbErr> {
    todo!()
}

/// A page of the accepted outputs of a stage, in task order: those of up to `limit` tasks after
/// task `after`.
pub async fn outputs(
    db: &impl ConnectionTrait,
    run: RunId,
    stage: Stage,
    after: Option<u32>,
    limit: u64,
) -> Result<Vec<OutputView>, DbErr> {
    todo!()
}
