//! Job queues: made disabled, listed, read, changed, enabled, disabled and deleted.

use chrono::{DateTime, Utc};
use common::ids::{PoolId, QueueId};
use common::package::loose::Loose;
use common::run::queue::Rank;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::envelope::{self, Envelope, Id, JSON, Page};
use super::names::{self, NAMES, PAGE};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, integer, text, texts};
use crate::error::{Error, Result};
use crate::jobs::queues::{
    self, ChangedQueue, DESCRIPTION_CHARS_MAX, IDLE_SECS_MAX, MAX_RUNNING_MAX, NewQueue, POOLS_MAX,
    Queue,
};

const PATH: &str = "/v1/client/job-queue";
/// The priority of a queue that is given none.
const PRIORITY: u16 = 500;

pub fn routes() -> Vec<Route> {
    let one = format!("{PATH}/{{queue}}");
    vec![
        raw(Method::POST, "Daestro_CreateQueue", PATH, JSON, create)
            .gives::<Envelope<QueueOut>>()
            .succeeds_with(201)
            .summary("Creates a job queue, which is disabled until it is enabled")
            .body([&NAMES[..], &RULES[..]].concat()),
        raw(Method::GET, "Daestro_ListQueues", PATH, JSON, list)
            .gives::<Envelope<Page<QueueOut>>>()
            .summary("Lists job queues, in the order of their creation")
            .query(PAGE.to_vec()),
        raw(Method::GET, "Daestro_GetQueue", one.clone(), JSON, read)
            .gives::<Envelope<QueueOut>>()
            .summary("Gets a job queue"),
        raw(Method::PATCH, "Daestro_ChangeQueue", one.clone(), JSON, change)
            .gives::<Envelope<QueueOut>>()
            .summary("Changes a job queue; what is left out stays as it is")
            .body(RULES.to_vec()),
        raw(Method::POST, "Daestro_EnableQueue", format!("{one}/enable"), JSON, enable)
            .gives::<Envelope<QueueOut>>()
            .summary("Enables a job queue that names a compute environment"),
        raw(Method::POST, "Daestro_DisableQueue", format!("{one}/disable"), JSON, disable)
            .gives::<Envelope<QueueOut>>()
            .summary("Disables a job queue: it takes nothing and hands out nothing"),
        raw(Method::DELETE, "Daestro_DeleteQueue", one, JSON, remove)
            .gives::<Envelope<Id>>()
            .summary("Deletes a job queue whose jobs have ended"),
    ]
}

const RULES: [Field; 5] = [
    text("description", "At most 1024 characters"),
    integer("priority", "1 to 1000, the lower one runs first; 500 where it is left out"),
    integer("max_concurrency", "Jobs that may run at once; 0, or left out, is no limit"),
    integer("max_idle_time", "Seconds; kept and shown: no server is started for a queue"),
    texts("compute_environments", "Ids of compute environments"),
];

/// A job queue.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroQueue)]
struct QueueOut {
    #[schema(value_type = String)]
    id: QueueId,
    /// What a submission calls it.
    job_queue: String,
    project_code: String,
    name: String,
    description: String,
    /// The lower one runs first.
    priority: u16,
    /// 0 is no limit.
    max_concurrency: u32,
    max_idle_time: Option<u32>,
    /// `enabled`, or `disabled`.
    state: &'static str,
    #[schema(value_type = Vec<String>)]
    compute_environments: Vec<PoolId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let (project, name) = (names::project(&mut body)?, names::label(&mut body, "name")?);
    let rules = read_rules(&mut body)?;
    body.finish()?;
    let new = NewQueue {
        project,
        name,
        description: rules.description.unwrap_or_default(),
        rank: rules.rank.or(Rank::new(PRIORITY)).unwrap_or(Rank::LAST),
        max_running: rules.max_running.unwrap_or(0),
        is_enabled: false,
        timeout_secs: None,
        idle_secs: rules.idle_secs,
        pools: rules.pools.unwrap_or_default(),
    };
    let made = queues::create(call.app(), &caller, new).await?;
    envelope::answer(StatusCode::CREATED, QueueOut::from(made))
}

async fn list(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (names::limit(&query)?, names::cursor::<QueueId>(&query)?);
    let found = queues::list(call.app(), &caller, after, limit).await?;
    let next_cursor = names::next(&found, limit, |queue| queue.id);
    let items: Vec<_> = found.into_iter().map(QueueOut::from).collect();
    envelope::found(Page { items, next_cursor })
}

async fn read(queue: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let found = queues::read(call.app(), &caller, queue.id("job queue")?).await?;
    envelope::found(QueueOut::from(found))
}

async fn change(queue: Segment, mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let changed = read_rules(&mut body)?;
    body.finish()?;
    let id = queue.id("job queue")?;
    let before = queues::read(call.app(), &caller, id).await?;
    let is_emptied = changed.pools.as_ref().is_some_and(Vec::is_empty);
    if is_emptied && before.rules.is_enabled {
        let problem = "must not be empty while the queue is enabled: disable it first";
        return Err(Error::field("compute_environments", problem));
    }
    let queue = queues::change(call.app(), &caller, id, changed).await?;
    envelope::found(QueueOut::from(queue))
}

async fn enable(queue: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id = queue.id("job queue")?;
    let before = queues::read(call.app(), &caller, id).await?;
    if before.pools.is_empty() {
        let problem = "the queue names no compute environment: link one first".to_owned();
        return Err(Error::NotNow(problem));
    }
    let changed = ChangedQueue { is_enabled: Some(true), ..ChangedQueue::default() };
    envelope::found(QueueOut::from(queues::change(call.app(), &caller, id, changed).await?))
}

async fn disable(queue: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id = queue.id("job queue")?;
    let changed = ChangedQueue { is_enabled: Some(false), ..ChangedQueue::default() };
    envelope::found(QueueOut::from(queues::change(call.app(), &caller, id, changed).await?))
}

async fn remove(queue: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id: QueueId = queue.id("job queue")?;
    queues::remove(call.app(), &caller, id).await?;
    envelope::found(Id { id: id.to_string() })
}

fn read_rules(body: &mut Loose) -> Result<ChangedQueue> {
    let range = u64::from(Rank::FIRST.number())..=u64::from(Rank::LAST.number());
    let rank = body.number("priority", range)?.and_then(|rank| u16::try_from(rank).ok());
    let has_pools = body.has("compute_environments");
    let pools = body.texts("compute_environments", POOLS_MAX)?;
    let pools = pools.iter().map(|id| id.parse::<PoolId>()).collect::<std::result::Result<_, _>>();
    let pools: Vec<PoolId> =
        pools.map_err(|bad| Error::field("compute_environments", bad.to_string()))?;
    Ok(ChangedQueue {
        description: body.line("description", DESCRIPTION_CHARS_MAX)?,
        rank: rank.and_then(Rank::new),
        max_running: body.small("max_concurrency", MAX_RUNNING_MAX)?,
        idle_secs: body.small("max_idle_time", IDLE_SECS_MAX)?,
        pools: has_pools.then_some(pools),
        ..ChangedQueue::default()
    })
}

impl From<Queue> for QueueOut {
    fn from(queue: Queue) -> Self {
        Self {
            id: queue.id,
            job_queue: format!("{}::{}", queue.project, queue.name),
            name: queue.name.to_string(),
            project_code: queue.project,
            description: queue.description,
            priority: queue.rules.rank.number(),
            max_concurrency: queue.rules.max_running,
            max_idle_time: queue.idle_secs,
            state: if queue.rules.is_enabled { "enabled" } else { "disabled" },
            compute_environments: queue.pools,
            created_at: queue.created_at,
            updated_at: queue.updated_at,
        }
    }
}
