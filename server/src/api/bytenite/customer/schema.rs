//! The schemas that packages carry.

use common::ids::PackageId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::text;
use crate::definitions::packages::{self, Family};
use crate::error::{Error, Result};

#[derive(Serialize, ToSchema)]
struct SchemaOut {
    #[schema(value_type = String)]
    id: PackageId,
    name: String,
    version: String,
    /// `null` where the package has none.
    #[schema(value_type = Option<Object>)]
    schema: Option<Value>,
}

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetSchema", "/schema/{id}", read)
            .summary("Gets the JSON Schema of a package's params")
            .query(vec![text("version", "M or M.m, where the id is a name")])
            .deprecated(),
    ]
}

/// The schema of an app, or of an engine, by its id or its tag.
async fn read(id: Segment, call: Call) -> Result<SchemaOut> {
    let caller = call.caller().await?;
    let version = call.query()?.remove("version").filter(|version| !version.is_empty());
    let is_id = id.0.parse::<PackageId>().is_ok();
    let tag = match version {
        Some(version) if !is_id && !id.0.contains('@') => format!("{}@{version}", id.0),
        _ => id.0,
    };
    let find = async |family| packages::find(call.app(), &caller, family, &tag).await;
    let app = find(Family::App).await;
    let package =
        if matches!(app, Err(Error::NotFound(_))) { find(Family::Engine).await? } else { app? };
    Ok(SchemaOut {
        id: package.id,
        name: package.manifest.name,
        version: package.manifest.version.to_string(),
        schema: package.schema,
    })
}

#[cfg(test)]
mod tests;
