//! Templates. They need no activation: a template is as good as the packages it names.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use common::package::template::PhaseParams;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::packages::{list_query, shelf};
use crate::api::bytenite::descriptor::{destination_out, source_out};
use crate::api::bytenite::lists::named::Named;
use crate::api::bytenite::lists::page::{Paged, Pagination};
use crate::api::bytenite::lists::selection;
use crate::api::bytenite::template;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::work::{CONFIG, ConfigOut, DATA, PARAMS};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Field, map, one, text, unread};
use crate::definitions::templates::{self, Kept, TemplateField};
use crate::definitions::{Listed, OwnerNames, Shelf, owner_names};
use crate::error::Result;
use crate::people::caller::Caller;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateOut {
    id: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    is_public: bool,
    #[schema(value_type = String)]
    owner: WorkspaceId,
    user_name: String,
    description: String,
    partitioner: String,
    app: String,
    assembler: String,
    #[schema(value_type = Option<Object>)]
    data_source: Option<Value>,
    #[schema(value_type = Option<Object>)]
    data_destination: Option<Value>,
    #[schema(value_type = Object)]
    params: PhaseParams,
    config: ConfigOut,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Developer_PushTemplate", "/templates", push)
            .summary("Creates or replaces a template")
            .body(TEMPLATE),
        get("Developer_ListTemplates", "/templates", list)
            .summary("Lists templates")
            .query(list_query()),
        get("Developer_GetTemplate", "/templates/{id}", read).summary("Gets a template"),
        post("Developer_ActivateTemplate", "/templates/{id}/activate", activate)
            .summary("Deprecated: templates need no activation"),
        delete("Developer_DeleteTemplate", "/templates/{id}", remove).summary("Deletes a template"),
    ]
}

const TEMPLATE: &[Field] = &[
    text("id", "").required().example("code-stats"),
    text("description", ""),
    text("app", "A tag").required().example("code-stats"),
    text("partitioner", "A tag, or the name of a built-in one").required().example("lines"),
    text("assembler", "A tag, or the name of a built-in one").required().example("concat"),
    one("dataSource", &DATA, "Of jobs that name none"),
    one("dataDestination", &DATA, "Of jobs that name none"),
    one("params", &PARAMS, "Of jobs that name none"),
    one("config", &CONFIG, "Of jobs that name none"),
    map("default_params", "An old form of params: PHASE.parameters"),
    shown("createdAt"),
    shown("updatedAt"),
    shown("isPublic"),
    shown("owner"),
    shown("userName"),
];

/// A field that answers show and that nobody else writes.
const fn shown(name: &'static str) -> Field {
    unread(name, "Takes no part: it may be sent back as an answer showed it")
}

async fn push(mut call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let template = template::read(call.json().await?)?;
    templates::put(call.app(), &caller, &template).await?;
    Ok(done())
}

#[derive(Serialize, ToSchema)]
struct TemplatesOut {
    templates: Vec<TemplateOut>,
    pagination: Pagination,
}

async fn list(call: Call) -> Result<TemplatesOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let Paged { pagination, data } = listed(&call, &caller, shelf(&query)?, &query).await?;
    Ok(TemplatesOut { templates: data, pagination })
}

async fn read(id: Segment, call: Call) -> Result<TemplateOut> {
    let caller = call.caller().await?;
    let kept = templates::find(call.app(), &caller, &id.0).await?;
    let owners = owner_names(call.app(), [kept.owner]).await?;
    Ok(TemplateOut::new(kept, &owners))
}

async fn activate(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    templates::find(call.app(), &caller, &id.0).await?;
    Ok(done())
}

async fn remove(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    templates::delete(call.app(), &caller, &id.0).await?;
    Ok(done())
}

/// A page of templates, as a list's query asks for it.
pub async fn listed(
    call: &Call,
    caller: &Caller,
    shelf: Shelf,
    query: &BTreeMap<String, String>,
) -> Result<Paged<TemplateOut>> {
    let selection = selection::from_query(query, &[])?;
    let _permit = call.answer_permit(caller).await;
    let Listed { found, owners } = templates::list(call.app(), caller, shelf, &selection).await?;
    let pagination = selection::pagination(&selection, &found);
    let shown = |kept| TemplateOut::new(kept, &owners);
    Ok(Paged { pagination, data: found.rows.into_iter().map(shown).collect() })
}

impl TemplateOut {
    fn new(kept: Kept, owners: &OwnerNames) -> Self {
        let template = kept.template;
        Self {
            id: template.id,
            created_at: kept.created_at,
            updated_at: kept.updated_at,
            is_public: kept.public,
            owner: kept.owner,
            user_name: owners.get(&kept.owner).cloned().unwrap_or_default(),
            description: template.description,
            partitioner: template.partitioner,
            app: template.app,
            assembler: template.assembler,
            data_source: template.source.as_ref().map(source_out),
            data_destination: template.destination.as_ref().map(destination_out),
            params: template.params,
            config: template.config.into(),
        }
    }
}

impl Named for TemplateField {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Owner => "owner",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
        }
    }

    fn choices(self) -> &'static [&'static str] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn template_is_pushed_replaced_and_read() {
        let server = TestServer::open().await;
        let template = |description: &str| {
            json!({"id": "t", "app": "a@0.1", "partitioner": "lines", "assembler": "concat",
                   "description": description, "config": {"taskTimeout": "60"},
                   "dataSource": {"dataSourceDescriptor": "bypass"}})
        };

        for description in ["first", "second"] {
            let (status, _) = server.post("/v1/dev/templates", template(description)).await;
            assert_eq!(status, 200);
        }

        let (_, body) = server.get("/v1/dev/templates/t").await;
        assert_eq!(body["description"], "second");
        assert_eq!(body["config"]["taskTimeout"], 60);
        assert_eq!(body["dataSource"]["dataSourceDescriptor"], "bypass");
        let (_, list) = server.get("/v1/customer/jobs/templates").await;
        assert_eq!(list["data"].as_array().unwrap().len(), 1);
        let presets = "/v1/customer/jobs/templates/t/presets";
        assert_eq!(server.get(presets).await, (200, json!({"presets": []})));
        let stranger = server.stranger().await;
        assert_eq!(server.call_as(&stranger, Method::GET, presets, None).await.0, 404);
        let (status, _) = server.call_as(&stranger, Method::GET, "/v1/dev/templates/t", None).await;
        assert_eq!(status, 404);
    }

    #[tokio::test]
    async fn deleted_template_is_not_found_and_its_jobs_stay() {
        let server = TestServer::open().await;
        server.template("lines", "concat").await;
        let id = server.job(json!({"templateId": "t"})).await;
        let stranger = server.stranger().await;
        let path = "/v1/dev/templates/t";

        assert_eq!(server.call_as(&stranger, Method::DELETE, path, None).await.0, 404);
        assert_eq!(server.call(Method::DELETE, path, None).await.0, 200);

        assert_eq!(server.get(path).await.0, 404);
        assert_eq!(server.post("/v1/customer/jobs", json!({"templateId": "t"})).await.0, 404);
        assert_eq!(server.get(&format!("/v1/customer/jobs/{id}")).await.0, 200);
        assert_eq!(server.get("/v1/dev/templates?orderBy=-updatedAt").await.0, 200);
    }
}
