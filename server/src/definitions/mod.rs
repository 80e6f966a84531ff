//! What jobs are made of: packages, templates, images, files for caches, and how workspaces share
//! them.
//!
//! It may use `store`, `data`, `secrets`, `quotas`, `registry`, `people` and `common`. Its
//! invariant: a workspace reads its own definitions and published ones, and changes its own only.

pub mod caches;
mod image_check;
pub mod image_login;
pub mod images;
pub mod packages;
pub mod sharing;
pub mod templates;

use std::collections::BTreeMap;

use common::ids::WorkspaceId;

use crate::app::App;
use crate::error::{Error, Result};
use crate::store::people::workspaces;
use crate::store::query::selection::Found;

pub use crate::store::catalogue::packages::Shelf;

/// The names of workspaces, by their ids.
pub type OwnerNames = BTreeMap<WorkspaceId, String>;

/// A part of a list, and the names of the workspaces whose rows are in it.
pub struct Listed<T> {
    pub found: Found<T>,
    pub owners: OwnerNames,
}

/// What these workspaces are called.
pub async fn owner_names(
    app: &App,
    owners: impl IntoIterator<Item = WorkspaceId>,
) -> Result<OwnerNames> {
    Ok(workspaces::workspace_names(&app.db, owners).await?)
}

/// The one workspace that has published something.
///
/// # Errors
/// Where several have: the caller has to say which.
fn only(publishers: &[WorkspaceId]) -> Result<Option<WorkspaceId>> {
    match publishers {
        [] => Ok(None),
        [publisher] => Ok(Some(*publisher)),
        several => {
            let ids: Vec<_> = several.iter().map(ToString::to_string).collect();
            let problem = format!(
                "is published by several: write OWNER/NAME, where OWNER is one of the ids {}",
                ids.join(", ")
            );
            Err(Error::field("tag", problem))
        }
    }
}
