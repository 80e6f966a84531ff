//! What jobs are made of: packages, templates, images and cached files.

mod app_tests;
mod caches;
mod images;
mod package_out;
mod packages;
mod sharing;
mod template_in;
mod templates;

use std::collections::BTreeMap;

use common::ids::WorkspaceId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::query;
use crate::api::http::route::Route;
use crate::api::http::shape::{Field, flag};
use crate::definitions::{OwnerNames, Shelf};
use crate::error::Result;

pub fn routes() -> Vec<Route> {
    let routes = [
        packages::routes(),
        templates::routes(),
        sharing::routes(),
        app_tests::routes(),
        images::routes(),
        caches::routes(),
    ];
    routes.into_iter().flatten().collect()
}

const PUBLIC: Field = flag(
    "public",
    "true: what everybody has published; false: the own that is not; else all that own tags can \
     name",
);

/// Which part of the catalogue a query asks for.
fn shelf(query: &BTreeMap<String, String>) -> Result<Shelf> {
    Ok(match query::flag(query, "public")? {
        None => Shelf::Usable,
        Some(true) => Shelf::Published,
        Some(false) => Shelf::Unpublished,
    })
}

/// The workspace that has made something.
#[derive(Serialize, ToSchema)]
struct Owner {
    #[schema(value_type = String)]
    id: WorkspaceId,
    /// What it is called.
    name: String,
}

impl Owner {
    fn of(id: WorkspaceId, names: &OwnerNames) -> Self {
        Self { id, name: names.get(&id).cloned().unwrap_or_default() }
    }
}
