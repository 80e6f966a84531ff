//! Queues of runs: made, listed, read, changed and removed, and what waits in them.

mod definitions;
mod named;
mod pools;

use chrono::{DateTime, Utc};
use common::ids::{PoolId, QueueId, RunId};
use common::package::loose::Loose;
use common::run::queue::{QueueStop, Rank};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{self, PAGE};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, patch, post};
use crate::api::http::shape::{Field, flag, integer, texts};
use crate::error::{Error, Result};
use crate::jobs::queues::{
    self, ChangedQueue, MAX_RUNNING_MAX, NewQueue, POOLS_MAX, Queue, QueueView, TIMEOUT_SECS_MAX,
};

pub fn routes() -> Vec<Route> {
    let own = vec![
        get("Fanfold_ListQueues", "/queues", list)
            .summary("Lists queues, in the order in which they were created")
            .query(PAGE.to_vec()),
        post("Fanfold_CreateQueue", "/queues", create)
            .summary("Creates a queue of runs")
            .body([&named::FIELDS[..], &RULES[..]].concat())
            .fails(&[(409, "Another queue of the project has this name")]),
        get("Fanfold_GetQueue", "/queues/{queue}", read).summary("Gets a queue"),
        patch("Fanfold_ChangeQueue", "/queues/{queue}", change)
            .summary("Changes a queue; what is left out stays as it is")
            .body([&[named::DESCRIPTION, PAUSED][..], &RULES[..]].concat()),
        delete("Fanfold_DeleteQueue", "/queues/{queue}", remove)
            .summary("Deletes a queue whose runs have ended"),
        get("Fanfold_GetQueueSnapshot", "/queues/{queue}/snapshot", snapshot)
            .summary("Gets what runs and waits in a queue now, in the order of service"),
        get("Fanfold_GetQueuePosition", "/runs/{run}/position", position)
            .summary("Gets how many runs of its queue are served before a run"),
    ];
    own.into_iter().chain(pools::routes()).chain(definitions::routes()).collect()
}

const PAUSED: Field = flag("paused", "Whether it takes runs and hands out nothing");

const RULES: [Field; 5] = [
    integer("rank", "1 to 1000, the lower one is served first; 500 where it is left out"),
    integer("max_running", "Tasks that nodes may hold at once; 0, or left out, is no limit"),
    flag("enabled", "A queue that is not takes no runs and hands out nothing; true if left out"),
    integer("timeout_secs", "A run that has not begun by then fails; 0, or left out, is no limit"),
    texts(
        "pools",
        "Ids of pools: tasks go to nodes of any of these, or of all where none is given",
    ),
];

#[derive(Serialize, ToSchema)]
struct QueueList {
    /// In the order in which they were created.
    queues: Vec<QueueOut>,
    next_cursor: Option<String>,
}

/// A queue of runs.
#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
struct QueueOut {
    #[schema(value_type = String)]
    id: QueueId,
    /// The project that it belongs to, where it was given one.
    project: Option<String>,
    /// Unique in its project.
    name: String,
    description: String,
    /// The lower one is served first.
    rank: u16,
    /// Tasks that nodes may hold at once; 0 is no limit.
    max_running: u32,
    /// Whether it takes runs and hands out their tasks.
    enabled: bool,
    /// Whether it takes runs and hands out nothing.
    paused: bool,
    /// A run that has not begun by then fails.
    timeout_secs: Option<u32>,
    /// The pools whose nodes its tasks go to; all nodes where there are none.
    #[schema(value_type = Vec<String>)]
    pools: Vec<PoolId>,
    created_at: DateTime<Utc>,
    /// When it was changed last, or created.
    updated_at: DateTime<Utc>,
}

/// A queue at one moment.
#[derive(Serialize, ToSchema)]
struct QueueSnapshot {
    /// The queue.
    #[schema(value_type = String)]
    queue: QueueId,
    /// Runs that have not ended.
    runs: usize,
    /// Tasks that nodes hold.
    tasks_running: u32,
    /// Tasks that could be handed out, of the first 10,000 stages that wait.
    tasks_waiting: u64,
    /// Why it hands out nothing; null where it does.
    stopped_by: Option<StoppedBy>,
    /// The first 100 runs that wait for a node, the next one first.
    #[schema(value_type = Vec<String>)]
    waiting: Vec<RunId>,
}

/// Why a queue hands out nothing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StoppedBy {
    Disabled,
    Paused,
    Full,
}

/// Where a run stands in its queue.
#[derive(Serialize, ToSchema)]
struct QueuePosition {
    #[schema(value_type = String)]
    run: RunId,
    /// The runs that are served before it; null where it does not wait among the first 10,000.
    position: Option<usize>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedQueue {
    #[schema(value_type = String)]
    id: QueueId,
}

async fn list(call: Call) -> Result<QueueList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (page::limit(&query)?, page::cursor::<QueueId>(&query)?);
    let found = queues::list(call.app(), &caller, after, limit).await?;
    let next_cursor = page::next(&found, limit, |queue| queue.id);
    Ok(QueueList { queues: found.into_iter().map(QueueOut::from).collect(), next_cursor })
}

async fn create(mut call: Call) -> Result<QueueOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let named = named::read(&mut body)?;
    let rules = read_rules(&mut body)?;
    body.finish()?;
    let new = NewQueue {
        project: named.project,
        name: named.name,
        description: named.description,
        rank: rules.rank.unwrap_or(Rank::MIDDLE),
        max_running: rules.max_running.unwrap_or(0),
        is_enabled: rules.is_enabled.unwrap_or(true),
        timeout_secs: rules.timeout_secs,
        idle_secs: None,
        pools: rules.pools.unwrap_or_default(),
    };
    Ok(queues::create(call.app(), &caller, new).await?.into())
}

async fn read(queue: Segment, call: Call) -> Result<QueueOut> {
    let caller = call.caller().await?;
    Ok(queues::read(call.app(), &caller, queue.id("queue")?).await?.into())
}

async fn change(queue: Segment, mut call: Call) -> Result<QueueOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let changed = ChangedQueue {
        description: named::description(&mut body)?,
        is_paused: body.flag("paused")?,
        ..read_rules(&mut body)?
    };
    body.finish()?;
    Ok(queues::change(call.app(), &caller, queue.id("queue")?, changed).await?.into())
}

async fn remove(queue: Segment, call: Call) -> Result<DeletedQueue> {
    let caller = call.caller().await?;
    let id = queue.id("queue")?;
    queues::remove(call.app(), &caller, id).await?;
    Ok(DeletedQueue { id })
}

async fn snapshot(queue: Segment, call: Call) -> Result<QueueSnapshot> {
    let caller = call.caller().await?;
    let queue = queues::read(call.app(), &caller, queue.id("queue")?).await?;
    let view = queues::view(call.app(), &queue).await?;
    let QueueView { runs, tasks_running, tasks_waiting, stop, first: waiting } = view;
    let stopped_by = stop.map(StoppedBy::from);
    Ok(QueueSnapshot { queue: queue.id, runs, tasks_running, tasks_waiting, stopped_by, waiting })
}

async fn position(run: Segment, call: Call) -> Result<QueuePosition> {
    let caller = call.caller().await?;
    let id = run.id::<RunId>("run")?;
    let (run, position) = queues::position(call.app(), &caller, id).await?;
    Ok(QueuePosition { run, position })
}

fn read_rules(body: &mut Loose) -> Result<ChangedQueue> {
    let range = u64::from(Rank::FIRST.number())..=u64::from(Rank::LAST.number());
    let rank = body.number("rank", range)?.and_then(|rank| u16::try_from(rank).ok());
    let has_pools = body.has("pools");
    let field = body.name("pools");
    let pools = body.texts("pools", POOLS_MAX)?;
    let pools = pools.iter().map(|id| id.parse::<PoolId>()).collect::<std::result::Result<_, _>>();
    let pools: Vec<PoolId> = pools.map_err(|bad| Error::field(field, bad.to_string()))?;
    Ok(ChangedQueue {
        rank: rank.and_then(Rank::new),
        max_running: body.small("max_running", MAX_RUNNING_MAX)?,
        is_enabled: body.flag("enabled")?,
        timeout_secs: body.small("timeout_secs", TIMEOUT_SECS_MAX)?,
        pools: has_pools.then_some(pools),
        ..ChangedQueue::default()
    })
}

impl From<Queue> for QueueOut {
    fn from(queue: Queue) -> Self {
        Self {
            id: queue.id,
            project: Some(queue.project).filter(|name| !name.is_empty()),
            name: queue.name.to_string(),
            description: queue.description,
            rank: queue.rules.rank.number(),
            max_running: queue.rules.max_running,
            enabled: queue.rules.is_enabled,
            paused: queue.rules.is_paused,
            timeout_secs: queue.timeout_secs,
            pools: queue.pools,
            created_at: queue.created_at,
            updated_at: queue.updated_at,
        }
    }
}

impl From<QueueStop> for StoppedBy {
    fn from(stop: QueueStop) -> Self {
        match stop {
            QueueStop::Disabled => Self::Disabled,
            QueueStop::Paused => Self::Paused,
            QueueStop::Full(_) => Self::Full,
        }
    }
}
