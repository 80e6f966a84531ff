//! An operator's nodes: what each does and has earned, and the tokens with which nodes join.
//!
//! It may use `store`, `coordinator`, `people` and `common`. Its invariant: a workspace sees and
//! removes its own nodes only.

mod idle_reason;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use common::compute::device::Device;
use common::ids::NodeId;
use common::money::credits::Credits;

use crate::app::App;
use crate::coordinator::NodeView;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::nodes::{self as stored, Joined, devices, tallies};

pub use crate::coordinator::Live;
pub use idle_reason::idle_reason;

/// Nodes that the coordinator is asked for at a time: it has other things to do.
const ASKED_AT_ONCE: usize = 100;

/// A node as its operator sees it.
pub struct Node {
    pub id: NodeId,
    pub joined_at: DateTime<Utc>,
    /// What it says of its machine.
    pub device: Device,
    /// When it was heard last; `None` for one that was not heard since the server started, or for
    /// a day.
    pub heard_at: Option<DateTime<Utc>>,
    /// `None` while it is silent.
    pub live: Option<Live>,
    /// Attempts that were paid for.
    pub tasks_done: u64,
    /// What they have earned in all.
    pub earned: Credits,
}

/// The caller's nodes, the newest first.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<Node>> {
    let joined = stored::of_operator(&app.db, caller.workspace).await?;
    describe(app, &joined).await
}

/// One of the caller's nodes.
pub async fn find(app: &App, caller: &Caller, id: NodeId) -> Result<Node> {
    let joined = stored::find(&app.db, caller.workspace, id).await?;
    let joined = joined.ok_or_else(|| unknown(id))?;
    describe(app, &[joined]).await?.pop().ok_or_else(|| unknown(id))
}

/// Refuses a node from now on; its tasks go to others.
pub async fn remove(app: &App, caller: &Caller, id: NodeId) -> Result<()> {
    if !app.coordinator.remove_node(caller.workspace, id).await? {
        return Err(unknown(id));
    }
    Ok(())
}

/// Makes a token with which one node joins the workspace: good once, and for an hour.
pub async fn issue_token(app: &App, caller: &Caller) -> Result<String> {
    if !stored::has_room(&app.db, caller.workspace).await? {
        let most = stored::NODES_MAX;
        let message = format!(
            "this workspace has {most} nodes and unused tokens: use another, or remove lost nodes"
        );
        return Err(Error::Blocked("TOO_MANY_NODES", message));
    }
    Ok(stored::issue_token(&app.db, caller.workspace).await?)
}

fn unknown(id: NodeId) -> Error {
    Error::not_found("node", &id.to_string())
}

/// What is stored of these nodes, and what the coordinator knows.
async fn describe(app: &App, joined: &[Joined]) -> Result<Vec<Node>> {
    let mut nodes = Vec::with_capacity(joined.len());
    for some in joined.chunks(ASKED_AT_ONCE) {
        let ids: Vec<NodeId> = some.iter().map(|joined| joined.id).collect();
        let mut devices =
            devices::find(&app.db, &ids.iter().copied().collect::<BTreeSet<_>>()).await?;
        let totals = tallies::find(&app.db, &ids).await?;
        let views: BTreeMap<NodeId, NodeView> =
            app.coordinator.nodes(ids).await?.into_iter().map(|view| (view.id, view)).collect();
        nodes.extend(some.iter().map(|Joined { id, joined_at }| {
            let total = totals.get(id).copied().unwrap_or_default();
            let view = views.get(id).copied();
            Node {
                id: *id,
                joined_at: *joined_at,
                device: devices.remove(id).unwrap_or_default(),
                heard_at: view.and_then(|view| view.heard_at),
                live: view.and_then(|view| view.live),
                tasks_done: total.tasks,
                earned: total.earned,
            }
        }));
    }
    Ok(nodes)
}
