//! Templates. They need no activation: a template is as good as the packages it names.

use chrono::{DateTime, Utc};
use common::access::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use super::template_in::{TEMPLATE, read};
use super::{Owner, PUBLIC, shelf};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, get, post};
use crate::api::native::cursor;
use crate::api::native::jobs::config::ConfigOut;
use crate::api::native::jobs::locations::LocationOut;
use crate::api::native::jobs::params::ParamsOut;
use crate::api::native::page::{self, PAGE};
use crate::definitions::templates::{self, Kept, TemplateField};
use crate::definitions::{Listed, OwnerNames, owner_names};
use crate::error::Result;
use crate::listing::{Selection, Start};
use crate::people::caller::Caller;

const ORDER: [(TemplateField, bool); 1] = [(TemplateField::Id, false)];

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListTemplates", "/templates", list)
            .summary("Lists templates by their ids")
            .query([&PAGE[..], &[PUBLIC]].concat())
            .needs(Scope::PackagesRead),
        post("Fanfold_PutTemplate", "/templates", put)
            .summary("Creates a template, or replaces the one with its id")
            .body(TEMPLATE)
            .needs(Scope::PackagesWrite),
        get("Fanfold_GetTemplate", "/templates/{template}", get_one)
            .summary("Gets a template")
            .needs(Scope::PackagesRead),
        delete("Fanfold_DeleteTemplate", "/templates/{template}", remove)
            .summary("Deletes a template; jobs that were made from it keep their copies")
            .needs(Scope::PackagesWrite),
    ]
}

#[derive(Serialize, ToSchema)]
struct TemplateList {
    /// By their ids.
    templates: Vec<TemplateOut>,
    next_cursor: Option<String>,
}

/// A partitioner, an app and an assembler, with defaults for jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
pub struct TemplateOut {
    id: String,
    /// The workspace that has made it.
    owner: Owner,
    description: String,
    partitioner: String,
    app: String,
    assembler: String,
    /// Of jobs that name none.
    source: Option<LocationOut>,
    /// Of jobs that name none.
    destination: Option<LocationOut>,
    params: ParamsOut,
    config: ConfigOut,
    /// Whether every workspace can find and import it.
    is_public: bool,
    created_at: DateTime<Utc>,
    /// When it was replaced or published last.
    updated_at: DateTime<Utc>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedTemplate {
    id: String,
}

async fn list(call: Call) -> Result<TemplateList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let selection = Selection {
        tests: Vec::new(),
        order: ORDER.to_vec(),
        start: Start::Place(cursor::read(&query, &ORDER)?),
        limit: page::limit(&query)?.into(),
    };
    let shelf = shelf(&query)?;
    let _permit = call.answer_permit(&caller).await;
    let Listed { found, owners } = templates::list(call.app(), &caller, shelf, &selection).await?;
    let next_cursor = cursor::next(&found);
    let templates = found.rows.into_iter().map(|kept| TemplateOut::new(kept, &owners)).collect();
    Ok(TemplateList { templates, next_cursor })
}

async fn put(mut call: Call) -> Result<TemplateOut> {
    let caller = call.caller().await?;
    let template = read(call.json().await?)?;
    templates::put(call.app(), &caller, &template).await?;
    find(&call, &caller, &template.id).await
}

async fn get_one(template: Segment, call: Call) -> Result<TemplateOut> {
    let caller = call.caller().await?;
    find(&call, &caller, &template.0).await
}

async fn remove(template: Segment, call: Call) -> Result<DeletedTemplate> {
    let caller = call.caller().await?;
    templates::delete(call.app(), &caller, &template.0).await?;
    Ok(DeletedTemplate { id: template.0 })
}

/// The template that an id names for the caller.
pub async fn find(call: &Call, caller: &Caller, id: &str) -> Result<TemplateOut> {
    let kept = templates::find(call.app(), caller, id).await?;
    let owners = owner_names(call.app(), [kept.owner]).await?;
    Ok(TemplateOut::new(kept, &owners))
}

impl TemplateOut {
    fn new(kept: Kept, owners: &OwnerNames) -> Self {
        let template = kept.template;
        Self {
            id: template.id,
            owner: Owner::of(kept.owner, owners),
            description: template.description,
            partitioner: template.partitioner,
            app: template.app,
            assembler: template.assembler,
            source: template.source.as_ref().map(LocationOut::from),
            destination: template.destination.as_ref().map(LocationOut::from),
            params: template.params.into(),
            config: template.config.into(),
            is_public: kept.public,
            created_at: kept.created_at,
            updated_at: kept.updated_at,
        }
    }
}
