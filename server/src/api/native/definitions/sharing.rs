//! Publishing packages and templates, and importing what others have published.

use common::access::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use super::Owner;
use super::package_out::PackageOut;
use super::packages::{shown, words};
use super::templates::{TemplateOut, find};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, post};
use crate::definitions::packages::Family;
use crate::definitions::sharing::{self, Imported, Item};
use crate::error::Result;

pub fn routes() -> Vec<Route> {
    let mut routes: Vec<_> = [Family::App, Family::Engine].into_iter().flat_map(family).collect();
    routes.extend([
        post("Fanfold_PublishTemplate", "/templates/{template}/publish", |id, call| {
            publish_template(id, call, true)
        })
        .summary("Publishes a template: every workspace can find and import it"),
        post("Fanfold_UnpublishTemplate", "/templates/{template}/unpublish", |id, call| {
            publish_template(id, call, false)
        })
        .summary("Unpublishes a template: workspaces that imported it can no longer use it"),
        post("Fanfold_ImportTemplate", "/templates/{template}/import", import_template)
            .summary("Imports a published template; by OWNER/ID where several have it"),
        delete("Fanfold_RemoveImportOfTemplate", "/templates/{template}/import", |id, call| {
            remove_import(Item::Template, id, call)
        })
        .summary("Removes an import"),
    ]);
    routes.into_iter().map(|route| route.needs(Scope::PackagesWrite)).collect()
}

fn family(family: Family) -> [Route; 4] {
    let (one, many) = words(family);
    let name = |verb: &str| format!("Fanfold_{verb}{one}");
    let path = |rest: &str| format!("/{many}/{{tag}}/{rest}");
    [
        post(name("Publish"), path("publish"), move |tag, call| publish(family, tag, call, true))
            .summary("Publishes one version: every workspace can find, read and import it"),
        post(name("Unpublish"), path("unpublish"), move |tag, call| {
            publish(family, tag, call, false)
        })
        .summary(
            "Unpublishes one version: workspaces that imported it can start no more runs of it",
        ),
        post(name("Import"), path("import"), move |tag, call| import(family, tag, call))
            .summary("Imports a published package; by id or OWNER/NAME where several have it"),
        delete(name("RemoveImportOf"), path("import"), move |tag, call| {
            remove_import(Item::Package(family), tag, call)
        })
        .summary("Removes an import"),
    ]
}

/// A name that stands for what another workspace publishes.
#[derive(Serialize, ToSchema)]
struct Import {
    /// What jobs and templates call it from now on.
    name: String,
    /// The workspace that has made it.
    owner: Owner,
    /// The ids of the caller's own secrets that its containers will be given.
    secrets: Vec<String>,
}

/// An import that was removed.
#[derive(Serialize, ToSchema)]
struct RemovedImport {
    /// It stands for nothing now.
    name: String,
}

async fn publish(family: Family, tag: Segment, call: Call, public: bool) -> Result<PackageOut> {
    let caller = call.caller().await?;
    let changed = sharing::publish_package(call.app(), &caller, family, &tag.0, public).await?;
    shown(call.app(), changed).await
}

async fn publish_template(id: Segment, call: Call, public: bool) -> Result<TemplateOut> {
    let caller = call.caller().await?;
    sharing::publish_template(call.app(), &caller, &id.0, public).await?;
    find(&call, &caller, &id.0).await
}

async fn import(family: Family, tag: Segment, call: Call) -> Result<Import> {
    let caller = call.caller().await?;
    Ok(sharing::import_package(call.app(), &caller, family, &tag.0).await?.into())
}

async fn import_template(id: Segment, call: Call) -> Result<Import> {
    let caller = call.caller().await?;
    Ok(sharing::import_template(call.app(), &caller, &id.0).await?.into())
}

async fn remove_import(item: Item, name: Segment, call: Call) -> Result<RemovedImport> {
    let caller = call.caller().await?;
    sharing::remove_import(call.app(), &caller, item, &name.0).await?;
    Ok(RemovedImport { name: name.0 })
}

impl From<Imported> for Import {
    fn from(Imported { name, owner, owner_name, secrets }: Imported) -> Self {
        Self { name, owner: Owner { id: owner, name: owner_name }, secrets }
    }
}
