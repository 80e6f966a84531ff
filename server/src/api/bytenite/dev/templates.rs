//! Templates. They need no activation: a template is as good as the packages it names.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use common::package::tag::split_owner;
use common::package::template::PhaseParams;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::packages::{list_query, only, shelf};
use crate::api::bytenite::customer::params;
use crate::api::bytenite::descriptor::{destination_out, source_out};
use crate::api::bytenite::lists::named::Named;
use crate::api::bytenite::lists::page::{Paged, Pagination};
use crate::api::bytenite::lists::selection;
use crate::api::bytenite::secret_use;
use crate::api::bytenite::template;
use crate::api::bytenite::wire::{Done, done};
use crate::api::bytenite::work::{CONFIG, ConfigOut, DATA, PARAMS};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Field, map, one, text, unread};
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::catalogue::packages::Shelf;
use crate::store::catalogue::templates;
use crate::store::catalogue::templates::{Kept, TemplateField};
use crate::store::people::workspaces;
use crate::store::query::selection::Selection;

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
            .summary("Makes a template, or replaces it")
            .body(TEMPLATE),
        get("Developer_ListTemplates", "/templates", list)
            .summary("Lists templates")
            .query(list_query()),
        get("Developer_GetTemplate", "/templates/{id}", read).summary("Reads a template"),
        post("Developer_ActivateTemplate", "/templates/{id}/activate", activate)
            .summary("Does nothing: templates need no activation"),
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
    secret_use::check_locations(&caller, template.source.as_ref(), template.destination.as_ref())?;
    params::check_template(call.app(), caller.workspace, &template).await?;
    templates::put(&call.app().db, caller.workspace, &template).await?;
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
    let selection = selection::from_query(&query, &[])?;
    let Paged { pagination, data } = listed(&call, &caller, shelf(&query)?, &selection).await?;
    Ok(TemplatesOut { templates: data, pagination })
}

async fn read(id: Segment, call: Call) -> Result<TemplateOut> {
    let caller = call.caller().await?;
    let kept = find(&call, caller.workspace, &id.0).await?;
    let owners = std::iter::once(kept.owner);
    let names = workspaces::workspace_names(&call.app().db, owners).await?;
    Ok(TemplateOut::new(kept, &names))
}

async fn activate(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    find(&call, caller.workspace, &id.0).await?;
    Ok(done())
}

async fn remove(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    if !templates::delete(&call.app().db, caller.workspace, &id.0).await? {
        return Err(Error::not_found("template", &id.0));
    }
    Ok(done())
}

/// A page of templates as they are shown.
pub async fn listed(
    call: &Call,
    caller: &Caller,
    shelf: Shelf,
    selection: &Selection<TemplateField>,
) -> Result<Paged<TemplateOut>> {
    let _place = call.answer_place(caller).await;
    let db = &call.app().db;
    let found = templates::list(db, caller.workspace, shelf, selection).await?;
    let pagination = selection::pagination(selection, &found);
    let names = workspaces::workspace_names(db, found.rows.iter().map(|kept| kept.owner)).await?;
    let shown = |kept| TemplateOut::new(kept, &names);
    Ok(Paged { pagination, data: found.rows.into_iter().map(shown).collect() })
}

/// The template that an id names: the reader's own, an imported one, or, with its owner before it
/// (`OWNER/ID`), a published one.
pub async fn find(call: &Call, reader: WorkspaceId, id: &str) -> Result<Kept> {
    let db = &call.app().db;
    let found = match split_owner(id) {
        (None, id) => templates::find(db, reader, id).await?,
        (owner, id) => {
            let mut found = templates::published(db, reader, id, owner).await?;
            let owners: Vec<_> = found.iter().map(|kept| kept.owner).collect();
            only(&owners)?.and_then(|_| found.pop())
        }
    };
    found.ok_or_else(|| Error::not_found("template", id))
}

impl TemplateOut {
    /// `names` are what the owners of templates are called.
    pub fn new(kept: Kept, names: &BTreeMap<WorkspaceId, String>) -> Self {
        let template = kept.template;
        Self {
            id: template.id,
            created_at: kept.created_at,
            updated_at: kept.updated_at,
            is_public: kept.public,
            owner: kept.owner,
            user_name: names.get(&kept.owner).cloned().unwrap_or_default(),
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

    use crate::api::testing::Door;

    #[tokio::test]
    async fn a_template_is_pushed_replaced_and_read() {
        let door = Door::open().await;
        let template = |description: &str| {
            json!({"id": "t", "app": "a@0.1", "partitioner": "lines", "assembler": "concat",
                   "description": description, "config": {"taskTimeout": "60"},
                   "dataSource": {"dataSourceDescriptor": "bypass"}})
        };

        for description in ["first", "second"] {
            let (status, _) = door.post("/v1/dev/templates", template(description)).await;
            assert_eq!(status, 200);
        }

        let (_, body) = door.get("/v1/dev/templates/t").await;
        assert_eq!(body["description"], "second");
        assert_eq!(body["config"]["taskTimeout"], 60);
        assert_eq!(body["dataSource"]["dataSourceDescriptor"], "bypass");
        let (_, list) = door.get("/v1/customer/jobs/templates").await;
        assert_eq!(list["data"].as_array().unwrap().len(), 1);
        let presets = "/v1/customer/jobs/templates/t/presets";
        assert_eq!(door.get(presets).await, (200, json!({"presets": []})));
        let stranger = door.stranger().await;
        assert_eq!(door.call_as(&stranger, Method::GET, presets, None).await.0, 404);
        let (status, _) = door.call_as(&stranger, Method::GET, "/v1/dev/templates/t", None).await;
        assert_eq!(status, 404);
    }

    #[tokio::test]
    async fn a_deleted_template_is_gone_and_its_jobs_stay() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        let id = door.job(json!({"templateId": "t"})).await;
        let stranger = door.stranger().await;
        let path = "/v1/dev/templates/t";

        assert_eq!(door.call_as(&stranger, Method::DELETE, path, None).await.0, 404);
        assert_eq!(door.call(Method::DELETE, path, None).await.0, 200);

        assert_eq!(door.get(path).await.0, 404);
        assert_eq!(door.post("/v1/customer/jobs", json!({"templateId": "t"})).await.0, 404);
        assert_eq!(door.get(&format!("/v1/customer/jobs/{id}")).await.0, 200);
        assert_eq!(door.get("/v1/dev/templates?orderBy=-updatedAt").await.0, 200);
    }
}
