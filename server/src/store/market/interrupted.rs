//! A run that has ended and everything that it can go on from: with the runs that are parts of it.

use common::ids::RunId;
use common::market::Interrupted;
use sea_orm::DbErr;
use sea_orm::entity::prelude::*;

use super::{runs, tasks};

/// A run that has ended and, after it, the runs that its open stages wait for, in any depth. `None`
/// where there is no such run, or the data of one of them is gone.
pub async fn find(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Option<Vec<Interrupted>>, DbErr> {
    let (mut found, mut to_come) = (Vec::new(), vec![run]);
    while let Some(id) = to_come.pop() {
        let Some(run) = runs::ended(db, id).await? else { return Ok(None) };
        for child in run.children() {
            // One that could not be started is not there.
            if runs::exists(db, child).await? {
                to_come.push(child);
            }
        }
        let tasks = tasks::without_results(db, id).await?;
        found.push(Interrupted { run, tasks });
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests;
