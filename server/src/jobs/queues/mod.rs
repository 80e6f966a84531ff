//! Named queues of a workspace: made, read, changed and removed, and what waits in them.

pub mod definitions;
pub mod pools;
pub mod submit;

use common::ids::{PoolId, QueueId, RunId, WorkspaceId};
use common::market::OutsideQueues;
use common::run::queue::{InQueue, Label, QueueRules, Rank};
use uuid::Uuid;

use super::Job;
use super::monitoring::status::{self, RunName};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::{pools as stored_pools, queues};

pub use crate::coordinator::QueueView;
use crate::coordinator::QueueViews;
pub use crate::store::queues::Queue;

/// The most queues, and the most pools, of a workspace.
const QUEUES_MAX: u64 = 200;
/// The most pools of one queue.
pub const POOLS_MAX: usize = 16;
pub const DESCRIPTION_CHARS_MAX: usize = 1024;
/// A queue's time for its runs to begin, at the most.
pub const TIMEOUT_SECS_MAX: u32 = 30 * 24 * 3600;
/// The longest time that a node without work is kept for a queue.
pub const IDLE_SECS_MAX: u32 = 30 * 24 * 3600;
pub const MAX_RUNNING_MAX: u32 = 1_000_000;

/// What is said of a new queue.
#[derive(Debug, Clone)]
pub struct NewQueue {
    /// Empty for none.
    pub project: String,
    pub name: Label,
    pub description: String,
    pub rank: Rank,
    /// 0 is no limit.
    pub max_running: u32,
    pub is_enabled: bool,
    pub timeout_secs: Option<u32>,
    pub idle_secs: Option<u32>,
    pub pools: Vec<PoolId>,
}

/// What is said of a queue that is changed. What is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ChangedQueue {
    pub description: Option<String>,
    pub rank: Option<Rank>,
    pub max_running: Option<u32>,
    pub is_enabled: Option<bool>,
    pub is_paused: Option<bool>,
    /// 0 is no limit.
    pub timeout_secs: Option<u32>,
    pub idle_secs: Option<u32>,
    pub pools: Option<Vec<PoolId>>,
}

/// Makes a queue.
///
/// # Errors
/// `QUEUE_NAME_TAKEN` where the project has one of this name.
pub async fn create(app: &App, caller: &Caller, new: NewQueue) -> Result<Queue> {
    check_pools(app, caller, &new.pools).await?;
    if queues::count(&app.db, caller.workspace).await? >= QUEUES_MAX {
        return Err(full("queues"));
    }
    let now = clock::now();
    let queue = Queue {
        id: QueueId::new(Uuid::now_v7()),
        project: new.project,
        name: new.name,
        description: new.description,
        rules: QueueRules {
            workspace: caller.workspace,
            rank: new.rank,
            max_running: new.max_running,
            is_enabled: new.is_enabled,
            is_paused: false,
        },
        timeout_secs: new.timeout_secs.filter(|secs| *secs > 0),
        idle_secs: new.idle_secs,
        pools: new.pools,
        created_at: now,
        updated_at: now,
    };
    check_name(app, &queue).await?;
    if let Err(error) = app.coordinator.add_queue(&queue).await {
        // Another create of the same name was faster.
        check_name(app, &queue).await?;
        return Err(error.into());
    }
    Ok(queue)
}

async fn check_name(app: &App, queue: &Queue) -> Result<()> {
    let owner = queue.rules.workspace;
    let other = queues::find_named(&app.db, owner, &queue.project, queue.name.as_str()).await?;
    match other.filter(|other| other.id != queue.id) {
        Some(_) => Err(Error::Blocked("QUEUE_NAME_TAKEN", name_taken("queue")).at("name")),
        None => Ok(()),
    }
}

/// The caller's queue of this id, where there is one.
pub async fn find(app: &App, caller: &Caller, id: QueueId) -> Result<Option<Queue>> {
    Ok(queues::find(&app.db, caller.workspace, id).await?)
}

/// The caller's queue of this id.
pub async fn read(app: &App, caller: &Caller, id: QueueId) -> Result<Queue> {
    let found = find(app, caller, id).await?;
    found.ok_or_else(|| Error::not_found("queue", &id.to_string()))
}

/// The caller's queue of this name in a project.
pub async fn read_named(
    app: &App,
    caller: &Caller,
    project: &str,
    name: &str,
) -> Result<Option<Queue>> {
    Ok(queues::find_named(&app.db, caller.workspace, project, name).await?)
}

/// The caller's queue of this name without a project. One that is not there is made, with no limit.
pub async fn named_or_new(app: &App, caller: &Caller, name: Label) -> Result<Queue> {
    if let Some(found) = read_named(app, caller, "", name.as_str()).await? {
        return Ok(found);
    }
    let new = NewQueue {
        project: String::new(),
        name: name.clone(),
        description: String::new(),
        rank: Rank::MIDDLE,
        max_running: 0,
        is_enabled: true,
        timeout_secs: None,
        idle_secs: None,
        pools: Vec::new(),
    };
    match create(app, caller, new).await {
        Ok(made) => Ok(made),
        // Another request may have made it meanwhile.
        Err(refused) => read_named(app, caller, "", name.as_str()).await?.ok_or(refused),
    }
}

/// The workspace's queues without a project, by their names, with what happens in them, and what
/// stands in no queue.
pub async fn views(app: &App, caller: &Caller) -> Result<(Vec<(Queue, QueueView)>, OutsideQueues)> {
    let mut all = queues::list(&app.db, caller.workspace, None, QUEUES_MAX).await?;
    all.retain(|queue| queue.project.is_empty());
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let ids = all.iter().map(|queue| queue.id).collect();
    let QueueViews { views, outside } = app.coordinator.queue_views(caller.workspace, ids).await?;
    // One may be removed meanwhile.
    let found = all.into_iter().zip(views).filter_map(|(queue, view)| Some((queue, view?)));
    Ok((found.collect(), outside))
}

/// At most `limit` queues after this one, in the order in which they were made.
pub async fn list(
    app: &App,
    caller: &Caller,
    after: Option<QueueId>,
    limit: u32,
) -> Result<Vec<Queue>> {
    Ok(queues::list(&app.db, caller.workspace, after, limit.into()).await?)
}

/// Changes a queue. Runs that have been started keep its time and its pools.
pub async fn change(
    app: &App,
    caller: &Caller,
    id: QueueId,
    changed: ChangedQueue,
) -> Result<Queue> {
    check_pools(app, caller, changed.pools.as_deref().unwrap_or_default()).await?;
    let queue = app.coordinator.change_queue(caller.workspace, id, |queue| changed.lay(queue));
    queue.await?.ok_or_else(|| Error::not_found("queue", &id.to_string()))
}

impl ChangedQueue {
    fn lay(self, queue: &mut Queue) {
        let Self { description, rank, max_running, is_enabled, is_paused, .. } = self;
        let rules = &mut queue.rules;
        rules.rank = rank.unwrap_or(rules.rank);
        rules.max_running = max_running.unwrap_or(rules.max_running);
        rules.is_enabled = is_enabled.unwrap_or(rules.is_enabled);
        rules.is_paused = is_paused.unwrap_or(rules.is_paused);
        if let Some(description) = description {
            queue.description = description;
        }
        if let Some(secs) = self.timeout_secs {
            queue.timeout_secs = Some(secs).filter(|secs| *secs > 0);
        }
        queue.idle_secs = self.idle_secs.or(queue.idle_secs);
        if let Some(pools) = self.pools {
            queue.pools = pools;
        }
        queue.updated_at = clock::now();
    }
}

/// Removes a queue that has no runs under way.
pub async fn remove(app: &App, caller: &Caller, id: QueueId) -> Result<()> {
    if app.coordinator.remove_queue(caller.workspace, id).await? {
        Ok(())
    } else {
        Err(Error::not_found("queue", &id.to_string()))
    }
}

/// What happens in a queue.
pub async fn view(app: &App, queue: &Queue) -> Result<QueueView> {
    let view = app.coordinator.queue_view(queue.id).await?;
    view.ok_or_else(|| Error::not_found("queue", &queue.id.to_string()))
}

/// How many runs of its queue are served before the latest run of a job, or the named one.
pub async fn position(
    app: &App,
    caller: &Caller,
    name: impl Into<RunName>,
) -> Result<(RunId, Option<usize>)> {
    let (job, run) = status::find(app, caller, name).await?;
    let run = run.ok_or_else(|| Error::not_found("run", &job.id.to_string()))?;
    Ok((run.id, app.coordinator.queue_position(run.id).await?))
}

/// The queue of a job's next run, with what is pinned of it.
///
/// # Errors
/// `NotNow` where it is disabled, or gone.
pub(super) async fn of_run(app: &App, job: &Job) -> Result<Option<InQueue>> {
    let Some(id) = job.queue else { return Ok(None) };
    pinned(app, job.workspace, id).await.map(Some)
}

/// A queue with what is pinned of it by a run that starts now.
///
/// # Errors
/// `NotNow` where it is disabled, or gone.
pub(super) async fn pinned(app: &App, owner: WorkspaceId, id: QueueId) -> Result<InQueue> {
    let queue = queues::find(&app.db, owner, id).await?;
    let gone = || Error::NotNow("the job's queue is not there any more: choose another".to_owned());
    let queue = queue.ok_or_else(gone)?;
    if !queue.rules.is_enabled {
        return Err(Error::NotNow(format!("the queue {} is disabled: enable it", queue.name)));
    }
    let pools = stored_pools::find_many(&app.db, owner, &queue.pools).await?;
    let pools = pools.into_iter().map(|pool| pool.nodes).collect();
    Ok(InQueue { id, timeout_secs: queue.timeout_secs, pools })
}

async fn check_pools(app: &App, caller: &Caller, ids: &[PoolId]) -> Result<()> {
    if ids.len() > POOLS_MAX {
        return Err(Error::field("pools", format!("must be at most {POOLS_MAX}")));
    }
    let found = stored_pools::find_many(&app.db, caller.workspace, ids).await?;
    match ids.iter().find(|id| !found.iter().any(|pool| pool.id == **id)) {
        Some(unknown) => Err(Error::field("pools", format!("there is no pool {unknown}"))),
        None => Ok(()),
    }
}

fn full(what: &str) -> Error {
    Error::NotNow(format!("a workspace has at most {QUEUES_MAX} {what}: delete some"))
}

fn name_taken(what: &str) -> String {
    format!("another {what} has this name: choose another one")
}
