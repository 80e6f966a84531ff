//! The templates that jobs can be made of.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::bytenite::dev::templates::{TemplateOut, listed};
use crate::api::bytenite::lists::page::Paged;
use crate::api::bytenite::lists::selection::LIST;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::definitions::{Shelf, templates};
use crate::error::Result;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJobTemplates", "/jobs/templates", list_templates)
            .summary("Lists the templates that jobs can be created from")
            .query(LIST),
        get("Customer_GetPresets", "/jobs/templates/{jobTemplateId}/presets", list_presets)
            .summary("Deprecated: always returns an empty list")
            .deprecated(),
    ]
}

async fn list_templates(call: Call) -> Result<Paged<TemplateOut>> {
    let caller = call.caller().await?;
    listed(&call, &caller, Shelf::Usable, &call.query()?).await
}

#[derive(Serialize, ToSchema)]
struct PresetsOut {
    #[schema(value_type = Vec<Object>)]
    presets: Vec<Value>,
}

/// Old clients ask for a template's presets; templates have had defaults in their place for long.
async fn list_presets(id: Segment, call: Call) -> Result<PresetsOut> {
    let caller = call.caller().await?;
    templates::find(call.app(), &caller, &id.0).await?;
    Ok(PresetsOut { presets: Vec::new() })
}
