//! Queues of tasks: the workspace's own queues without a project, and one that is always there.

use serde::Serialize;
use utoipa::ToSchema;
use warp::Reply as _;
use warp::http::{Method, StatusCode};

use super::answers::{JSON, missing, not_now};
use super::compile::QUEUE;
use super::validate::is_queue;
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get, raw};
use crate::app::App;
use crate::error::Result;
use crate::jobs::queues;
use crate::nodes;
use crate::people::caller::Caller;

/// What of a name is shown.
const SHOWN_CHARS: usize = 200;

pub fn routes() -> Vec<Route> {
    vec![
        get("Tork_ListQueues", "/queues", list_queues)
            .summary("Lists queues with what waits there"),
        get("Tork_GetQueue", "/queues/{queue}", read_queue).summary("Gets a queue"),
        raw(Method::DELETE, "Tork_DeleteQueue", "/queues/{queue}", JSON, remove)
            .summary("Deletes a queue whose jobs have ended; the answer is empty"),
    ]
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkQueue)]
struct QueueOut {
    name: String,
    /// Tasks that wait.
    size: u64,
    /// Nodes of the workspace's own that are heard.
    subscribers: u64,
    /// Tasks that are under way.
    unacked: u64,
}

/// The queues by their names. The one that is always there has the workspace's tasks that stand in
/// no queue, unless the workspace has a queue of that name.
async fn all(app: &App, caller: &Caller) -> Result<Vec<QueueOut>> {
    let nodes = nodes::list(app, caller).await?;
    let subscribers = nodes.iter().filter(|node| node.live.is_some()).count() as u64;
    let out = |name: String, size, running: u32| QueueOut {
        name,
        size,
        subscribers,
        unacked: running.into(),
    };
    let (found, outside) = queues::views(app, caller).await?;
    let mut all: Vec<QueueOut> = found
        .into_iter()
        .map(|(queue, view)| out(queue.name.to_string(), view.tasks_waiting, view.tasks_running))
        .collect();
    if !all.iter().any(|queue| queue.name == QUEUE) {
        all.push(out(QUEUE.to_owned(), outside.tasks_waiting, outside.tasks_running));
        all.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(all)
}

async fn list_queues(call: Call) -> Result<Vec<QueueOut>> {
    let caller = call.caller().await?;
    all(call.app(), &caller).await
}

fn no_queue(name: &str) -> crate::error::Error {
    let shown: String = name.chars().take(SHOWN_CHARS).collect();
    missing(&format!("queue {shown}"))
}

async fn read_queue(queue: Segment, call: Call) -> Result<QueueOut> {
    let caller = call.caller().await?;
    let found = all(call.app(), &caller).await?.into_iter().find(|one| one.name == queue.as_str());
    found.ok_or_else(|| no_queue(queue.as_str()))
}

async fn remove(queue: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let (app, name) = (call.app(), queue.as_str());
    if !is_queue(name) {
        let shown: String = name.chars().take(SHOWN_CHARS).collect();
        return Err(not_now(format!("queue {shown} is not a task queue")));
    }
    match queues::read_named(app, &caller, "", name).await? {
        Some(found) => queues::remove(app, &caller, found.id).await?,
        None if name == QUEUE => return Err(not_now("queue default is always there")),
        None => return Err(no_queue(name)),
    }
    Ok(StatusCode::OK.into_response())
}
