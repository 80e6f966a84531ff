//! An operator's nodes, and the tokens with which they join.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use common::access::Scope;
use common::compute::device::Device;
use common::ids::NodeId;
use common::money::credits::Credits;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::coordinator::{Idle, Live, NodeView, Obstacles};
use crate::error::{Error, Result};
use crate::store::nodes::devices;
use crate::store::nodes::tallies;
use crate::store::nodes::tallies::Total;
use crate::store::nodes::{self, Joined};

/// Nodes that the coordinator is asked for at a time: it has other things to do.
const ASKED_AT_ONCE: usize = 100;

#[derive(Serialize, ToSchema)]
struct TokenOut {
    /// Good once and for an hour.
    token: String,
    /// Where nodes join.
    servers: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct NodesOut {
    /// The newest first.
    nodes: Vec<NodeOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeOut {
    /// Its id, which follows from its key.
    #[schema(value_type = String)]
    id: NodeId,
    /// What its owner calls it.
    label: String,
    /// Whether it is heard.
    state: NodeState,
    /// When it joined the workspace.
    joined_at: DateTime<Utc>,
    /// When it was heard last; null for one that was not heard since the server started, or for a
    /// day.
    heard_at: Option<DateTime<Utc>>,
    /// Where it is, in its owner's words.
    region: String,
    /// What it lends; null while it is silent.
    lends: Option<ResourcesOut>,
    /// What its tasks take of that now.
    used: Option<ResourcesOut>,
    /// The GPUs that it lends, by name.
    gpus: Vec<String>,
    /// Tasks that it has now.
    tasks_running: usize,
    /// Attempts that were paid for.
    tasks_done: u64,
    /// What they have earned in all; the wallet's balance says what of it is still pending.
    #[schema(value_type = String)]
    earned: Credits,
    /// Why it has no work; empty where it has some.
    idle_reason: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum NodeState {
    Online,
    Silent,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ResourcesOut {
    /// Thousandths of a CPU.
    cpu_millis: u32,
    /// Memory in MiB.
    memory_mib: u32,
    /// Disk in MiB.
    disk_mib: u32,
}

pub fn routes() -> Vec<Route> {
    vec![
        get("Developer_ListNodes", "/nodes", list)
            .summary(
                "Lists the workspace's nodes: what each does, has earned, and why it has no work",
            )
            .needs(Scope::NodesRead),
        get("Developer_GetNode", "/nodes/{nodeId}", read)
            .summary("Reads one node")
            .needs(Scope::NodesRead),
        delete("Developer_RemoveNode", "/nodes/{nodeId}", remove)
            .summary("Refuses a node from now on; its tasks go to others")
            .needs(Scope::NodesWrite),
        post("Developer_CreateNodeToken", "/nodes/tokens", issue)
            .creates()
            .summary("Makes a token with which one node joins the workspace")
            .needs(Scope::NodesWrite),
    ]
}

async fn list(call: Call) -> Result<NodesOut> {
    let caller = call.caller().await?;
    let joined = nodes::of_operator(&call.app().db, caller.workspace).await?;
    Ok(NodesOut { nodes: described(&call, &joined).await? })
}

async fn read(id: Segment, call: Call) -> Result<NodeOut> {
    let caller = call.caller().await?;
    let unknown = || Error::not_found("node", &id.0);
    let node = id.0.parse().map_err(|_| unknown())?;
    let joined = nodes::find(&call.app().db, caller.workspace, node).await?.ok_or_else(unknown)?;
    described(&call, &[joined]).await?.pop().ok_or_else(unknown)
}

async fn remove(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let unknown = || Error::not_found("node", &id.0);
    let node = id.0.parse().map_err(|_| unknown())?;
    if !call.app().coordinator.remove_node(caller.workspace, node).await? {
        return Err(unknown());
    }
    Ok(done())
}

/// Makes a one-time token, good for an hour.
async fn issue(mut call: Call) -> Result<TokenOut> {
    let caller = call.caller().await?;
    let body = call.bytes(BODY_BYTES_MAX).await?;
    if idempotency::new_id(&call, &caller, &body).await?.again {
        return Err(idempotency::shown_already("a token (good for an hour)"));
    }
    if !nodes::has_room(&call.app().db, caller.workspace).await? {
        let most = nodes::NODES_MAX;
        let message = format!(
            "this workspace has {most} nodes and unused tokens: use another, or remove lost nodes"
        );
        return Err(Error::Blocked("TOO_MANY_NODES", message));
    }
    let token = nodes::issue_token(&call.app().db, caller.workspace).await?;
    Ok(TokenOut { token, servers: call.app().settings.node_addresses.clone() })
}

/// What is stored of these nodes, and what the coordinator knows.
async fn described(call: &Call, joined: &[Joined]) -> Result<Vec<NodeOut>> {
    let app = call.app();
    let mut out = Vec::with_capacity(joined.len());
    for some in joined.chunks(ASKED_AT_ONCE) {
        let ids: Vec<NodeId> = some.iter().map(|joined| joined.id).collect();
        let mut machines =
            devices::find(&app.db, &ids.iter().copied().collect::<BTreeSet<_>>()).await?;
        let totals = tallies::find(&app.db, &ids).await?;
        let views: BTreeMap<NodeId, NodeView> =
            app.coordinator.nodes(ids).await?.into_iter().map(|view| (view.id, view)).collect();
        out.extend(some.iter().map(|node| {
            let machine = machines.remove(&node.id).unwrap_or_default();
            let total = totals.get(&node.id).copied().unwrap_or_default();
            NodeOut::new(*node, machine, total, views.get(&node.id).copied())
        }));
    }
    Ok(out)
}

impl NodeOut {
    fn new(joined: Joined, machine: Device, total: Total, view: Option<NodeView>) -> Self {
        let live = view.and_then(|view| view.live);
        let resources = |of: common::compute::resources::Resources| ResourcesOut {
            cpu_millis: of.cpu_millis,
            memory_mib: of.memory_mib,
            disk_mib: of.disk_mib,
        };
        Self {
            id: joined.id,
            label: machine.label,
            state: if live.is_some() { NodeState::Online } else { NodeState::Silent },
            joined_at: joined.joined_at,
            heard_at: view.and_then(|view| view.heard_at),
            region: machine.region,
            lends: live.map(|live| resources(live.capacity)),
            used: live.map(|live| resources(live.used)),
            gpus: machine.gpus,
            tasks_running: live.map_or(0, |live| live.tasks),
            tasks_done: total.tasks,
            earned: total.earned,
            idle_reason: reason(live),
        }
    }
}

/// Why a node has no work, in the words that its operator reads.
fn reason(live: Option<Live>) -> String {
    let Some(live) = live else {
        return "it is silent: its process, its machine or its network is down".to_owned();
    };
    match live.idle {
        None => String::new(),
        Some(Idle::Barred(until)) => {
            format!(
                "checks found false results of its operator: it gets no tasks until {}",
                time(until)
            )
        }
        Some(Idle::FailedProbe) => {
            "it failed a probe, and gets tasks again when it passes one: its \
                                    log says what failed"
                .to_owned()
        }
        Some(Idle::NoWork) => "no work is waiting".to_owned(),
        Some(Idle::Soon) => "a task is about to come".to_owned(),
        Some(Idle::Unfit { runs, obstacles, aside_until }) => unfit(runs, &obstacles, aside_until),
    }
}

fn unfit(runs: usize, obstacles: &Obstacles, aside_until: Option<DateTime<Utc>>) -> String {
    let until = aside_until.map_or_else(String::new, |until| format!(" until {}", time(until)));
    let counted = [
        (obstacles.aside, format!("it is set aside after faults with their tasks{until}")),
        (obstacles.barred, "their customers get no results of its operator's nodes".to_owned()),
        (obstacles.disputed, "its results for them differ from another node's".to_owned()),
        (obstacles.elsewhere, "they may not run in its region".to_owned()),
        (obstacles.too_few_cpus, "it lends too few CPUs".to_owned()),
        (obstacles.too_little_memory, "it lends too little memory".to_owned()),
        (obstacles.too_little_disk, "it lends too little disk".to_owned()),
        (obstacles.without_gpu, "it has no GPU of those they ask for".to_owned()),
        (obstacles.new, "as a new operator's node it has its share of them".to_owned()),
        (obstacles.failed_there, "what waits of them has failed on it".to_owned()),
        (obstacles.busy, "it has no room".to_owned()),
    ];
    let reasons = counted.iter().filter(|(count, _)| *count > 0);
    let reasons: Vec<String> = reasons.map(|(count, why)| format!("{count}: {why}")).collect();
    format!("of {runs} jobs that wait none has a task for it: {}", reasons.join("; "))
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use common::compute::resources::Resources;
    use reqwest::Method;
    use serde_json::json;

    use super::*;
    use crate::api::testing::Door;

    #[tokio::test]
    async fn workspace_with_the_most_nodes_gets_no_token_for_another() {
        let door = Door::open().await;
        for _ in 0..nodes::NODES_MAX {
            nodes::issue_token(&door.app.db, door.workspace).await.unwrap();
        }

        let (status, body) = door.post("/v1/dev/nodes/tokens", json!({})).await;

        assert_eq!(status, 400);
        assert!(body.to_string().contains("TOO_MANY_NODES"), "{body}");
    }

    #[tokio::test]
    async fn nodes_are_listed_until_they_are_removed() {
        let door = Door::open().await;
        let (_, made) = door.post("/v1/dev/nodes/tokens", json!({})).await;
        let token = made["token"].as_str().unwrap();
        let node = nodes::join(&door.app.db, "peer", token).await.unwrap().unwrap();
        let path = format!("/v1/dev/nodes/{node}");

        let (status, body) = door.call(Method::GET, "/v1/dev/nodes", None).await;
        assert_eq!((status, &body["nodes"][0]["id"]), (200, &json!(node)), "{body}");
        assert_eq!(
            (&body["nodes"][0]["state"], &body["nodes"][0]["tasksDone"]),
            (&json!("silent"), &json!(0))
        );
        assert_eq!(door.call(Method::GET, &path, None).await.0, 200);

        assert_eq!(door.call(Method::DELETE, &path, None).await.0, 200);

        let (_, body) = door.call(Method::GET, "/v1/dev/nodes", None).await;
        assert_eq!(body["nodes"], json!([]));
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(door.call(method, &path, None).await.0, 404);
        }
    }

    #[test]
    fn idle_node_says_why_it_has_no_work() {
        let told = |idle| {
            let capacity = Resources::new(1, 1);
            reason(Some(Live { capacity, used: Resources::NONE, tasks: 0, idle }))
        };
        let obstacles = Obstacles { too_few_cpus: 2, aside: 1, ..Obstacles::default() };
        let aside_until = Some(DateTime::UNIX_EPOCH);

        assert_eq!(told(None), "");
        assert_eq!(told(Some(Idle::NoWork)), "no work is waiting");
        assert_eq!(
            told(Some(Idle::Unfit { runs: 3, obstacles, aside_until })),
            "of 3 jobs that wait none has a task for it: 1: it is set aside after faults with their \
             tasks until 1970-01-01T00:00:00Z; 2: it lends too few CPUs"
        );
        assert!(reason(None).contains("silent"));
    }
}
