//! Health, nodes and figures.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::API;
use super::answers::{self, JSON};
use super::ids;
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, raw};
use crate::error::Result;
use crate::jobs::plans;
use crate::nodes::{self, Node};
use crate::people::caller::Caller;

/// A node that was not heard for longer is not listed.
const LISTED: TimeDelta = TimeDelta::minutes(5);

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::GET, "Tork_GetHealth", "/health", JSON, health)
            .gives::<Health>()
            .summary("Answers 200 while the database and the bucket answer, and 503 otherwise")
            .open()
            .fails(&[(503, "A part of the server does not answer")]),
        get("Tork_ListNodes", "/nodes", list_nodes)
            .summary("Lists the workspace's own nodes that were heard in the last five minutes"),
        get("Tork_GetMetrics", "/metrics", metrics).summary("Counts what runs"),
    ]
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkHealth)]
struct Health {
    /// Whether all parts answer.
    status: HealthStatus,
    version: &'static str,
}

/// UP, or DOWN while a part of the server does not answer.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = TorkHealthStatus)]
enum HealthStatus {
    Up,
    Down,
}

async fn health(call: Call) -> Result<Answer> {
    let version = env!("CARGO_PKG_VERSION");
    match call.state().readiness.away(call.app()).await {
        None => {
            let up = Health { status: HealthStatus::Up, version };
            answers::with_status(StatusCode::OK, &up)
        }
        Some(_) => {
            let down = Health { status: HealthStatus::Down, version };
            answers::with_status(StatusCode::SERVICE_UNAVAILABLE, &down)
        }
    }
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkNode)]
struct NodeOut {
    id: String,
    name: String,
    started_at: DateTime<Utc>,
    /// How much of its processors is reserved by tasks.
    cpu_percent: u32,
    /// When it was heard last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heartbeat_at: Option<DateTime<Utc>>,
    /// Whether it is heard.
    status: NodeStatus,
    /// The node's label.
    hostname: String,
    /// Tasks that it has.
    task_count: usize,
    version: &'static str,
}

/// UP, or OFFLINE while it is silent.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = TorkNodeStatus)]
enum NodeStatus {
    Up,
    Offline,
}

impl From<&Node> for NodeOut {
    fn from(node: &Node) -> Self {
        Self {
            id: ids::write(node.id.uuid()),
            name: node.device.label.clone(),
            started_at: node.joined_at,
            cpu_percent: cpu_percent(node),
            last_heartbeat_at: node.heard_at,
            status: if node.live.is_some() { NodeStatus::Up } else { NodeStatus::Offline },
            hostname: node.device.label.clone(),
            task_count: node.live.map_or(0, |live| live.tasks),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn cpu_percent(node: &Node) -> u32 {
    let Some(live) = node.live else { return 0 };
    let (used, all) = (live.used.cpu_millis, live.capacity.cpu_millis);
    used.saturating_mul(100).checked_div(all).unwrap_or(0)
}

async fn own_nodes(call: &Call, caller: &Caller) -> Result<Vec<Node>> {
    let mut found = nodes::list(call.app(), caller).await?;
    let now = crate::clock::now();
    found.retain(|node| node.heard_at.is_some_and(|at| now - at <= LISTED));
    found.sort_by(|a, b| a.device.label.cmp(&b.device.label));
    Ok(found)
}

async fn list_nodes(call: Call) -> Result<Vec<NodeOut>> {
    let caller = call.caller().await?;
    Ok(own_nodes(&call, &caller).await?.iter().map(NodeOut::from).collect())
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkMetrics)]
struct Metrics {
    /// Jobs.
    jobs: Running,
    /// Tasks.
    tasks: Running,
    /// Nodes of the workspace's own.
    nodes: Online,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkRunning)]
struct Running {
    /// How many are under way.
    running: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkOnline)]
struct Online {
    /// Nodes that are heard.
    online: usize,
    /// How much of their processors is reserved by tasks.
    cpu_percent: u32,
}

async fn metrics(call: Call) -> Result<Metrics> {
    let caller = call.caller().await?;
    let load = plans::load(call.app(), &caller, &API).await?;
    let mut nodes = own_nodes(&call, &caller).await?;
    nodes.retain(|node| node.live.is_some());
    let sum: u32 = nodes.iter().map(cpu_percent).sum();
    let online = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    Ok(Metrics {
        jobs: Running { running: load.runs },
        tasks: Running { running: load.tasks_running },
        nodes: Online { online: nodes.len(), cpu_percent: sum.checked_div(online).unwrap_or(0) },
    })
}
