//! Pools of nodes, which queues name.

use common::ids::PoolId;
use common::run::queue::{Label, Pool as Nodes};
use uuid::Uuid;

use super::{QUEUES_MAX, full, name_taken};
use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::{pools, queues};

pub use crate::store::pools::Pool;

/// What is said of a new pool.
#[derive(Debug, Clone)]
pub struct NewPool {
    /// Empty for none.
    pub project: String,
    pub name: Label,
    pub description: String,
    pub nodes: Nodes,
}

/// Makes a pool.
///
/// # Errors
/// `POOL_NAME_TAKEN` where the project has one of this name.
pub async fn create(app: &App, caller: &Caller, new: NewPool) -> Result<Pool> {
    if pools::count(&app.db, caller.workspace).await? >= QUEUES_MAX {
        return Err(full("pools"));
    }
    let now = clock::now();
    let pool = Pool {
        id: PoolId::new(Uuid::now_v7()),
        workspace: caller.workspace,
        project: new.project,
        name: new.name,
        description: new.description,
        nodes: new.nodes,
        created_at: now,
        updated_at: now,
    };
    check_name(app, &pool).await?;
    if let Err(error) = pools::insert(&app.db, &pool).await {
        // Another create of the same name was faster.
        check_name(app, &pool).await?;
        return Err(error.into());
    }
    Ok(pool)
}

async fn check_name(app: &App, pool: &Pool) -> Result<()> {
    let (project, name) = (&pool.project, pool.name.as_str());
    match pools::find_named(&app.db, pool.workspace, project, name).await? {
        Some(other) if other.id != pool.id => {
            Err(Error::Blocked("POOL_NAME_TAKEN", name_taken("pool")).at("name"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The caller's pool of this id.
pub async fn read(app: &App, caller: &Caller, id: PoolId) -> Result<Pool> {
    let found = pools::find(&app.db, caller.workspace, id).await?;
    found.ok_or_else(|| Error::not_found("pool", &id.to_string()))
}

/// At most `limit` pools after this one, in the order in which they were made.
pub async fn list(
    app: &App,
    caller: &Caller,
    after: Option<PoolId>,
    limit: u32,
) -> Result<Vec<Pool>> {
    Ok(pools::list(&app.db, caller.workspace, after, limit.into()).await?)
}

/// Changes a pool; what is `None` stays as it is. Runs that have been started keep their nodes.
pub async fn change(
    app: &App,
    caller: &Caller,
    id: PoolId,
    description: Option<String>,
    nodes: Option<Nodes>,
) -> Result<Pool> {
    let before = read(app, caller, id).await?;
    let pool = Pool {
        description: description.unwrap_or(before.description),
        nodes: nodes.unwrap_or(before.nodes),
        updated_at: clock::now(),
        ..before
    };
    pools::replace(&app.db, &pool).await?;
    Ok(pool)
}

/// Removes a pool that no queue names.
pub async fn remove(app: &App, caller: &Caller, id: PoolId) -> Result<()> {
    let all = queues::list(&app.db, caller.workspace, None, QUEUES_MAX).await?;
    if let Some(queue) = all.iter().find(|queue| queue.pools.contains(&id)) {
        return Err(Error::NotNow(format!("the queue {} uses this pool", queue.name)));
    }
    if pools::delete(&app.db, caller.workspace, id).await? {
        Ok(())
    } else {
        Err(Error::not_found("pool", &id.to_string()))
    }
}
