//! Compute environments: selections of nodes, which job queues name.

use chrono::{DateTime, Utc};
use common::ids::PoolId;
use common::package::loose::{Loose, check_line};
use common::run::queue::Pool as Nodes;
use common::run::scheduling::Regions;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::envelope::{self, Envelope, Id, JSON, Page};
use super::names::{self, NAMES, PAGE};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, flag, text, texts};
use crate::error::Result;
use crate::jobs::draft::{LABEL_CHARS_MAX, LABELS_MAX};
use crate::jobs::queues::DESCRIPTION_CHARS_MAX;
use crate::jobs::queues::pools::{self, NewPool, Pool};

const PATH: &str = "/v1/client/compute-environment";

pub fn routes() -> Vec<Route> {
    let one = format!("{PATH}/{{environment}}");
    vec![
        raw(Method::POST, "Daestro_CreateEnvironment", PATH, JSON, create)
            .gives::<Envelope<EnvironmentOut>>()
            .succeeds_with(201)
            .summary("Creates a compute environment, for job queues to name")
            .body([&NAMES[..], &NODES[..]].concat()),
        raw(Method::GET, "Daestro_ListEnvironments", PATH, JSON, list)
            .gives::<Envelope<Page<EnvironmentOut>>>()
            .summary("Lists compute environments, in the order of their creation")
            .query(PAGE.to_vec()),
        raw(Method::GET, "Daestro_GetEnvironment", one.clone(), JSON, read)
            .gives::<Envelope<EnvironmentOut>>()
            .summary("Gets a compute environment"),
        raw(Method::PATCH, "Daestro_ChangeEnvironment", one.clone(), JSON, change)
            .gives::<Envelope<EnvironmentOut>>()
            .summary("Changes a compute environment for the jobs that are submitted after it")
            .body(NODES.to_vec()),
        raw(Method::DELETE, "Daestro_DeleteEnvironment", one, JSON, remove)
            .gives::<Envelope<Id>>()
            .summary("Deletes a compute environment that no job queue names"),
    ]
}

const NODES: [Field; 4] = [
    text("description", "At most 1024 characters"),
    flag("own_nodes", "Only nodes of this workspace"),
    texts("locations", "Regions, or the beginnings of several; everywhere where it is left out"),
    texts("excluded_locations", "Regions where its nodes may not be"),
];

/// A compute environment.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroEnvironment)]
struct EnvironmentOut {
    #[schema(value_type = String)]
    id: PoolId,
    project_code: String,
    name: String,
    description: String,
    own_nodes: bool,
    locations: Vec<String>,
    excluded_locations: Vec<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let (project, name) = (names::project(&mut body)?, names::label(&mut body, "name")?);
    let (description, nodes) = read_nodes(&mut body, Nodes::default())?;
    body.finish()?;
    let description = description.unwrap_or_default();
    let new = NewPool { project, name, description, nodes };
    let made = pools::create(call.app(), &caller, new).await?;
    envelope::answer(StatusCode::CREATED, EnvironmentOut::from(made))
}

async fn list(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (names::limit(&query)?, names::cursor::<PoolId>(&query)?);
    let found = pools::list(call.app(), &caller, after, limit).await?;
    let next_cursor = names::next(&found, limit, |pool| pool.id);
    let items: Vec<_> = found.into_iter().map(EnvironmentOut::from).collect();
    envelope::found(Page { items, next_cursor })
}

async fn read(environment: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id = environment.id("compute environment")?;
    envelope::found(EnvironmentOut::from(pools::read(call.app(), &caller, id).await?))
}

async fn change(environment: Segment, mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let id = environment.id("compute environment")?;
    let before = pools::read(call.app(), &caller, id).await?;
    let (description, nodes) = read_nodes(&mut body, before.nodes)?;
    body.finish()?;
    let changed = pools::change(call.app(), &caller, id, description, Some(nodes)).await?;
    envelope::found(EnvironmentOut::from(changed))
}

async fn remove(environment: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id: PoolId = environment.id("compute environment")?;
    pools::remove(call.app(), &caller, id).await?;
    envelope::found(Id { id: id.to_string() })
}

/// The description, and the nodes with what is said laid over `before`.
fn read_nodes(body: &mut Loose, before: Nodes) -> Result<(Option<String>, Nodes)> {
    let description = body.line("description", DESCRIPTION_CHARS_MAX)?;
    let own_nodes = body.flag("own_nodes")?.unwrap_or(before.own_nodes);
    let Regions { whitelist, blacklist } = before.regions;
    let whitelist = locations(body, "locations")?.unwrap_or(whitelist);
    let blacklist = locations(body, "excluded_locations")?.unwrap_or(blacklist);
    Ok((description, Nodes { own_nodes, regions: Regions { whitelist, blacklist } }))
}

fn locations(body: &mut Loose, key: &str) -> Result<Option<Vec<String>>> {
    let is_given = body.has(key);
    let names = body.texts(key, LABELS_MAX)?;
    for name in &names {
        check_line(key, name, LABEL_CHARS_MAX)?;
    }
    Ok(is_given.then_some(names))
}

impl From<Pool> for EnvironmentOut {
    fn from(pool: Pool) -> Self {
        Self {
            id: pool.id,
            project_code: pool.project,
            name: pool.name.to_string(),
            description: pool.description,
            own_nodes: pool.nodes.own_nodes,
            locations: pool.nodes.regions.whitelist,
            excluded_locations: pool.nodes.regions.blacklist,
            created_at: pool.created_at,
            updated_at: pool.updated_at,
        }
    }
}
