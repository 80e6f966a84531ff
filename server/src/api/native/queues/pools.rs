//! Pools of nodes: made, listed, read, changed and removed.

use chrono::{DateTime, Utc};
use common::ids::PoolId;
use common::package::loose::Loose;
use common::run::queue::Pool as Nodes;
use serde::Serialize;
use utoipa::ToSchema;

use super::named;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, patch, post};
use crate::api::http::shape::{Field, flag, one};
use crate::api::native::jobs::scheduling::{REGIONS, RegionsOut, read_regions};
use crate::api::native::page::{self, PAGE};
use crate::error::Result;
use crate::jobs::queues::pools::{self, NewPool, Pool};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListPools", "/pools", list)
            .summary("Lists pools of nodes, in the order in which they were created")
            .query(PAGE.to_vec()),
        post("Fanfold_CreatePool", "/pools", create)
            .summary("Creates a pool of nodes, for queues to name")
            .body([&named::FIELDS[..], &NODES[..]].concat())
            .fails(&[(409, "Another pool of the project has this name")]),
        get("Fanfold_GetPool", "/pools/{pool}", read).summary("Gets a pool of nodes"),
        patch("Fanfold_ChangePool", "/pools/{pool}", change)
            .summary("Changes a pool; runs that were started keep their nodes")
            .body([&[named::DESCRIPTION][..], &NODES[..]].concat()),
        delete("Fanfold_DeletePool", "/pools/{pool}", remove)
            .summary("Deletes a pool that no queue names"),
    ]
}

const NODES: [Field; 2] = [
    flag("own_nodes", "Only nodes of this workspace"),
    one("regions", &REGIONS, "Everywhere where it is left out"),
];

#[derive(Serialize, ToSchema)]
struct PoolList {
    /// In the order in which they were created.
    pools: Vec<PoolOut>,
    next_cursor: Option<String>,
}

/// A selection of nodes.
#[derive(Serialize, ToSchema)]
#[schema(as = Pool)]
struct PoolOut {
    #[schema(value_type = String)]
    id: PoolId,
    /// The project that it belongs to, where it was given one.
    project: Option<String>,
    /// Unique in its project.
    name: String,
    description: String,
    /// Only nodes of this workspace.
    own_nodes: bool,
    /// Where its nodes are.
    regions: RegionsOut,
    created_at: DateTime<Utc>,
    /// When it was changed last, or created.
    updated_at: DateTime<Utc>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedPool {
    #[schema(value_type = String)]
    id: PoolId,
}

async fn list(call: Call) -> Result<PoolList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (page::limit(&query)?, page::cursor::<PoolId>(&query)?);
    let found = pools::list(call.app(), &caller, after, limit).await?;
    let next_cursor = page::next(&found, limit, |pool| pool.id);
    Ok(PoolList { pools: found.into_iter().map(PoolOut::from).collect(), next_cursor })
}

async fn create(mut call: Call) -> Result<PoolOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let named = named::read(&mut body)?;
    let nodes = read_nodes(&mut body)?.unwrap_or_default();
    body.finish()?;
    let named::Named { name, project, description } = named;
    let new = NewPool { project, name, description, nodes };
    Ok(pools::create(call.app(), &caller, new).await?.into())
}

async fn read(pool: Segment, call: Call) -> Result<PoolOut> {
    let caller = call.caller().await?;
    Ok(pools::read(call.app(), &caller, pool.id("pool")?).await?.into())
}

async fn change(pool: Segment, mut call: Call) -> Result<PoolOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let (description, nodes) = (named::description(&mut body)?, read_nodes(&mut body)?);
    body.finish()?;
    let id = pool.id("pool")?;
    Ok(pools::change(call.app(), &caller, id, description, nodes).await?.into())
}

async fn remove(pool: Segment, call: Call) -> Result<DeletedPool> {
    let caller = call.caller().await?;
    let id = pool.id("pool")?;
    pools::remove(call.app(), &caller, id).await?;
    Ok(DeletedPool { id })
}

/// The whole selection; `None` where nothing is said of it.
fn read_nodes(body: &mut Loose) -> Result<Option<Nodes>> {
    let (own_nodes, regions) = (body.flag("own_nodes")?, read_regions(body)?);
    let is_said = own_nodes.is_some() || regions.is_some();
    Ok(is_said.then(|| Nodes {
        own_nodes: own_nodes.unwrap_or(false),
        regions: regions.unwrap_or_default(),
    }))
}

impl From<Pool> for PoolOut {
    fn from(pool: Pool) -> Self {
        Self {
            id: pool.id,
            project: Some(pool.project).filter(|name| !name.is_empty()),
            name: pool.name.to_string(),
            description: pool.description,
            own_nodes: pool.nodes.own_nodes,
            regions: pool.nodes.regions.into(),
            created_at: pool.created_at,
            updated_at: pool.updated_at,
        }
    }
}
